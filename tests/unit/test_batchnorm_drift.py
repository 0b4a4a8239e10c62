"""Moments of BatchNorm inputs: kept by the journal, measured off the request's path, compared with the reference."""

import threading
from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import pytest

from headstart.batchnorm.instrumented import Seen
from headstart.faults.signatures import Signature
from headstart.findings import Finding
from headstart.journal import deletion, moments
from headstart.journal.moments import LayerMoments
from headstart.journal.writer import Journal
from headstart.layer_statistics import Layers, Reference, Statistics, divergences, in_blocks, of_inputs, summed
from headstart.monitoring import diagnosis, recalibration, watch
from headstart.monitoring.detectors import layers as layer_drift
from headstart.monitoring.recalibration import Effect, Replay
from headstart.monitoring.windows import Sample
from headstart.params.operation import Journal as JournalParams
from headstart.serving.sampling import Answering, Offered, Sampler
from tests.unit.made_traffic import NOON, monitor, profile_of, traffic, window_of

PARAMS = JournalParams(
    flush_s=1.0, seal_minutes=5.0, seal_megabytes=8, raw="off", raw_share=0.0, raw_days=1, features=False
)
LAYERS = Layers(("first", "second"), (3, 5), (1e-5, 1e-5))
LEVEL = 1e-5
STORED = Statistics(np.zeros(8), np.ones(8))


def images(count, *, seed, moved=0.0, layer=0):
    """Moments of images whose channels lean on each other; `moved` deviations in one layer."""
    generator = np.random.default_rng(seed)
    means = generator.normal(size=(count, 8)) + generator.normal(size=(count, 1))
    spread = generator.chisquare(20, (count, 8)) / 20
    means[:, 3 * layer : 3 + 5 * layer] += moved * np.sqrt(2.0)
    return of_inputs(means, means**2 + spread)


def reference(count=1000):
    return Reference(LAYERS, STORED, STORED, in_blocks(images(count, seed=0), seed=0))


def measured(seen, *, bundle="bundle-2", minute=0):
    whole = summed(seen)
    when = NOON - timedelta(minutes=30 - minute)
    return LayerMoments(when, 2, bundle, len(seen.count), whole.total, whole.squares)


def test_a_layers_divergence_is_the_mean_over_its_channels():
    one = Statistics(np.zeros(8), np.ones(8))
    other = Statistics(np.array([1.0, 0, 0, 0, 0, 0, 0, 0]), np.ones(8))
    # equal variances of 1, means apart by 1: 2 * 1 / 2 = 1 nat in one of three channels
    assert divergences(LAYERS, one, other) == pytest.approx([1 / 3, 0.0], abs=1e-4)


def test_blocks_add_up_to_the_whole_however_many_there_are():
    seen = images(103, seed=1)
    for blocks in (50, 7):
        parts = in_blocks(seen, seed=3, blocks=blocks)
        assert sorted(set(parts.count[:, 0])) in ([2.0, 3.0], [14.0, 15.0])
        assert summed(parts).total == pytest.approx(summed(seen).total)


@pytest.mark.parametrize(
    ("moved", "layer", "expected"),
    [
        pytest.param(0.0, 0, [], id="nothing"),
        pytest.param(0.8, 0, ["first"], id="the first layer"),
        pytest.param(0.8, 1, ["second"], id="the second layer"),
    ],
)
def test_names_the_layers_that_moved(moved, layer, expected):
    found = layer_drift.detect(reference(), measured(images(200, seed=9, moved=moved, layer=layer)), LEVEL)
    assert [each["layer"] for each in found.evidence["layers"] if each["moved"]] == expected
    assert found.verdict == ("fail" if expected else "pass")
    assert [each["depth"] for each in found.evidence["layers"]] == [0, 1]


def test_drift_that_a_cure_makes_good_is_none_and_that_of_a_wrong_cure_is():
    """Served with means of 0.8 deviations more, it sees images of 0.8 deviations more as it saw the reference."""
    shift = 0.8 * np.sqrt(2.0) * np.array([1, 1, 1, 0, 0, 0, 0, 0])
    cured = replace(reference(), served=Statistics(STORED.mean + shift, STORED.variance))
    moved = images(200, seed=9, moved=0.8)
    assert layer_drift.detect(cured, measured(moved), LEVEL).verdict == "pass"
    assert layer_drift.detect(cured, measured(images(200, seed=9)), LEVEL).verdict == "fail"


def test_is_unsure_where_too_few_images_or_none_were_measured():
    for seen in (None, measured(images(99, seed=1))):
        assert layer_drift.detect(reference(), seen, LEVEL).verdict == "unsure"


def test_moments_of_another_network_are_not_compared():
    seen = LayerMoments(NOON, 2, "bundle-2", 500, np.zeros(4), np.ones(4))
    assert layer_drift.detect(reference(), seen, LEVEL).verdict == "unsure"


@pytest.mark.nightly
def test_false_alarms_stay_near_their_level():
    alarms = {0.01: 0, 0.001: 0}
    for seed in range(40):
        known = Reference(LAYERS, STORED, STORED, in_blocks(images(800, seed=seed), seed=0))
        for window in range(50):
            count = (100, 300, 900)[window % 3]
            seen = measured(images(count, seed=10_000 + 100 * seed + window))
            p_value = layer_drift.detect(known, seen, LEVEL).statistic
            for level in alarms:
                alarms[level] += p_value <= level
    # 2,000 windows; 20 and 2 are expected at the levels, and a Poisson count passes 40 and 10 once in 10,000
    assert alarms[0.01] <= 40
    assert alarms[0.001] <= 10


def journal(folder):
    return Journal(folder, PARAMS, clock=lambda: NOON)


def test_the_journal_adds_moments_up_exactly_over_minutes_and_servers(tmp_path):
    seen = images(90, seed=2)
    parts = [measured(of_inputs(*each), minute=number) for number, each in enumerate(_cut(seen, 3))]
    for rows in (parts[:2], parts[2:]):  # two servers
        writer = journal(tmp_path)
        writer.record_moments(rows)
        writer.close()
    found = moments.read(tmp_path, start=NOON - timedelta(hours=1), end=NOON)
    assert found["bundle-2"].inputs == 90
    assert found["bundle-2"].totals == pytest.approx(summed(seen).total, rel=1e-12)
    assert found["bundle-2"].squares == pytest.approx(summed(seen).squares, rel=1e-12)
    first = moments.read(tmp_path, start=NOON - timedelta(hours=1), end=NOON - timedelta(minutes=29))
    assert first["bundle-2"].inputs == 30


def test_a_past_day_keeps_a_row_an_hour_and_adds_up_to_the_same(tmp_path):
    writer = journal(tmp_path)
    rows = [measured(of_inputs(*each), minute=20 * number) for number, each in enumerate(_cut(images(90, seed=2), 3))]
    writer.record_moments(rows)  # at 11:30, 11:50 and 12:10
    writer.close()
    before = moments.read(tmp_path, start=NOON - timedelta(days=1), end=NOON + timedelta(days=1))
    done = deletion.compact(tmp_path, now=NOON + timedelta(days=2), raw_days=30)
    after = moments.read(tmp_path, start=NOON - timedelta(days=1), end=NOON + timedelta(days=1))
    assert (done.segments, after["bundle-2"].inputs) == (1, 90)
    assert after["bundle-2"].totals == pytest.approx(before["bundle-2"].totals)
    noon = moments.read(tmp_path, start=NOON, end=NOON + timedelta(hours=1))
    assert noon["bundle-2"].inputs == 30


def test_deleting_a_request_does_not_break_the_sums_of_others(tmp_path):
    writer = journal(tmp_path)
    writer.record_moments([measured(images(30, seed=1))])
    writer.close()
    deletion.request(tmp_path, ["gone"])
    assert moments.read(tmp_path, start=NOON - timedelta(hours=1), end=NOON)["bundle-2"].inputs == 30


class FakeNetwork:
    """Takes an image's first byte for the mean of each channel."""

    def __init__(self):
        self.preprocessor = self
        self.threads = set()

    def prepare(self, raw):
        return list(raw)

    def run(self, items):
        self.threads.add(threading.current_thread().name)
        means = np.array([[float(each[0])] * 8 for each in items])
        return Seen(np.zeros((len(items), 2)), of_inputs(means, means**2))


def offered(*raw):
    return [Offered(each, None) for each in raw]


def test_the_server_measures_distinct_images_in_a_thread_of_its_own(tmp_path):
    writer, network = journal(tmp_path), FakeNetwork()
    sampler = Sampler("digits", writer, share=1.0)
    answering = Answering(network, 2, "bundle-2")
    sampler.offer(answering, NOON - timedelta(minutes=3), offered(b"\x01", b"\x02", b"\x01"))
    sampler.offer(answering, NOON - timedelta(minutes=1), offered(b"\x03", b"\x02"))
    sampler.close()
    writer.close()
    found = moments.read(tmp_path, start=NOON - timedelta(hours=1), end=NOON)["bundle-2"]
    assert (found.inputs, found.totals[0], found.squares[0]) == (3, 1 + 2 + 3, 1 + 4 + 9)
    assert found.time == NOON - timedelta(minutes=3)
    assert network.threads == {"layers digits"}


def test_a_model_that_is_never_asked_has_no_thread(tmp_path):
    before = threading.active_count()
    sampler = Sampler("digits", journal(tmp_path))
    assert threading.active_count() == before
    sampler.close()


def test_a_look_judges_the_layers_of_the_registered_bundle(tmp_path):
    seen = window_of(traffic(np.random.default_rng(0), 300))
    profile = profile_of(traffic(np.random.default_rng(1), 2000))
    moved = measured(images(300, seed=4, moved=1.0))
    findings = watch.judge(profile, seen, monitor(), layers=reference(), measured=moved)
    (found,) = [finding for finding in findings if finding.check == layer_drift.CHECKS["batchnorm"]]
    assert found.verdict == "fail"
    assert layer_drift.CHECKS["batchnorm"] not in {finding.check for finding in watch.judge(profile, seen, monitor())}


def effect(**changes):
    """Half of the answers went to one class; re-estimated statistics bring their shares and confidence back."""
    found = {
        "images": 200, "confidence": 0.7, "recalibrated": 0.93, "expected": 0.95, "p_lost": 1e-9, "p_raised": 1e-9,
        "classes": 0.4, "classes_recalibrated": 0.05, "p_classes": 1e-6, "p_classes_recalibrated": 0.5,
        "labelled": 0, "gained": 0, "lost": 0,
    }  # fmt: skip
    return Effect(**{**found, **changes})


@pytest.mark.parametrize(
    ("changes", "restores"),
    [
        pytest.param({}, True, id="both come back"),
        pytest.param({"p_classes": 0.5, "classes": 0.04}, True, id="confidence alone was lost and comes back"),
        pytest.param({"p_classes": 0.5, "recalibrated": 0.75}, False, id="a fifth of the confidence comes back"),
        pytest.param({"classes_recalibrated": 0.3}, False, id="the classes' shares stay away"),
        pytest.param({"p_raised": 0.999}, False, id="confidence falls"),
        pytest.param({"p_lost": 0.5, "p_classes": 0.5}, False, id="nothing was lost"),
        pytest.param({"labelled": 60, "gained": 2, "lost": 20}, False, id="labels say that answers turn wrong"),
        pytest.param({"labelled": 60, "gained": 20, "lost": 2}, True, id="labels say that answers turn right"),
    ],
)
def test_drift_is_the_cause_only_where_predictions_come_back(changes, restores):
    assert effect(**changes).restores is restores


def alarmed():
    return [layer_drift.detect(reference(), measured(images(300, seed=4, moved=1.0)), LEVEL)]


def causes_of(trial):
    window, profile = (
        window_of(traffic(np.random.default_rng(0), 300)),
        profile_of(traffic(np.random.default_rng(1), 2000)),
    )
    return diagnosis.causes(alarmed(), profile, window, drop=0.05, trial=trial)


def test_drift_is_named_where_re_estimated_statistics_bring_predictions_back():
    raw = Sample([str(number).encode() for number in range(200)], [None] * 200)
    (cause,) = causes_of(diagnosis.Trial(lambda: raw, lambda sample: effect()))
    assert (cause["cause"], diagnosis.remedy([cause])) == ("batchnorm_drift", "recalibrate_batchnorm")
    assert cause["evidence"]["recalibration"]["classes_recalibrated"] == 0.05
    assert diagnosis.ranked([cause], judged=True) == [cause]


def test_without_raw_images_the_cause_stays_unknown_and_the_setting_is_said():
    (cause,) = causes_of(diagnosis.Trial())
    assert cause["cause"] == "unknown_shift"
    assert "Set journal.raw: sampled, and raise journal.raw_share." in cause["evidence"]["meaning"]


RAW = Sample([str(number).encode() for number in range(200)], [None] * 200)
NONE, FEW = Sample([], []), Sample(RAW.raw[:60], RAW.truth[:60])
AS_BEFORE = {"p_lost": 0.5, "p_classes": 0.5, "classes": 0.03}


@pytest.mark.parametrize(
    ("raw", "changes", "confidence", "cause"),
    [
        pytest.param(RAW, {}, 1e-9, "batchnorm_drift", id="predictions come back"),
        pytest.param(RAW, AS_BEFORE, 0.5, "covariate_shift", id="predictions were not lost"),
        pytest.param(RAW, {"classes_recalibrated": 0.36}, 1e-9, "covariate_shift", id="a tenth comes back"),
        pytest.param(RAW, {"classes_recalibrated": 0.24}, 1e-9, "unknown_shift", id="four tenths come back"),
        pytest.param(Sample([], []), {}, 0.5, "covariate_shift", id="no image to try, and nothing lost"),
        pytest.param(Sample([], []), {}, 0.01, "unknown_shift", id="no image to try, and perhaps something lost"),
    ],
)
def test_less_light_is_drift_a_shift_or_unnamed_by_what_re_estimated_statistics_bring_back(
    raw, changes, confidence, cause
):
    dark = traffic(np.random.default_rng(0), 300, darker=0.3)
    found = diagnosis.causes(
        [
            *alarmed(),
            Finding("property/brightness", "fail", 1e-9, 1e-5, ""),
            Finding("confidence", "pass", confidence, 1e-5, ""),
        ],
        profile_of(traffic(np.random.default_rng(1), 2000)),
        window_of(dark),
        drop=0.05,
        known=[Signature("darkened", 5, {"brightness": -1.0})],
        trial=diagnosis.Trial(lambda: raw, lambda sample: effect(**changes)),
    )
    assert found[0]["cause"] == cause
    assert "there is less light" in found[0]["evidence"]["meaning"]
    if raw != RAW and cause == "unknown_shift":
        assert "Set journal.raw: sampled" in found[0]["evidence"]["meaning"]


@pytest.mark.parametrize(
    ("raw", "changes", "replayed", "share", "cause"),
    [
        pytest.param(NONE, {}, {}, 1.0, "batchnorm_drift", id="no image was kept, and accuracy comes back"),
        pytest.param(NONE, {}, {"cured": 0.6}, 1.0, "unknown_shift", id="a third of it comes back"),
        pytest.param(NONE, {}, {"cured": 0.5}, 1.0, "covariate_shift", id="a ninth of it comes back"),
        pytest.param(NONE, {}, {"p_lost": 0.3}, 1.0, "covariate_shift", id="it may cost no accuracy"),
        pytest.param(NONE, {}, {"p_regained": 0.3}, 1.0, "unknown_shift", id="it may come back by chance"),
        pytest.param(NONE, {}, {}, 0.5, "unknown_shift", id="half of the window is sound"),
        pytest.param(FEW, {"images": 60, "classes_recalibrated": 0.24}, {}, 1.0, "batchnorm_drift", id="too few"),
    ],
)
def test_without_enough_images_a_fault_is_planted_in_labelled_ones_of_the_reference(
    raw, changes, replayed, share, cause
):
    dark = traffic(np.random.default_rng(0), 300, darker=0.3)
    sound = traffic(np.random.default_rng(2), 300)
    rows = np.arange(300) < 300 * share
    looks = {name: np.where(rows, values, sound.properties[name]) for name, values in dark.properties.items()}
    told = {"images": 150, "severity": 5, "clean": 0.9, "broken": 0.45, "cured": 0.8, "p_lost": 0.0, "p_regained": 0.0}
    found = Replay(**{**told, **replayed})
    asked = []
    failed = [Finding(check, "fail", 1e-9, 1e-5, "") for check in ("property/brightness", "confidence")]
    (named,) = diagnosis.causes(
        [*alarmed(), *failed],
        profile_of(traffic(np.random.default_rng(1), 2000)),
        replace(window_of(dark), properties=looks),
        drop=0.05,
        known=[Signature("darkened", 5, {"brightness": -1.0})],
        trial=diagnosis.Trial(
            lambda: raw,
            lambda sample: effect(**changes),
            lambda fault: asked.append(fault.name) or found,
        ),
    )
    assert named["cause"] == cause
    if share == 1.0:
        assert asked == ["darkened"]
        assert named["evidence"]["replay"] == asdict(found)
        said = f"takes accuracy from 0.90 to 0.45; re-estimated BatchNorm statistics bring it to {found.cured:.2f}."
        assert said in named["evidence"]["meaning"]


@pytest.mark.parametrize(
    ("raw", "changes"),
    [
        pytest.param(RAW, {"images": 200, "labelled": 200, "gained": 5, "lost": 60}, id="labels say that it harms"),
        pytest.param(FEW, {"images": 60, "labelled": 60, "gained": 0, "lost": 20}, id="labels of few say so too"),
        pytest.param(RAW, {"images": 200, "classes_recalibrated": 0.24}, id="many images, four tenths come back"),
    ],
)
def test_what_a_windows_own_images_say_is_not_overruled_by_planted_ones(raw, changes):
    dark = traffic(np.random.default_rng(0), 300, darker=0.3)
    asked = []
    failed = [Finding(check, "fail", 1e-9, 1e-5, "") for check in ("property/brightness", "confidence")]
    (named,) = diagnosis.causes(
        [*alarmed(), *failed],
        profile_of(traffic(np.random.default_rng(1), 2000)),
        window_of(dark),
        drop=0.05,
        known=[Signature("darkened", 5, {"brightness": -1.0})],
        trial=diagnosis.Trial(lambda: raw, lambda sample: effect(**changes), lambda fault: asked.append(fault.name)),
    )
    assert (named["cause"] != "batchnorm_drift", asked) == (True, [])


def test_probabilities_are_compared_with_the_references():
    rng = np.random.default_rng(0)
    profile = profile_of(traffic(rng, 2000))
    sound = traffic(rng, 300)
    shut = np.tile([0.6, *[0.4 / 9] * 9], (300, 1))  # every image is a 0, with little confidence
    found = recalibration.compared(shut, sound.probabilities, sound.truth, profile.classes, profile)
    assert (found.images, found.labelled, found.confidence) == (300, 300, pytest.approx(0.6))
    assert found.classes == pytest.approx(0.9, abs=0.02)  # nine tenths would have to move
    assert found.gained > 200
    assert found.restores


def _cut(seen, parts):
    return zip(np.array_split(seen.total, parts), np.array_split(seen.squares, parts), strict=True)


def hour(count, *, seed, ago, moved=0.0):
    whole = summed(images(count, seed=seed, moved=moved))
    return LayerMoments(NOON - timedelta(hours=ago, minutes=20), 2, "bundle-2", count, whole.total, whole.squares)


def test_the_hours_show_when_which_layer_moved_and_that_small_hours_are_no_drift():
    found = layer_drift.by_hour(
        reference(),
        [
            hour(400, seed=1, ago=4),
            hour(40, seed=2, ago=3),
            hour(110, seed=3, ago=2),
            hour(400, seed=4, ago=1, moved=0.8),
        ],
        LEVEL,
    )
    assert [(each["start"][11:16], each["inputs"], each["moved"]) for each in found] == [
        ("07:00", 400, [False, False]),
        ("09:00", 110, [False, False]),
        ("10:00", 400, [True, False]),
    ]
    # means 0.8 * sqrt(2) apart, of variance 3 (of channel, image, and within one): 2 * 0.64 / 3 nats
    assert found[2]["beyond"][0] == pytest.approx(2 * 0.64 / 3, rel=0.35)
    assert max(found[0]["beyond"] + found[1]["beyond"]) < 0.05


def test_the_journal_adds_up_hours_of_the_clock_over_servers_and_days(tmp_path):
    for rows in ([hour(30, seed=1, ago=1), hour(20, seed=2, ago=26)], [hour(50, seed=3, ago=1)]):
        writer = journal(tmp_path)
        writer.record_moments(rows)
        writer.close()
    deletion.compact(tmp_path, now=NOON, raw_days=30)  # the older hour's day is joined
    found = moments.hourly(tmp_path, start=NOON - timedelta(hours=30), end=NOON, bundle="bundle-2")
    assert [each.inputs for each in found] == [20, 80]
    assert [each.time.hour for each in found] == [9, 10]
    assert moments.hourly(tmp_path, start=NOON - timedelta(hours=30), end=NOON, bundle="another") == []
