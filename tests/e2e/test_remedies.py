"""Other class shares in production: seen, named, cured by one command, watched at the new shares, and taken back."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from headstart import artifacts
from tests.e2e.test_production import NOON, journalled, questions

pytestmark = pytest.mark.slow


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """The finished workspace with its registry, to be changed at will."""
    return Path(shutil.copytree(finished, tmp_path / "own", symlinks=True))


def test_a_shift_of_the_classes_shares_is_named_cured_and_taken_back(own, headstart, tmp_path):
    many = questions(tmp_path, 1200, seed=5)
    travel = many["weather"][:30] + many["kitchen"][:30] + many["travel"][:240]
    later = many["weather"][30:50] + many["kitchen"][30:50] + many["travel"][240:400]
    journalled(own, "topics", travel, NOON - timedelta(minutes=55))
    look = headstart(own, "monitor", "topics", "--now", NOON.isoformat(), "--json")
    assert (look.status, look.document["topics"]["remedy"]) == (1, "correct_prior"), look.out

    proposed = headstart(own, "remedy", "topics", "--json")
    assert proposed.status == 0, proposed.err
    assert (proposed.document["remedy"], proposed.document["challenger"]) == ("correct_prior", None)
    share = proposed.document["effect"]["shares"]["travel"]
    assert share["low"] < 0.8 < share["high"]
    difference = proposed.document["effect"]["accuracy"]["difference"]
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert artifacts.read_json(own / "data/cures/topics/prior.json")["shares"] is None

    cured = headstart(own, "remedy", "topics", "correct_prior", "--json")
    assert cured.status == 0, cured.err
    assert cured.document["challenger"] == {"version": 2, "alias": "champion", "verdict": "pass"}
    assert cured.document["applied"]
    assert (own / "data/cures/topics.dvc").is_file()
    evaluation = artifacts.read_json(own / "artifacts/models/topics/bundle/evaluation.json")
    assert evaluation["shares"]["values"]["travel"] == pytest.approx(share["value"])
    assert evaluation["shares"]["source"]["version"] == 1

    journalled(own, "topics", later, NOON + timedelta(minutes=65), version=2)
    again = headstart(own, "monitor", "topics", "--now", (NOON + timedelta(hours=2)).isoformat(), "--json")
    assert (again.status, again.document["topics"]["verdict"]) == (0, "ok"), again.out

    back = headstart(own, "remedy", "topics", "none", "--json")
    assert back.document["challenger"]["version"] == 1, back.err  # the very bundle that was champion before
    assert artifacts.read_json(own / "data/cures/topics/prior.json")["shares"] is None
    assert "no cure in force" in headstart(own, "remedy", "topics", "none").err
