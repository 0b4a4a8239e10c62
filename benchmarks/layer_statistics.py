"""Do the statistics of what enters a transformer's first and last block show what the monitor's other tests do not?

    python benchmarks/layer_statistics.py --other SET/texts.jsonl WORKSPACE/apidocs

Half of the validation and test rows, by chance, are the reference; windows are drawn from the other half. Faults are
planted in some of a window's texts, texts of another set are mixed in, or tokens are given the ids of another
vocabulary, as by a wrong tokenizer. Prints for each shift how many of the windows alarm by all other tests, with that
of layers, by it alone, and by what enters either block alone.

With `--clean` instead: how often sound windows, of the model's rows and of the other set's by themselves, have p-values
of layers below 0.01, 0.001 and the level of an alarm, and the smallest. Halves are drawn anew 20 times.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import false_alarms
import numpy as np
from numpy.typing import NDArray

from headstart.data import dataset
from headstart.faults.table import FAULTS
from headstart.journal.moments import LayerMoments
from headstart.layer_statistics import Layers, Reference, Statistics, divergences, of_inputs, summed
from headstart.monitoring import watch
from headstart.monitoring.detectors import layers as drift
from headstart.monitoring.windows import Window
from headstart.params.loader import load
from headstart.predictor import Outputs, Predictor
from headstart.profile import Profile, build
from headstart.statistics import two_sample
from headstart.statistics.gaussian import Moments

SEVERITY = 3
SHIFTS = (
    ("none", 0.0),
    ("mistyped", 0.3),
    ("other set", 0.1),
    ("other set", 0.3),
    ("other vocabulary", 0.1),
    ("other vocabulary", 1.0),
    ("punctuation_removed", 0.3),
    ("misread", 0.3),
)
SIZES = (100, 200)
CLEAN_ROWS, CLEAN_SIZES, CLEAN_WINDOWS, SPLITS = 2400, (100, 200, 400, 900), 100, 20
SPECIAL = 1000  # ids below stand for no word in BERT's vocabulary


class Seen:
    """What a version makes of texts."""

    def __init__(self, predictor: Predictor, texts: Sequence[str], *, vocabulary: NDArray[np.int64] | None = None):
        if vocabulary is None:
            outputs = predictor.outputs(texts)
        else:
            items = [vocabulary[item] for item in predictor.preprocessor.prepare(texts)]
            parts = [predictor.run(items[at : at + 32]) for at in range(0, len(items), 32)]
            outputs = Outputs(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        assert outputs.moments is not None
        self.features, self.moments = outputs.features, outputs.moments
        self.predictions = predictor.predictions(outputs.logits)
        self.properties = predictor.preprocessor.properties(texts)


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="WORKSPACE/NAME, of a finished workspace")
    parser.add_argument("--other", type=Path, required=True, help="JSON lines with a key `text`")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--clean", action="store_true", help="sound windows alone")
    arguments = parser.parse_args()
    place = arguments.model
    params = load(place.parent / "params.yaml").models[place.name].monitor
    folder = place.parent / "artifacts/models" / place.name
    predictor = Predictor.load(folder / "bundle")
    assert predictor.layers is not None
    parts = [dataset.read(folder / f"data/{split}.parquet") for split in ("validation", "test")]
    texts, labels = ([value for part in parts for value in getattr(part, what)] for what in ("inputs", "labels"))
    with arguments.other.open(encoding="utf-8") as file:
        others = [json.loads(row)["text"] for row in file]
    if arguments.clean:
        clean({place.name: texts, arguments.other.parent.name: others}, predictor, params)
        return
    random = np.random.default_rng(0)
    order = random.permutation(len(texts))[:1200]
    known, held = order[: len(order) // 2], order[len(order) // 2 :]
    before = Seen(predictor, [texts[row] for row in known])
    profile = build(
        before.predictions,
        [labels[row] for row in known],
        before.properties,
        predictor.labels,
        features=before.features,
        seed=0,
        rows=len(known),
    )
    reference = Reference.of(predictor.layers, of_inputs(before.moments[:, 0], before.moments[:, 1]), seed=0)
    foreign = others[: len(held)]
    print("| shift | share | inputs | other tests | with layers | layers | first block | last block |", flush=True)
    print("| --- " * 8 + "|")
    chosen = [texts[row] for row in held]
    sound = Seen(predictor, chosen)
    for name, share in SHIFTS:
        if name == "none":
            damaged = sound
        elif name == "other set":
            damaged = Seen(predictor, foreign)
        elif name == "other vocabulary":
            most = 1 + max(int(item.max()) for item in predictor.preprocessor.prepare(chosen))
            ids = np.concatenate([np.arange(SPECIAL), SPECIAL + random.permutation(most - SPECIAL)])
            damaged = Seen(predictor, chosen, vocabulary=ids)
        else:
            damaged = Seen(predictor, [FAULTS[name].inject(text, SEVERITY, random) for text in chosen])
        for size in SIZES:
            counts = np.zeros(5, dtype=int)
            for _ in range(arguments.windows):
                rows = random.permutation(len(sound.predictions))[:size]
                window, moments = drawn(sound, damaged, rows, random.random(size) < share)
                counts += judged(profile, reference, window, moments, params)
            print(f"| {name} | {share:.0%} | {size} | {' | '.join(map(str, counts))} |", flush=True)


def clean(sets: dict[str, list[str]], predictor: Predictor, params: Any) -> None:
    """Print the table of sound windows."""
    _, level = watch.levels(params, others=5 + len(predictor.preprocessor.properties(["a text"])[0]))
    print("| rows of | rows | inputs | windows | p <= 0.01 | p <= 0.001 | alarms | smallest p |")
    print("| --- " * 8 + "|")
    for name, texts in sets.items():
        moments = predictor.outputs(texts[:CLEAN_ROWS]).moments
        assert moments is not None and predictor.layers is not None
        for size in CLEAN_SIZES:
            p_values = []
            for split in range(SPLITS):
                random = np.random.default_rng(split)
                known, others = np.array_split(random.permutation(len(moments)), 2)
                if size > 0.75 * len(others):
                    continue
                reference = Reference.of(predictor.layers, of_inputs(*np.moveaxis(moments[known], 1, 0)), seed=0)
                parts = [
                    summed(of_inputs(*np.moveaxis(moments[random.permutation(others)[:size]], 1, 0)))
                    for _ in range(CLEAN_WINDOWS)
                ]
                apart = np.stack([divergences(reference.layers, part, reference.whole) for part in parts])
                found = drift.tail(reference, size, apart)
                p_values.append(np.minimum(1.0, found.shape[1] * found.min(axis=1)))
            if p_values:
                every = np.concatenate(p_values)
                counts = " | ".join(str(int((every <= bar).sum())) for bar in (0.01, 0.001, level))
                print(f"| {name} | {len(moments)} | {size} | {len(every)} | {counts} | {every.min():.1e} |", flush=True)


def drawn(sound: Seen, damaged: Seen, rows: NDArray[np.int64], hit: NDArray[np.bool_]) -> tuple[Window, LayerMoments]:
    """A window whose rows are damaged where `hit`, and what enters the blocks."""
    places = np.minimum(rows, len(damaged.predictions) - 1)
    sides = [(damaged, at) if bad else (sound, row) for row, at, bad in zip(rows, places, hit, strict=True)]
    answers = [side.predictions[row] for side, row in sides]
    names = sound.properties[0]
    window = Window(
        start=false_alarms.START,
        end=false_alarms.START,
        version=1,
        predicted=[each.label for each in answers],
        confidence=np.array([each.probability for each in answers]),
        properties={name: np.array([side.properties[row][name] for side, row in sides]) for name in names},
        truth=[None] * len(rows),
        probabilities=None,
        answers=len(rows),
        most_repeated=1,
        bundles={},
    )
    totals, squares = np.sum([side.moments[row] for side, row in sides], axis=0, dtype=np.float64)
    return window, LayerMoments(false_alarms.START, 1, "", len(rows), totals, squares)


def judged(
    profile: Profile, reference: Reference, window: Window, measured: LayerMoments, params: Any
) -> NDArray[np.int64]:
    """Whether the window alarms by all tests but that of layers, by all, by that alone, and by either block."""
    with patch.object(two_sample, "ks", false_alarms.screened_ks):
        before = watch.judge(profile, window, params)
        now = watch.judge(profile, window, params, layers=reference, measured=measured)
    _, level = watch.levels(params, others=5 + len(profile.properties))
    moved = [each for each in now if each.check == drift.CHECKS["blocks"] and each.verdict == "fail"]
    blocks = [drift.detect(*block(reference, measured, place), level).verdict == "fail" for place in (0, 1)]
    return np.array([*(any(each.verdict == "fail" for each in found) for found in (before, now, moved)), *blocks])


def block(reference: Reference, measured: LayerMoments, place: int) -> tuple[Reference, LayerMoments]:
    """Those of one block."""
    layers, blocks = reference.layers, reference.blocks
    alone = Layers((layers.names[place],), (layers.widths[place],), (layers.epsilons[place],), kind=layers.kind)
    count, total, squares = (
        layers.split(values)[alone.names[0]] for values in (blocks.count, blocks.total, blocks.squares)
    )
    mean, variance = (layers.split(each)[alone.names[0]] for each in (reference.whole.mean, reference.whole.variance))
    own = Statistics(mean, variance)
    totals, live = (layers.split(values)[alone.names[0]] for values in (measured.totals, measured.squares))
    return Reference(alone, own, own, Moments(count, total, squares)), replace(measured, totals=totals, squares=live)


if __name__ == "__main__":
    main()
