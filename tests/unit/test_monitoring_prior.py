"""A version whose prior was corrected is watched against the class shares it was made for."""

import json
from dataclasses import replace

import numpy as np
import pytest

from headstart.errors import BundleError
from headstart.monitoring import label_shift, watch
from headstart.monitoring import prior as priors
from headstart.monitoring.prior import Prior
from headstart.monitoring.watch import Reference
from headstart.profile import kept
from tests.unit.made_traffic import CLASSES, EVEN, NOON, TRIPLED, monitor, profile_of, traffic, window_of
from tests.unit.test_monitoring_watch import answers, failed, journal  # noqa: F401

MOVED = np.log(TRIPLED / EVEN)
PRIOR = Prior(dict(zip(CLASSES, TRIPLED, strict=True)), dict(zip(CLASSES, MOVED, strict=True)))


def corrected(seen):
    """The same inputs, answered by the same network with its prior set to three times as many zeros."""
    probabilities = seen.probabilities * np.exp(MOVED)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = [CLASSES[place] for place in probabilities.argmax(axis=1)]
    return replace(seen, probabilities=probabilities, predicted=predicted, confidence=probabilities.max(axis=1))


def drawn(rows, seed, shares=EVEN):
    return traffic(np.random.default_rng(seed), rows, shares, evidence=4.0)


@pytest.fixture(scope="module")
def profile():
    return profile_of(corrected(drawn(1500, 8)))


def look(folder, profile, prior=PRIOR):
    reference = Reference("bundle-2", lambda: profile, prior=lambda: prior)
    return watch.watch(folder, lambda version: reference, monitor(), NOON, champion=2)


def test_the_reference_is_as_many_rows_of_the_profile_as_have_the_shares(profile):
    found = priors.reference(profile, PRIOR)
    assert found.n == len(found.labels) == len(found.confidence) == sum(found.label_counts.values()) < 600
    for name, share in PRIOR.shares.items():
        assert found.label_counts[name] / found.n == pytest.approx(share, abs=0.02)
    assert found.accuracy > profile.accuracy
    assert priors.reference(profile, None) is profile


@pytest.mark.parametrize(("inputs", "counted"), [(None, None), (10_000, None), (100, 100)])
def test_shares_from_few_inputs_are_compared_as_the_rough_estimate_that_they_are(profile, inputs, counted):
    # In 8 of 10 simulated windows of 1,000 with the very shares that 100 inputs were drawn with, a test that took the
    # estimate for the truth alarmed; allowing for it none does.
    found = priors.reference(profile, replace(PRIOR, inputs=inputs))
    assert sum(found.predicted_counts.values()) == pytest.approx(counted or found.n, abs=5)  # counts are rounded
    assert found.predicted_counts["0"] / sum(found.predicted_counts.values()) == pytest.approx(0.3, abs=0.03)


def test_what_a_correction_did_to_probabilities_can_be_taken_back():
    plain = drawn(300, 8)
    seen = corrected(plain)
    before, after = priors.uncorrected(profile_of(seen), window_of(seen), PRIOR)
    assert before.probabilities == pytest.approx(plain.probabilities, abs=1e-6)
    assert after.probabilities == pytest.approx(plain.probabilities, abs=1e-12)
    assert list(after.predicted) == plain.predicted
    assert after.confidence == pytest.approx(plain.confidence)


def test_a_correction_of_probabilities_of_which_only_the_largest_were_kept_is_never_taken_back():
    # of 250 classes a profile keeps 20 probabilities a row; an equal share of the rest is no probability of any class
    names = tuple(str(number) for number in range(250))
    probabilities = np.random.default_rng(1).dirichlet(np.full(250, 0.1), 300)
    seen = drawn(300, 8)
    profile = replace(profile_of(seen), classes=names, probabilities=kept(probabilities).astype(np.float32))
    window = replace(window_of(seen), probabilities=probabilities)
    moved = {name: 9.0 if name == "0" else 0.0 for name in names}
    prior = Prior(dict.fromkeys(names, 1 / 250), moved)
    plain = priors.uncorrected(profile, window, prior)
    assert label_shift.explain(*plain) is None
    found = priors.estimate(*plain, prior)
    assert found == label_shift.Estimate(None, priors.TRUNCATED)
    assert "of more than 200 classes" in found.reason
    assert priors.uncorrected(profile, window, None) == (profile, window)


def test_after_the_cure_the_new_shares_are_what_is_expected(journal, profile):  # noqa: F811
    seen = corrected(drawn(400, 6, TRIPLED))
    assert failed(look(journal(answers(seen)), profile, prior=None).document)  # against all of the test split
    document = look(journal(), profile).document
    assert (document["verdict"], document["remedy"]) == ("ok", "none"), document["findings"]
    zero = document["estimates"]["shares"]["0"]
    assert zero["reference"] == pytest.approx(0.3)
    assert zero["low"] < 0.3 < zero["high"]


def test_back_at_the_old_shares_the_window_alarms_and_the_cure_leads_back(journal, profile):  # noqa: F811
    document = look(journal(answers(corrected(drawn(400, 3)))), profile).document
    assert (document["verdict"], document["remedy"]) == ("alert", "correct_prior")
    assert document["causes"][0]["cause"] == "label_shift"
    shares = document["estimates"]["shares"]
    for name in CLASSES:
        assert shares[name]["low"] - 0.01 < 0.1 < shares[name]["high"] + 0.01
    assert shares["0"]["reference"] == pytest.approx(0.3)


def test_estimates_rest_on_rows_of_classes_that_hardly_come_any_more(profile):
    gone = np.array([1e-4, *[(1 - 1e-4) / 9] * 9])
    moved = np.log(gone / EVEN)
    prior = Prior(dict(zip(CLASSES, gone, strict=True)), dict(zip(CLASSES, moved, strict=True)))
    assert priors.reference(profile, prior).label_counts["0"] == 0
    seen = drawn(500, 5)
    shifted = seen.probabilities * np.exp(moved)
    shifted /= shifted.sum(axis=1, keepdims=True)
    after = window_of(replace(seen, probabilities=shifted))
    before = replace(profile, probabilities=(profile.probabilities * np.exp(moved - MOVED)).astype(np.float32))
    found = priors.estimate(*priors.uncorrected(before, after, prior), prior)
    assert isinstance(found, label_shift.Estimate) and found.shares is not None
    assert found.shares["0"]["low"] < 0.1 < found.shares["0"]["high"]


def test_the_prior_is_read_from_the_evaluation_in_the_bundle(tmp_path):
    assert priors.read(tmp_path) is None
    (tmp_path / "evaluation.json").write_text('{"shares": {"values": {}}}')
    with pytest.raises(BundleError, match=r"evaluation\.json cannot be read: KeyError\('correction'\)"):
        priors.read(tmp_path)
    (tmp_path / "evaluation.json").write_text(json.dumps({"format": 2}))
    assert priors.read(tmp_path) is None
    said = {"values": {"a": 0.9, "b": 0.1}, "correction": {"a": 1.0, "b": -1.0}, "rows": 9}
    (tmp_path / "evaluation.json").write_text(json.dumps({"format": 3, "shares": said}))
    assert priors.read(tmp_path) == Prior(said["values"], said["correction"])
