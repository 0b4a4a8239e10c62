"""Cures follow DVC's record as `git pull` brings it, unless they were changed here."""

import shutil
from pathlib import Path

import pytest

from headstart import artifacts
from headstart.data import cures
from headstart.errors import UsageError
from headstart.stages import cures as recorded
from headstart.stages import graph

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # in DVC, of its own parts
OURS, THEIRS, MINE = {"a": 0.9, "b": 0.1}, {"a": 0.2, "b": 0.8}, {"a": 0.6, "b": 0.4}
POINTER, NOTE = Path("data/cures/m.dvc"), Path("state/cures/m")


@pytest.fixture
def pulled(tmp_path, monkeypatch):
    """A workspace that recorded `OURS`; the content of the pointer of a colleague, who recorded `THEIRS`."""
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc/config")
    monkeypatch.chdir(tmp_path)
    write(THEIRS)
    graph.record(artifacts.cures("m"))
    theirs = POINTER.read_text()
    POINTER.unlink()
    write(OURS)
    recorded.record("m")
    return theirs


def write(shares):
    cures.write_prior(cures.ensure("m") if not POINTER.is_file() else artifacts.cures("m"), shares, source={})


def shares():
    return cures.read_prior(artifacts.cures("m"), ["a", "b"])


def test_the_digest_of_a_folder_is_the_revision_that_dvc_records(pulled):
    assert graph.digest(artifacts.cures("m")) == graph.revision(artifacts.cures("m"))
    assert NOTE.read_text() == graph.revision(artifacts.cures("m"))


def test_a_cure_that_git_pull_brings_takes_the_place_of_the_one_recorded_here(pulled):
    POINTER.write_text(pulled)
    recorded.record("m")
    assert (shares(), POINTER.read_text()) == (THEIRS, pulled)
    recorded.record("m")
    assert (shares(), POINTER.read_text()) == (THEIRS, pulled)


def test_the_first_cure_that_git_pull_brings_takes_the_place_of_none(pulled):
    """So in a workspace of an older headstart, which kept no note."""
    NOTE.unlink()
    cures.clear("m")
    POINTER.write_text(pulled)
    recorded.restore("m")
    assert shares() == THEIRS


@pytest.mark.parametrize("changed", [MINE, None])
def test_a_cure_that_was_changed_here_is_recorded_and_not_taken_for_an_old_one(pulled, changed):
    before = POINTER.read_text()
    write(changed) if changed else cures.clear("m")
    recorded.restore("m")
    assert shares() == changed
    recorded.record("m")
    assert shares() == changed and POINTER.read_text() != before


@pytest.mark.parametrize("noted", [True, False])
def test_where_both_changed_nothing_is_and_the_user_is_asked(pulled, noted):
    write(MINE)
    POINTER.write_text(pulled)
    if not noted:
        NOTE.unlink()
    with pytest.raises(UsageError, match=r"the cures in data/cures/m are not the ones that data/cures/m\.dvc records"):
        recorded.record("m")
    assert (shares(), POINTER.read_text()) == (MINE, pulled)
    write(THEIRS)  # dvc checkout --force data/cures/m.dvc
    recorded.record("m")
    write(OURS)
    recorded.record("m")
    assert shares() == OURS


def test_a_clone_gets_its_cures_back_and_notes_them(pulled):
    shutil.rmtree("data/cures/m")
    NOTE.unlink()
    recorded.restore("m")
    assert shares() == OURS and NOTE.read_text() == graph.revision(artifacts.cures("m"))


def test_a_workspace_that_never_had_a_cure_records_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cures.ensure("m")
    recorded.record("m")
    assert not POINTER.is_file() and not NOTE.exists()
