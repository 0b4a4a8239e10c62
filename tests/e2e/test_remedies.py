"""Other class shares in production: seen, cured by one command, watched at the new shares, and taken back."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from headstart import artifacts, settings
from tests.e2e.test_production import NOON, journalled, questions

pytestmark = pytest.mark.slow


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """The finished workspace with its registry and without what others journalled in it, to be changed at will."""
    folder = Path(shutil.copytree(finished, tmp_path / "own", symlinks=True))
    for name in ("topics", "bars"):
        shutil.rmtree(settings.Workspace(folder).journal(name), ignore_errors=True)
    return folder


def test_other_class_shares_are_proposed_cured_watched_and_taken_back(own, headstart, tmp_path):
    many = questions(tmp_path, 1200, seed=5)
    travel = many["weather"][:30] + many["kitchen"][:30] + many["travel"][:240]
    later = many["weather"][30:50] + many["kitchen"][30:50] + many["travel"][240:400]
    journalled(own, "topics", travel, NOON - timedelta(minutes=55))
    look = headstart(own, "monitor", "topics", "--now", NOON.isoformat(), "--json")
    assert (look.status, look.document["topics"]["verdict"]) == (1, "alert"), look.out
    proposed = headstart(own, "remedy", "topics", "--json")
    assert (proposed.status, proposed.document["remedy"]) == (0, look.document["topics"]["remedy"]), proposed.err
    assert proposed.document["challenger"] is None
    assert artifacts.read_json(own / "data/cures/topics/prior.json")["shares"] is None

    cured = headstart(own, "remedy", "topics", "correct_prior", "--json")
    assert cured.status == 0, cured.err
    assert cured.document["challenger"] == {"version": 2, "alias": "champion", "verdict": "pass"}
    assert cured.document["applied"]
    assert (own / "data/cures/topics.dvc").is_file()
    share, difference = (
        cured.document["effect"]["shares"]["travel"],
        cured.document["effect"]["accuracy"]["difference"],
    )
    assert share["low"] < 0.8 < share["high"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    evaluation = artifacts.read_json(own / "artifacts/models/topics/bundle/evaluation.json")
    assert evaluation["shares"]["values"]["travel"] == pytest.approx(0.8, abs=0.06)
    assert evaluation["shares"]["source"]["version"] == 1

    journalled(own, "topics", later, NOON + timedelta(minutes=65), version=2)
    again = headstart(own, "monitor", "topics", "--now", (NOON + timedelta(hours=2)).isoformat(), "--json")
    assert (again.status, again.document["topics"]["verdict"]) == (0, "ok"), again.out
    assert again.document["topics"]["estimates"]["shares"]["travel"]["reference"] == pytest.approx(0.8, abs=0.06)

    back = headstart(own, "remedy", "topics", "none", "--json")
    assert back.document["challenger"]["version"] == 1, back.err  # the very bundle that was champion before
    assert artifacts.read_json(own / "data/cures/topics/prior.json")["shares"] is None
    assert "no cure in force" in headstart(own, "remedy", "topics", "none").err


def test_a_fresh_clone_gets_the_cure_back_from_the_remote(own, headstart, tmp_path):
    travel = questions(tmp_path, 900, seed=6)["travel"][:250] + questions(tmp_path, 900, seed=7)["weather"][:50]
    journalled(own, "topics", travel, NOON - timedelta(minutes=55))
    headstart(own, "monitor", "topics", "--now", NOON.isoformat())
    assert headstart(own, "remedy", "topics", "correct_prior").status == 0
    said = (own / "data/cures/topics/prior.json").read_bytes()
    shutil.rmtree(own / "data/cures/topics")
    shutil.rmtree(own / ".dvc/cache")
    again = headstart(own, "run", "topics", "--json")
    assert again.status == 0, again.err
    assert (own / "data/cures/topics/prior.json").read_bytes() == said
    assert again.document["topics"]["version"] == 2
    assert again.document["topics"]["shares"]["origin"] == "cure"
