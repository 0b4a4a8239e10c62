"""How often does the monitor alarm where nothing has changed? Clean weeks, a window an hour, against the budget.

    python benchmarks/false_alarms.py --work /tmp/false_alarms WORKSPACE/apidocs WORKSPACE/digits

Windows are drawn from a model's answers to its validation and test rows; the network runs once, what it said is kept in
`--work`. For each week these rows are split in halves, anew and by chance: one is the reference, the hours of the week
are drawn from the other, with replacement, and equal inputs count once, as in operation. So neither a difference of the
two splits nor a row that is on both sides decides. A fifth of the inputs get labels. `flat` weeks have as many inputs
each hour, give or take; `rhythm` has hardly any at night, twice as many at noon, and half at weekends.

With `--as-deployed` the reference is the test rows, as in the bundle, and all windows are drawn from the validation
rows: what one deployment lives through, where the splits differ as they do.

A window alarms where `watch.judge` fails a finding, or one input is repeated too often. Exact tests take a tenth of a
second, so a window is given to `watch.judge` only where a cheap statistic is at all unusual: an approximate p-value up
to `SCREEN`, a hundred times the level; and there only unusual numbers are tested exactly. Every third week one more
window is judged whatever it looks like, exactly throughout; were one of these to alarm, the program would stop. Of
what enters layers the window of each week that moved farthest is judged. Controls: as many windows that always alarm,
and that never do.

Prints a row a model and rhythm: alarms a year with a 95% interval from resampled weeks, and the findings that alarmed.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov
from scipy.stats import binom, chi2, hypergeom

from headstart import layer_statistics
from headstart.batchnorm.instrumented import Instrumented
from headstart.data import dataset
from headstart.journal.moments import LayerMoments
from headstart.layer_statistics import divergences, in_blocks, of_inputs, summed
from headstart.monitoring import watch
from headstart.monitoring.detectors import layers as drift
from headstart.monitoring.detectors import requests
from headstart.monitoring.windows import Window
from headstart.params.loader import load
from headstart.params.operation import Monitor
from headstart.predictor import Predictor
from headstart.profile import Profile
from headstart.statistics import two_sample
from headstart.statistics.gaussian import Moments

HOURS = 7 * 24
HOURS_A_YEAR = 365.25 * 24
SCREEN = 1e-3  # approximate p-value above which a window is not judged; p-values of alarms are at most 2.3e-4
SCREEN_CLASSES = 2e-2
CHECKED = 1 / 3
LABELLED = 0.2
RESAMPLES = 2000
exact_ks = two_sample.ks
START = datetime(2026, 1, 5, tzinfo=UTC)
RHYTHMS = ("flat", "rhythm")
Rows = NDArray[np.int64]


def main() -> None:
    """Measure the models named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="WORKSPACE/NAME, of a finished workspace")
    parser.add_argument("--work", type=Path, required=True, help="where answers are kept")
    parser.add_argument("--weeks", type=int, default=300)
    parser.add_argument("--as-deployed", action="store_true", help="test rows against validation rows")
    parser.add_argument("--volume", type=int, default=120, help="inputs an hour, on average")
    arguments = parser.parse_args()
    print("| model | weeks | windows | alarms | weeks with any | a year | 95% | budget | findings |")
    print("| --- " * 9 + "|")
    for place in arguments.models:
        params = load(place.parent / "params.yaml").models[place.name].monitor
        answers = Answers.of(place.parent / "artifacts/models" / place.name, arguments.work / f"{place.name}.npz")
        for rhythm in RHYTHMS:
            sides = answers.splits if arguments.as_deployed else None
            weeks = [
                week(answers, params, *drawn)
                for drawn in simulated(answers, rhythm, sides, weeks=arguments.weeks, volume=arguments.volume)
            ]
            print(line(f"{place.name}, {rhythm}", weeks, params.false_alarms_a_year), flush=True)
    hours = arguments.weeks * [HOURS]
    for name, often in (("always", HOURS), ("never", 0)):
        weeks = [Week(each, often, Counter()) for each in hours]
        print(line(f"control: {name} alarms", weeks, 4.0), flush=True)


@dataclass(frozen=True)
class Week:
    """How many windows were looked at, how many alarmed, and how often each finding was why."""

    windows: int
    alarms: int
    checks: Counter[str]


@dataclass(frozen=True)
class Answers:
    """What a version answers to held-out rows.

    Attributes:
        classes: of the version.
        truth: `(rows,)`, places in `classes`; likewise `predicted`.
        predicted: the answer of each.
        numbers: confidence first, then the input properties, by name, `(rows,)` each.
        splits: the test rows, which the bundle's reference is, and the validation rows.
        moments: of what enters its layers, `(rows, channels)`; None where none is measured.
        layers: the bundle's own reference of these; None likewise.
    """

    classes: tuple[str, ...]
    truth: Rows
    predicted: Rows
    numbers: Mapping[str, NDArray[np.float64]]
    splits: tuple[Rows, Rows]
    moments: Moments | None = None
    layers: layer_statistics.Reference | None = None

    @classmethod
    def of(cls, model: Path, kept: Path) -> "Answers":
        """Those of a sealed bundle to its validation and test rows, computed where `kept` does not have them yet."""
        layers = layer_statistics.read(model / "bundle")
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **computed(model))
        with np.load(kept) as file:
            found = dict(file)
        moments = of_inputs(found["means"], found["squares"]) if "means" in found else None
        numbers = {name: found[f"number/{name}"] for name in found["names"]}
        rows = np.arange(len(found["truth"]))
        splits = rows[found["validation"] :], rows[: found["validation"]]
        return cls(tuple(found["classes"]), found["truth"], found["predicted"], numbers, splits, moments, layers)

    def profile(self, rows: Rows) -> Profile:
        """Of these rows."""
        names = np.array(self.classes)
        counts, labels = (
            dict(zip(self.classes, np.bincount(side[rows], minlength=len(names)).tolist(), strict=True))
            for side in (self.predicted, self.truth)
        )
        return Profile(
            classes=self.classes,
            n=len(rows),
            predicted_counts=counts,
            label_counts=labels,
            accuracy=float((self.predicted[rows] == self.truth[rows]).mean()),
            labels=names[self.truth[rows]].tolist(),
            predicted=names[self.predicted[rows]].tolist(),
            confidence=self.numbers["confidence"][rows],
            properties={name: values[rows] for name, values in self.numbers.items() if name != "confidence"},
        )

    def window(self, rows: Rows, labelled: NDArray[np.bool_], counts: Rows) -> Window:
        """Of these rows, each sent so often."""
        names = np.array(self.classes)
        return Window(
            start=START,
            end=START + timedelta(hours=1),
            version=1,
            predicted=names[self.predicted[rows]].tolist(),
            confidence=self.numbers["confidence"][rows],
            properties={name: values[rows] for name, values in self.numbers.items() if name != "confidence"},
            truth=[self.classes[self.truth[row]] if known else None for row, known in zip(rows, labelled, strict=True)],
            probabilities=None,
            answers=int(counts.sum()),
            most_repeated=int(counts.max()),
            bundles={},
        )


def computed(model: Path) -> dict[str, Any]:
    """What the network says, once."""
    predictor = Predictor.load(model / "bundle")
    parts = [dataset.read(model / f"data/{split}.parquet") for split in ("validation", "test")]
    inputs = [raw for part in parts for raw in part.inputs]
    outputs, properties = predictor.outputs(inputs), predictor.preprocessor.properties(inputs)
    predictions = predictor.predictions(outputs.logits)
    place = {name: number for number, name in enumerate(predictor.labels)}
    found = {
        "classes": np.array(predictor.labels),
        "validation": np.array(len(parts[0])),
        "truth": np.array([place[label] for part in parts for label in part.labels]),
        "predicted": np.array([place[each.label] for each in predictions]),
        "names": np.array(["confidence", *properties[0]]),
        "number/confidence": np.array([each.probability for each in predictions]),
        **{f"number/{name}": np.array([row[name] for row in properties]) for name in properties[0]},
    }
    network = Instrumented.load(model / "bundle", predictor.preprocessor)
    if network is not None:
        seen = [
            network.run(network.preprocessor.prepare(inputs[at : at + 256])).moments
            for at in range(0, len(inputs), 256)
        ]
        found["means"] = np.concatenate([each.total for each in seen])
        found["squares"] = np.concatenate([each.squares for each in seen])
    elif outputs.moments is not None:
        found["means"], found["squares"] = outputs.moments[:, 0], outputs.moments[:, 1]
    return found


def simulated(
    answers: Answers, rhythm: str, sides: tuple[Rows, Rows] | None = None, *, weeks: int, volume: int
) -> Iterator[tuple[Rows, Rows, Rows, np.random.Generator]]:
    """For each week the rows of the reference, those to draw from, inputs by hour, and a generator for the rest."""
    for number in range(weeks):
        random = np.random.default_rng([RHYTHMS.index(rhythm), number])
        order = random.permutation(len(answers.truth))
        half = len(order) // 2
        known, others = sides or (order[:half], order[half:])
        yield known, others, hourly(random, rhythm, volume), random


def hourly(random: np.random.Generator, rhythm: str, volume: int) -> Rows:
    """How many inputs come in each hour of a week that begins on Monday."""
    hour = np.arange(HOURS)
    shape = np.ones(HOURS)
    if rhythm == "rhythm":
        shape = (1 + 0.95 * np.sin(2 * np.pi * (hour % 24 - 6) / 24)) * np.where(hour >= 5 * 24, 0.5, 1.0)
    return np.asarray(np.maximum(1, random.poisson(volume * shape)), dtype=np.int64)


def week(
    answers: Answers, params: Monitor, known: Rows, others: Rows, volumes: Rows, random: np.random.Generator
) -> Week:
    """Windows of a week, drawn from `others` and judged against `known`."""
    sent = np.stack([np.bincount(random.integers(len(others), size=each), minlength=len(others)) for each in volumes])
    labelled = random.random(sent.shape) < LABELLED
    profile = answers.profile(known)
    unusual = screened(answers, params, known, others, sent > 0, labelled) | (sent.max(axis=1) >= requests.FEWEST)
    layers, farthest = None, -1
    if answers.moments is not None and answers.layers is not None:
        layers = replace(answers.layers, blocks=in_blocks(_rows(answers.moments, known), seed=0))
        farthest = moved_farthest(answers.moments, layers, others, sent > 0)
    checked = int(random.integers(len(sent))) if random.random() < CHECKED else -1  # whatever it looks like
    checks: Counter[str] = Counter()
    alarms = 0
    for hour in sorted({*np.flatnonzero(unusual).tolist(), checked, farthest} - {-1}):
        mine = np.flatnonzero(sent[hour])
        window = answers.window(others[mine], labelled[hour, mine], sent[hour, mine])
        measured = _measured(answers.moments, others[mine]) if hour == farthest else None
        with nullcontext() if hour == checked else patch.object(two_sample, "ks", screened_ks):
            findings = watch.judge(profile, window, params, layers=layers, measured=measured)
        findings.append(requests.repeated_inputs(window, params.repeated_share))
        failed = [finding.check for finding in findings if finding.verdict == "fail"]
        if failed and not unusual[hour] and hour != farthest:
            raise SystemExit(f"{failed} alarmed in a window that was not screened out: raise SCREEN.")
        checks.update(failed)
        alarms += bool(failed)
    return Week(len(sent), alarms, checks)


def screened(
    answers: Answers,
    params: Monitor,
    known: Rows,
    others: Rows,
    drawn: NDArray[np.bool_],
    labelled: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """The windows, rows of `drawn`, in which any test might alarm."""
    unusual = _classes_moved(answers, known, others, drawn)
    for values in answers.numbers.values():
        unusual |= _distribution_moved(values[known], values[others], drawn)
    properties = [values for name, values in answers.numbers.items() if name != "confidence"]
    for values in properties:
        unusual |= _out_of_range(values[known], values[others], drawn, len(properties))
    right = answers.truth == answers.predicted
    counted = drawn & labelled
    needed = right[known].mean() - params.accuracy_drop
    unusual |= binom.cdf((counted & right[others]).sum(axis=1), counted.sum(axis=1), needed) <= SCREEN_CLASSES
    return unusual


def _classes_moved(answers: Answers, known: Rows, others: Rows, drawn: NDArray[np.bool_]) -> NDArray[np.bool_]:
    one_hot = np.eye(len(answers.classes), dtype=np.int64)
    before, after = one_hot[answers.predicted[known]].sum(axis=0), drawn @ one_hot[answers.predicted[others]]
    totals, size = before + after, after.sum(axis=1, keepdims=True)
    null = hypergeom(totals.sum(axis=1, keepdims=True), totals, size)
    single = len(before) * 2 * np.minimum(null.cdf(after), null.sf(after - 1)).min(axis=1)
    expected = np.maximum(totals * (size / totals.sum(axis=1, keepdims=True)), 1e-12)
    scale = totals.sum(axis=1) / (totals.sum(axis=1) - size[:, 0])
    pearson = (np.square(after - expected) / expected).sum(axis=1) * scale
    whole = chi2.sf(pearson, np.maximum((totals > 0).sum(axis=1) - 1, 1))
    return np.asarray((single <= SCREEN_CLASSES) | (whole <= SCREEN_CLASSES))


def _distribution_moved(
    before: NDArray[np.float64], values: NDArray[np.float64], drawn: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    before, usable = np.sort(before[np.isfinite(before)]), np.isfinite(values)
    order = np.argsort(values[usable], kind="stable")
    after, walked = values[usable][order], drawn[:, usable][:, order].cumsum(axis=1)
    at = np.unique(np.concatenate([before, after]))
    n, m = len(before), np.maximum(walked[:, -1:], 1)
    share = np.concatenate([np.zeros((len(drawn), 1)), walked / m], axis=1)[:, np.searchsorted(after, at, side="right")]
    distance = np.abs(share - np.searchsorted(before, at, side="right") / n).max(axis=1)
    return np.asarray(kolmogorov(distance * np.sqrt(m[:, 0] * n / (m[:, 0] + n))) <= SCREEN)


def _out_of_range(
    before: NDArray[np.float64], values: NDArray[np.float64], drawn: NDArray[np.bool_], properties: int
) -> NDArray[np.bool_]:
    before, usable = before[np.isfinite(before)], np.isfinite(values)
    m = (drawn & usable).sum(axis=1)
    count = np.maximum((drawn & (values < before.min())).sum(axis=1), (drawn & (values > before.max())).sum(axis=1))
    p_values = [2 * two_sample.all_from_window(each, len(before), size) for each, size in zip(count, m, strict=True)]
    return np.asarray(np.array(p_values) * properties <= SCREEN_CLASSES)


def screened_ks(before: NDArray[np.float64], after: NDArray[np.float64]) -> two_sample.Test:
    """The exact test where the approximate p-value is up to `SCREEN`, else that."""
    before, after = np.sort(before), np.sort(after)
    at = np.concatenate([before, after])
    shares = (np.searchsorted(side, at, side="right") / len(side) for side in (before, after))
    distance = float(np.abs(next(shares) - next(shares)).max())
    p_value = float(kolmogorov(distance * np.sqrt(len(before) * len(after) / len(at))))
    return exact_ks(before, after) if p_value <= SCREEN else two_sample.Test(distance, p_value)


def moved_farthest(moments: Moments, layers: layer_statistics.Reference, others: Rows, drawn: NDArray[np.bool_]) -> int:
    """The window whose layers' inputs moved farthest from the reference, for its size."""
    images = drawn.sum(axis=1, keepdims=True).astype(np.float64)
    live = Moments(images, drawn @ moments.total[others], drawn @ moments.squares[others])
    apart = divergences(layers.layers, layers.as_trained(live), layers.whole) * images
    enough = images[:, 0] >= max(drift.FEWEST, round(drift.BLOCKS * layers.inputs / len(layers.blocks.count)))
    far = np.where(enough, (apart / apart.mean(axis=0)).max(axis=1), -1.0)
    return int(far.argmax()) if enough.any() else -1


def _measured(moments: Moments | None, rows: Rows) -> LayerMoments | None:
    if moments is None:
        return None
    whole = summed(_rows(moments, rows))
    return LayerMoments(START, 1, "", len(rows), whole.total, whole.squares)


def _rows(moments: Moments, rows: Rows) -> Moments:
    return Moments(moments.count[rows], moments.total[rows], moments.squares[rows])


def line(name: str, weeks: Sequence[Week], budget: float) -> str:
    """One row of the table."""
    alarms, windows = (np.array([getattr(each, what) for each in weeks]) for what in ("alarms", "windows"))
    value, low, high = a_year(alarms, windows)
    checks = sum((each.checks for each in weeks), Counter())
    told = ", ".join(f"{check} {count}" for check, count in checks.most_common()) or "none"
    return (
        f"| {name} | {len(weeks)} | {windows.sum():,} | {alarms.sum()} | {(alarms > 0).sum()} | {value:.1f} | "
        f"{low:.1f} to {high:.1f} | {budget:g} | {told} |"
    )


def a_year(alarms: Rows, windows: Rows) -> tuple[float, float, float]:
    """Alarms a year of hourly windows, and a 95% interval from resampled weeks, whose windows share a reference.

    Where so few weeks alarmed that resampling says little, the upper end is Poisson's for the weeks that did, each with
    as many alarms as they had on average.
    """
    random = np.random.default_rng(0)
    picked = random.integers(len(alarms), size=(RESAMPLES, len(alarms)))
    rates = np.quantile(alarms[picked].sum(axis=1) / windows[picked].sum(axis=1), [0.025, 0.975]) * HOURS_A_YEAR
    hit = int((alarms > 0).sum())
    each = alarms.sum() / hit if hit else 1.0
    poisson = float(chi2.ppf(0.975, 2 * (hit + 1)) / 2 * each / windows.sum() * HOURS_A_YEAR)
    most = HOURS_A_YEAR
    return alarms.sum() / windows.sum() * most, float(rates[0]), min(most, max(float(rates[1]), poisson))


if __name__ == "__main__":
    main()
