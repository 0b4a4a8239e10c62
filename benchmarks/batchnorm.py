"""How much of the accuracy that images lost do re-estimated BatchNorm statistics bring back, and what do they cost?

    python benchmarks/batchnorm.py --data ../shared/data --glyphs WORKSPACE/artifacts/backbones/glyphs --work /tmp/bn

A linear probe on a frozen backbone is fitted to a set and exported. Then each fault of images is planted at five
severities: statistics come from at most 500 images of one half of the test split, accuracy is that of the other half.

- `lost`: accuracy on damaged images, below that on sound ones.
- `regained`: share of it that re-estimation brings back; `adabn` with the images' own moments, `one pass` without
  running the network again, `balanced` with images weighted by predicted class.
- `sound`: accuracy on sound images under the cure, below that before: what the champion gate sees.

Prints a line a fault and severity, and totals. `--tripled` draws the images with one class three times as often.
`--windows N` asks the monitor instead: N sound windows of each size, and 20 of each fault at severities 3 to 5.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from headstart.backbones import checkpoint
from headstart.backbones.network import Network
from headstart.batchnorm import recalibration
from headstart.batchnorm.instrumented import Instrumented
from headstart.contract import files
from headstart.contract.spec import Contract, ImageSpec
from headstart.export import instrumented
from headstart.faults import images, samples
from headstart.journal.moments import LayerMoments
from headstart.layer_statistics import Statistics, summed
from headstart.monitoring.detectors import layers as layer_drift
from headstart.predictor import Preprocessor
from headstart.statistics.gaussian import Moments

ROOT = Path(__file__).parents[1]
FAULTS = {
    "brightness": images.brightened,
    "contrast": images.flattened,
    "blur": images.blurred,
    "noise": images.noisy,
    "jpeg": images.recompressed,
}
SETS = ("mnist", "cifar10_jpeg")
LEARN, IMAGES = 2000, 500
LEVEL = 1.3e-5  # of one test of seventeen, with four false alarms a year and a look an hour
CURES = ("recalibrated", "adabn", "one pass", "balanced")
Raw = list[bytes]
Labels = NDArray[np.int64]


def main() -> None:
    """Measure the sets and backbones named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--backbones", nargs="+", choices=("glyphs", "mobilenet"), default=("glyphs", "mobilenet"))
    parser.add_argument("--severities", nargs="+", type=int, default=(1, 2, 3, 4, 5))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the real sets")
    parser.add_argument("--glyphs", type=Path, required=True, help="the backbone `glyphs` of a workspace")
    parser.add_argument("--work", type=Path, required=True, help="where networks and results are kept")
    parser.add_argument("--images", type=int, default=IMAGES, help="that statistics come from")
    parser.add_argument("--windows", type=int, help="sound windows that the monitor is asked about")
    parser.add_argument("--tripled", action="store_true", help="one class comes three times as often")
    chosen = parser.parse_args()
    folders = {"glyphs": chosen.glyphs, "mobilenet": chosen.data / "weights_mobilenet_v1_025_imagenet"}
    for name in chosen.sets:
        for backbone in chosen.backbones:
            case = Case(name, backbone, folders[backbone], chosen.data / name, chosen.work / f"{name}-{backbone}")
            print(f"\n{name} on {backbone}: accuracy {case.accuracy(None):.3f}")
            if chosen.windows:
                watched(case, chosen.windows)
                continue
            rows = [
                case.measure(fault, severity, count=chosen.images, tripled=chosen.tripled)
                for fault in FAULTS
                for severity in chosen.severities
            ]
            with (chosen.work / f"{name}-{backbone}{'-tripled' if chosen.tripled else ''}.json").open("w") as file:
                json.dump(rows, file)
            total(rows)


class Case:
    """A probe on one backbone for one set, and its test split in two halves."""

    def __init__(self, name: str, backbone: str, folder: Path, data: Path, work: Path) -> None:
        self.grey = backbone == "glyphs"
        side = 32 if self.grey else 96
        learn, test = (read(data / f"{split}.parquet") for split in ("train", "test"))
        work.mkdir(parents=True, exist_ok=True)
        classes = int(learn[1].max()) + 1
        mean = (0.5,) if self.grey else (0.5,) * 3
        form = ImageSpec(
            "L" if self.grey else "RGB",
            "stretch",
            side,
            side,
            None,
            "bilinear",
            None,
            1 / 255,
            mean,
            mean,
            10**7,
            10**7,
        )
        if not (work / "batchnorm.onnx").is_file():
            files.write(work, Contract("image", form, tuple(map(str, range(classes)))), tokenizer_json=None)
            fit(folder, work, learn, classes, (1 if self.grey else 3, side, side))
        self.preprocessor = Preprocessor.load(work)
        self.network = Instrumented.open(work / "batchnorm.onnx", self.preprocessor)
        order = np.random.default_rng(0).permutation(len(test[0]))
        self.pool, self.judged = (
            ([test[0][row] for row in rows], test[1][rows])
            for rows in (order[: len(order) // 2], order[len(order) // 2 :][:IMAGES])
        )
        rows = np.random.default_rng(1).permutation(len(learn[0]))[:LEARN]
        self.known = self.network.reference([learn[0][row] for row in rows], seed=0)
        self.reference = self.known.whole
        self.sound = self.preprocessor.prepare(self.judged[0])

    def accuracy(self, statistics: Statistics | None, items: Any = None) -> float:
        """Of the judged half, sound unless other items are given."""
        logits = self.network.run(self.sound if items is None else items, statistics).logits
        return float((logits.argmax(axis=1) == self.judged[1]).mean())

    def measure(self, fault: str, severity: int, *, count: int, tripled: bool) -> dict[str, Any]:
        """One fault at one severity."""
        generator = np.random.default_rng(severity)
        pool, labels = self.pool
        rows: Any = np.arange(len(pool))[:count]
        if tripled:
            rows = samples.one_class_tripled([str(label) for label in labels], count, generator)
        recent = self.preprocessor.prepare([FAULTS[fault](pool[row], severity, generator) for row in rows])
        damaged = self.preprocessor.prepare([FAULTS[fault](raw, severity, generator) for raw in self.judged[0]])
        shares = np.bincount(self.network.run(self.sound).logits.argmax(axis=1), minlength=self.judged[1].max() + 1)
        found = {
            "recalibrated": recalibration.reestimate(self.network, recent, self.reference),
            "adabn": recalibration.reestimate(self.network, recent, self.network.stored),
            "balanced": recalibration.reestimate(self.network, recent, self.reference, targets=shares / shares.sum()),
        }
        statistics = {name: each.statistics for name, each in found.items()}
        statistics["one pass"] = recalibration.aligned(
            self.network, summed(self.network.run(recent).moments), self.reference, share=1.0
        )
        row = {
            "fault": fault,
            "severity": severity,
            "clean": self.accuracy(None),
            "damaged": self.accuracy(None, damaged),
            "sound": self.accuracy(statistics["recalibrated"]),
            **{name: self.accuracy(each, damaged) for name, each in statistics.items()},
        }
        shown = " ".join(f"{name} {row[name]:.3f}" for name in ("damaged", *CURES, "sound"))
        print(f"{fault:11}{severity}  {shown}", flush=True)
        return row


def watched(case: Case, count: int) -> None:
    """Alarms of the monitor on windows of images that the reference has none of."""
    generator = np.random.default_rng(0)

    def p_values(moments: Moments, size: int, windows: int) -> NDArray[np.float64]:
        found = []
        for _ in range(windows):
            rows = generator.choice(len(moments.count), size, replace=False)
            totals, squares = moments.total[rows].sum(axis=0), moments.squares[rows].sum(axis=0)
            sums = LayerMoments(datetime.now(UTC), 1, "", size, totals, squares)
            found.append(layer_drift.detect(case.known, sums, LEVEL).statistic)
        return np.array(found, dtype=np.float64)

    sound = case.network.run(case.preprocessor.prepare(case.pool[0])).moments
    for size in (100, 200, 500):
        p = p_values(sound, size, count)
        print(f"sound, {size} images: {(p <= LEVEL).sum()} alarms of {count}; p <= 0.01 in {(p <= 0.01).mean():.3f}")
    for fault, inject in FAULTS.items():
        for severity in (3, 4, 5):
            raw = [inject(each, severity, generator) for each in case.pool[0][:700]]
            moments = case.network.run(case.preprocessor.prepare(raw)).moments
            rates = [f"{(p_values(moments, size, 20) <= LEVEL).mean():.0%} of {size}" for size in (100, 200, 500)]
            print(f"{fault} {severity}: alarms in {', '.join(rates)} images", flush=True)


def total(rows: list[dict[str, Any]]) -> None:
    """Over the cells in which 2 points or more were lost."""
    lost = [row for row in rows if row["clean"] - row["damaged"] >= 0.02]
    for name in CURES:
        shares = [(row[name] - row["damaged"]) / (row["clean"] - row["damaged"]) for row in lost]
        whole = sum(row[name] - row["damaged"] for row in lost) / max(
            1e-9, sum(row["clean"] - row["damaged"] for row in lost)
        )
        worse = sum(row[name] < row["damaged"] - 0.005 for row in rows)
        print(
            f"{name:13} regained {whole:.0%} of all that was lost; half or more in {sum(s >= 0.5 for s in shares)} of "
            f"{len(shares)} cells; worse by half a point or more in {worse} of {len(rows)}"
        )


def read(path: Path) -> tuple[Raw, Labels]:
    """Encoded images and their labels."""
    table = pq.read_table(path)
    labels = np.array(table["label"].to_pylist())
    return [each["bytes"] for each in table["image"].to_pylist()], np.unique(labels, return_inverse=True)[1]


def fit(folder: Path, work: Path, learn: tuple[Raw, Labels], classes: int, shape: tuple[int, int, int]) -> None:
    """A probe on the frozen backbone, exported."""
    import torch

    network = Network(checkpoint.pretrained(folder)[0], classes, dropout=0.0, shape=shape).eval()
    preprocessor = Preprocessor.load(work)
    rows = np.random.default_rng(1).permutation(len(learn[0]))[:LEARN]
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), 100):
            batch = preprocessor.collate(preprocessor.prepare([learn[0][row] for row in rows[start : start + 100]]))
            parts.append(network.features(pixel_values=torch.from_numpy(batch["pixel_values"])).numpy())
    features = np.concatenate(parts)
    middle, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    head = LogisticRegression(C=0.1, max_iter=500).fit((features - middle) / scale, learn[1][rows])
    weight = head.coef_ / scale
    network.set_head(weight, head.intercept_ - weight @ middle)
    instrumented.export(network, work / "batchnorm.onnx", 20)


if __name__ == "__main__":
    main()
