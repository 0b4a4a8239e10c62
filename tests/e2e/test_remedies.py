"""Other class shares in production: seen, cured by one command, watched at the new shares, and taken back."""

import hashlib
import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from headstart import artifacts, settings
from tests.conftest import Answer, command
from tests.e2e.test_production import NOON, journalled, questions

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Cured:
    """A workspace whose model `topics` was corrected for a window of mostly `travel`, and what was printed."""

    workspace: Path
    texts: dict[str, list[str]]
    look: Answer
    proposed: Answer
    before: dict[str, float] | None
    cured: Answer


@pytest.fixture(scope="module")
def cured(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Cured:
    folder = tmp_path_factory.mktemp("cured")
    own = Path(shutil.copytree(finished, folder / "own", symlinks=True))
    for name in ("topics", "bars"):  # what other tests journalled
        shutil.rmtree(settings.Workspace(own).journal(name), ignore_errors=True)
    texts = questions(folder, 1200, seed=5)
    travel = texts["weather"][:30] + texts["kitchen"][:30] + texts["travel"][:240]
    journalled(own, "topics", travel, NOON - timedelta(minutes=55))
    look = command(own, "monitor", "topics", "--now", NOON.isoformat(), "--json")
    proposed = command(own, "remedy", "topics", "--json")
    before = artifacts.read_json(own / "data/cures/topics/prior.json")["shares"]
    return Cured(own, texts, look, proposed, before, command(own, "remedy", "topics", "correct_prior", "--json"))


def test_a_cure_is_proposed_with_its_effect_and_nothing_is_changed_yet(cured):
    assert (cured.look.status, cured.look.document["topics"]["verdict"]) == (1, "alert"), cured.look.out
    remedy = cured.look.document["topics"]["remedy"]
    assert (cured.proposed.status, cured.proposed.document["remedy"]) == (0, remedy), cured.proposed.err
    assert cured.proposed.document["challenger"] is None
    assert cured.before is None


def test_the_named_cure_is_judged_promoted_and_recorded(cured):
    assert cured.cured.status == 0, cured.cured.err
    document = cured.cured.document
    assert document["challenger"] == {"version": 2, "alias": "champion", "verdict": "pass"}
    assert document["applied"]
    assert (cured.workspace / "data/cures/topics.dvc").is_file()
    share, difference = document["effect"]["shares"]["travel"], document["effect"]["accuracy"]["difference"]
    assert share["low"] < 0.8 < share["high"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    evaluation = artifacts.read_json(cured.workspace / "artifacts/models/topics/bundle/evaluation.json")
    assert evaluation["shares"]["values"]["travel"] == pytest.approx(0.8, abs=0.06)
    assert evaluation["shares"]["source"]["version"] == 1


def test_a_fresh_clone_gets_the_cure_back_from_the_remote(cured, headstart, tmp_path):
    own = Path(shutil.copytree(cured.workspace, tmp_path / "own", symlinks=True))
    path = own / "data/cures/topics/prior.json"
    said, holds = path.read_bytes(), hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    shutil.rmtree(path.parent)
    (own / f".dvc/cache/files/md5/{holds[:2]}/{holds[2:]}").unlink()
    again = headstart(own, "run", "topics", "--json")
    assert again.status == 0, again.err
    assert path.read_bytes() == said
    assert again.document["topics"]["version"] == 2
    assert again.document["topics"]["shares"]["origin"] == "cure"


def test_a_corrected_version_is_watched_at_its_own_shares_and_the_cure_can_be_taken_back(cured, headstart):
    own, texts = cured.workspace, cured.texts
    later = texts["weather"][30:50] + texts["kitchen"][30:50] + texts["travel"][240:400]
    journalled(own, "topics", later, NOON + timedelta(minutes=65), version=2)
    again = headstart(own, "monitor", "topics", "--now", (NOON + timedelta(hours=2)).isoformat(), "--json")
    assert (again.status, again.document["topics"]["verdict"]) == (0, "ok"), again.out
    assert again.document["topics"]["estimates"]["shares"]["travel"]["reference"] == pytest.approx(0.8, abs=0.06)

    back = headstart(own, "remedy", "topics", "none", "--json")
    assert back.document["challenger"]["version"] == 1, back.err  # the very bundle that was champion before
    assert artifacts.read_json(own / "data/cures/topics/prior.json")["shares"] is None
    assert "no cure in force" in headstart(own, "remedy", "topics", "none").err
