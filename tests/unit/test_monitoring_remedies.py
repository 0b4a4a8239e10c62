"""What a cure should do for the recorded window, and what it writes."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from headstart.data import cures
from headstart.errors import DataError, UsageError
from headstart.faults.table import CARRIED_OUT, REMEDIES, UNTRAINED
from headstart.monitoring import remedies
from headstart.monitoring.remedies import Recorded, correct_prior, recalibrate_batchnorm
from headstart.monitoring.watch import Reference
from tests.unit.made_traffic import CLASSES, EVEN, NOON, monitor, profile_of, traffic, window_of
from tests.unit.test_monitoring_prior import PRIOR, corrected
from tests.unit.test_monitoring_watch import answers, journal  # noqa: F401

MOST = np.array([0.73, *[0.03] * 9])


def drawn(rows, seed, shares=EVEN):
    return traffic(np.random.default_rng(seed), rows, shares, evidence=3.0)


@pytest.fixture(scope="module")
def profile():
    return profile_of(drawn(3000, 8))


def recorded(profile, seen, *, labelled=0, prior=None):
    return Recorded(window_of(seen, labelled=labelled), profile, prior, monitor())


@pytest.mark.parametrize("prior", [pytest.param(None, id="first cure"), pytest.param(PRIOR, id="after another one")])
def test_the_expected_accuracy_is_what_labels_would_show(profile, prior):
    seen = drawn(4000, 6, MOST)
    if prior is not None:
        seen, profile = corrected(seen), profile_of(corrected(drawn(3000, 8)))
    effect = correct_prior(recorded(profile, seen, labelled=4000, prior=prior)).effect
    expected, told = effect["accuracy"], effect["labelled"]
    for which in ("now", "corrected"):
        assert expected[which]["low"] - 0.01 < told[which]["value"] < expected[which]["high"] + 0.01
    assert expected["difference"]["low"] > 0 and told["difference"]["low"] > 0
    assert expected["difference"]["value"] == pytest.approx(
        expected["corrected"]["value"] - expected["now"]["value"], abs=1e-12
    )
    assert 0 < effect["changed"] < 0.2
    assert effect["shares"]["0"]["value"] == pytest.approx(0.73, abs=0.02)
    assert effect["shares"]["0"]["reference"] == pytest.approx(0.1 if prior is None else 0.3, abs=0.02)


def test_where_the_shares_are_what_they_were_nothing_is_promised(profile):
    effect = correct_prior(recorded(profile, drawn(2000, 6))).effect
    difference = effect["accuracy"]["difference"]
    assert difference["low"] <= 0.0 <= difference["high"] and abs(difference["value"]) < 0.005
    assert effect["labelled"] is None


def test_the_cure_says_which_window_it_comes_from(profile, tmp_path):
    correct_prior(recorded(profile, drawn(500, 6, MOST))).write(tmp_path)
    said = cures.prior(tmp_path, CLASSES)
    assert said.shares["0"] == pytest.approx(0.73, abs=0.06) and sum(said.shares.values()) == pytest.approx(1.0)
    assert said.source == {
        "start": "2026-03-02T11:00:00+00:00", "end": "2026-03-02T12:00:00+00:00", "version": 2, "inputs": 500,
    }  # fmt: skip


def test_small_windows_and_shares_that_cannot_be_told_are_refused(profile):
    with pytest.raises(DataError, match=r"60 answers came from version 2 .* from 100 on \(monitor\.rows\)"):
        correct_prior(recorded(profile, drawn(60, 6)))
    with pytest.raises(DataError, match="cannot be estimated: the reference holds no probabilities"):
        correct_prior(recorded(replace(profile, probabilities=None), drawn(200, 6)))


def test_the_window_of_a_look_is_read_again_with_the_profile_of_who_answered_most(journal, profile):  # noqa: F811
    book = journal(answers(drawn(200, 6)))
    latest = {"window": {"start": "x", "end": NOON.isoformat(), "minutes": 60}}
    asked = []

    def references(version):
        asked.append(version)
        return Reference("bundle", lambda: profile, prior=lambda: PRIOR)

    found = remedies.recorded(book, latest, references, monitor(), bundle=lambda version: Path(f"bundle-{version}"))
    assert (asked, found.window.rows, found.profile, found.prior) == ([2], 200, profile, PRIOR)
    assert (found.bundle, list(found.images)) == (Path("bundle-2"), [])
    latest["window"]["end"] = (NOON + timedelta(days=1)).isoformat()
    with pytest.raises(UsageError, match="has no answer of a known version in the window that ended at 2026-03-03"):
        remedies.recorded(book, latest, references, monitor(), bundle=lambda version: Path(f"bundle-{version}"))


def test_what_headstart_carries_out_are_remedies_of_the_table():
    assert tuple(remedies.CURES) == CARRIED_OUT
    assert set(CARRIED_OUT) <= set(REMEDIES) - UNTRAINED


def test_shares_that_only_chance_moved_are_drawn_back_to_those_that_the_model_was_made_for(profile):
    effect = correct_prior(recorded(profile, drawn(500, 6))).effect
    shares, prior = effect["shares"], effect["prior"]
    assert effect["inputs"] == 500
    estimated = sum(abs(share["value"] - share["reference"]) for share in shares.values())
    written = sum(abs(prior[name] - share["reference"]) for name, share in shares.items())
    assert estimated > 0.03 and written < 0.5 * estimated


GAIN = {"value": 0.02, "low": 0.005, "high": 0.03}
EFFECT = {"inputs": 500, "accuracy": {"difference": GAIN}, "labelled": None}


@pytest.mark.parametrize(
    ("effect", "said"),
    [
        pytest.param(EFFECT, "", id="surely good"),
        pytest.param({**EFFECT, "inputs": 499}, "the window has 499 inputs, .* from 500 on", id="small window"),
        pytest.param(
            {**EFFECT, "accuracy": {"difference": {**GAIN, "low": 0.0}}}, r"\+0.020 \(\+0.000 to", id="perhaps no gain"
        ),
        pytest.param({**EFFECT, "labelled": {"difference": GAIN}}, "", id="labels agree"),
        pytest.param(
            {**EFFECT, "labelled": {"difference": {"value": -0.01, "low": -0.1, "high": 0.08}}},
            r"on the window's labels accuracy would change by -0.010 \(-0.100 to \+0.080\)",
            id="labels are against it",
        ),
        pytest.param({"confidence": {"now": 0.61, "recalibrated": 0.8, "expected": 0.9}}, "", id="surer"),
        pytest.param(
            {"confidence": {"now": 0.8, "recalibrated": 0.61, "expected": 0.9}},
            "0.800, recalibrated 0.610",
            id="less so",
        ),
        pytest.param({"confidence": None}, "cannot be told", id="too few images to try it on"),
    ],
)
def test_a_cure_is_doubted_unless_its_effect_is_surely_good(effect, said):
    found = remedies.doubt(effect)
    assert bool(found) is bool(said) and re.search(said, found)


def test_a_network_without_batchnorm_has_no_statistics_to_estimate(profile):
    with pytest.raises(DataError, match="the network has no BatchNorm"):
        recalibrate_batchnorm(recorded(profile, drawn(500, 6)))


def test_without_images_statistics_are_refused_with_how_to_get_some(profile, tmp_path):
    (tmp_path / "batchnorm.onnx").touch()  # what only a network with BatchNorm has
    with pytest.raises(DataError, match="kept no raw image of the recorded window") as refused:
        recalibrate_batchnorm(replace(recorded(profile, drawn(500, 6)), bundle=tmp_path))
    assert "journal.raw: sampled" in refused.value.action
    assert "headstart remedy NAME recalibrate_batchnorm --data FOLDER" in refused.value.action
