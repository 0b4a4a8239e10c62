"""How well are class shares estimated without labels, and how much accuracy does a corrected prior regain?

    python benchmarks/label_shift.py --work /tmp/names trec6 banking77 mnist cifar10_jpeg

Features of each set are those that `benchmarks/monitor_names.py` keeps in `--work`. A logistic regression is trained on
2,000 rows, calibrated on 500 others as the stage `evaluate` does, and 1,000 more are the reference; windows are drawn
from the rest, with shares from Dirichlet(0.1), (1) and (10), one class tripled, one class gone, and as they are.

Prints for each set, kind and size, over all windows: the squared error of hard black-box shift estimation divided by
that of expectation maximisation; accuracy in points lost against a classifier that is told the window's shares, and
the part of it that the estimated shares regain; and how often the window alarmed, since without an alarm nothing is
corrected.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from monitor_names import compute, read
from numpy.typing import NDArray

from headstart.bundle import Calibration
from headstart.evaluation import calibration
from headstart.monitoring.detectors.predicted_classes import SEED as TABLES
from headstart.statistics import label_shift, two_sample

ROOT = Path(__file__).parents[1]
LEARNED, VALIDATION, REFERENCE = 2000, 500, 1000
SIZES = (500, 2000)
RESAMPLES = 50
KINDS = ("none", "tripled", "gone", "dirichlet 10", "dirichlet 1", "dirichlet 0.1")
LEVEL = 2.3e-4  # of the test of predicted classes, by our defaults: 4 false alarms a year, a look an hour, half of it


def main() -> None:
    """Measure the sets named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", help="folders of --data: text with .jsonl, or images with .parquet")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the real sets")
    parser.add_argument("--work", type=Path, required=True, help="where features are kept")
    parser.add_argument("--windows", type=int, default=20, help="for each kind and size")
    arguments = parser.parse_args()
    print("| set | inputs | shares | error, BBSE / EM | lost | regained | alarmed |", "| --- " * 7 + "|", sep="\n")
    for name in arguments.sets:
        cache = arguments.work / f"{name}.npz"
        if not cache.is_file():
            compute(arguments.data / name, arguments.data, 8000, cache)
        rows = read(cache)
        model = Model(rows.features, rows.labels)
        for size in SIZES:
            for kind in KINDS:
                random = np.random.default_rng([size, KINDS.index(kind)])
                windows = [model.window(random, size, kind) for _ in range(arguments.windows)]
                print(line(name, size, kind, windows), flush=True)


class Model:
    """A calibrated classifier, its reference, and rows to draw windows from."""

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.str_]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        order = np.random.default_rng(0).permutation(len(labels))
        sizes = [min(LEARNED, len(order) // 3), VALIDATION, min(REFERENCE, len(order) // 5)]
        train, validation, reference, pool = np.split(order, np.cumsum(sizes))
        scaler = StandardScaler().fit(features[train])
        fitted = LogisticRegression(C=0.1, max_iter=200).fit(scaler.transform(features[train]), labels[train])
        self.classes = [str(label) for label in fitted.classes_]
        place = {label: number for number, label in enumerate(self.classes)}
        truth = np.array([place.get(str(label), -1) for label in labels])
        self.logits = fitted.decision_function(scaler.transform(features)).astype(np.float32)
        validation, self.reference, self.pool = (rows[truth[rows] >= 0] for rows in (validation, reference, pool))
        self.truth, self.validation = truth, self.logits[validation]
        self.calibration = calibration.fit(self.validation, truth[validation])
        self.probabilities = self.calibration.apply(self.logits)

    def window(self, random: np.random.Generator, size: int, kind: str) -> dict[str, Any]:
        """Draw a window, estimate its shares both ways, and answer it as now, corrected, and told the shares."""
        k = len(self.classes)
        base = np.bincount(self.truth[self.pool], minlength=k) / len(self.pool)
        wanted = shifted(random, base, kind)
        of_class = [self.pool[self.truth[self.pool] == number] for number in range(k)]
        counts = random.multinomial(size, wanted * (base > 0) / wanted[base > 0].sum())
        rows = np.concatenate(
            [random.choice(own, n, replace=len(own) < n) for own, n in zip(of_class, counts, strict=True) if n]
        )
        true = counts / size
        before, labels, after = self.probabilities[self.reference], self.truth[self.reference], self.probabilities[rows]
        found = label_shift.estimate(before, labels, after, resamples=RESAMPLES, level=0.95, seed=0)
        expected = np.bincount(labels, minlength=k) / len(labels)
        careful = label_shift.shrunk(found.values, found.low, found.high, expected, level=0.95)
        predicted = np.bincount(after.argmax(axis=1), minlength=k)
        told = np.bincount(before.argmax(axis=1), minlength=k)
        return {
            "em": float(((found.values - true) ** 2).sum()),
            "bbse": None if found.by_confusion is None else float(((found.by_confusion - true) ** 2).sum()),
            "now": self.accuracy(self.calibration, rows),
            "corrected": self.accuracy(self.at(careful), rows),
            "oracle": self.accuracy(self.at(true), rows),
            "alarmed": two_sample.contingency(told, predicted, TABLES).p_value < LEVEL,
        }

    def at(self, shares: NDArray[np.float64]) -> Calibration:
        """The calibration for these shares, as the stage `evaluate` makes it."""
        by_class = dict(zip(self.classes, shares, strict=True))
        return calibration.for_shares(self.calibration, self.validation, self.classes, by_class)

    def accuracy(self, chosen: Calibration, rows: NDArray[np.int64]) -> float:
        return float((chosen.apply(self.logits[rows]).argmax(axis=1) == self.truth[rows]).mean())


def shifted(random: np.random.Generator, base: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Other shares of the classes."""
    if kind.startswith("dirichlet"):
        return np.asarray(random.dirichlet(np.full(len(base), float(kind.split()[1]))))
    place = int(random.integers(len(base)))
    shares = base.copy()
    if kind != "none":
        shares[place] = min(0.9, 3 * base[place]) if kind == "tripled" else 0.0
        others = np.arange(len(base)) != place
        shares[others] *= (1 - shares[place]) / shares[others].sum()
    return shares


def line(name: str, size: int, kind: str, windows: list[dict[str, Any]]) -> str:
    """One row of the table."""
    told = [window for window in windows if window["bbse"] is not None]
    ratio = sum(window["bbse"] for window in told) / sum(window["em"] for window in told) if told else float("nan")
    now, corrected, oracle = (np.mean([window[key] for window in windows]) for key in ("now", "corrected", "oracle"))
    lost = 100 * (oracle - now)
    regained = f"{100 * (corrected - now):+.2f} points" + (
        f", {(corrected - now) / (oracle - now):.0%}" if lost >= 0.2 else ""
    )
    error = f"{ratio:.1f}" if told else "BBSE refused"
    alarmed = sum(window["alarmed"] for window in windows)
    return f"| {name} | {size} | {kind} | {error} | {lost:.2f} | {regained} | {alarmed} of {len(windows)} |"


if __name__ == "__main__":
    main()
