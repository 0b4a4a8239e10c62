"""Would channel statistics of a transformer's blocks show shifts of texts that the monitor's other tests do not?

    python benchmarks/layer_statistics.py --other SET/texts.jsonl WORKSPACE/apidocs

Means and variances of each channel of what enters the first and the last block, over all tokens, each text counting 1,
are compared as the monitor compares inputs of BatchNorms: divergence from the reference, null distribution from its
blocks, at the level of an alarm; so are the features, and tokens a word as the monitor compares properties. Half of the
validation and test rows, by chance, are the reference; windows are drawn from the other half, and faults are planted in
some of a window's texts, or texts of another set are mixed in.

Prints for each shift how many of the windows alarm now, and by each of the others alone.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import false_alarms
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from headstart.batchnorm.reference import Layers, Reference, Statistics, in_blocks, of_images, summed
from headstart.data import dataset
from headstart.faults.table import FAULTS
from headstart.journal.moments import LayerMoments
from headstart.monitoring import watch
from headstart.monitoring.detectors import batchnorm as drift
from headstart.monitoring.windows import Window
from headstart.params.loader import load
from headstart.predictor import Predictor
from headstart.profile import Profile, build
from headstart.statistics import two_sample

SEVERITY = 3
SHIFTS = (
    ("none", 0.0),
    ("mistyped", 0.3),
    ("other set", 0.1),
    ("other set", 0.3),
    ("punctuation_removed", 0.3),
    ("misread", 0.3),
)
SIZES = (100, 200)


class Seen:
    """What a version and its backbone make of texts."""

    def __init__(self, predictor: Predictor, network: Any, texts: Sequence[str]) -> None:
        logits, self.features = predictor.outputs(texts)
        self.predictions = predictor.predictions(logits)
        self.properties = predictor.preprocessor.properties(texts)
        parts = []
        for item in predictor.preprocessor.prepare(texts):
            ids = torch.tensor(np.asarray(item)[None])
            with torch.no_grad():
                hidden = network(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
            both = torch.cat([hidden.hidden_states[0][0], hidden.hidden_states[-2][0]], dim=1).double()
            parts.append(torch.stack([both.mean(dim=0), both.square().mean(dim=0)]).numpy())
        found = np.stack(parts)
        width = found.shape[2] // 2
        self.moments = {
            "first": (found[:, 0, :width], found[:, 1, :width]),
            "last": (found[:, 0, width:], found[:, 1, width:]),
            "features": (np.asarray(self.features, dtype=np.float64), np.square(self.features, dtype=np.float64)),
        }


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="WORKSPACE/NAME, of a finished workspace")
    parser.add_argument("--other", type=Path, required=True, help="JSON lines with a key `text`")
    parser.add_argument("--backbone", type=Path, required=True, help="the folder of the backbone")
    parser.add_argument("--windows", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    place = arguments.model
    params = load(place.parent / "params.yaml").models[place.name].monitor
    folder = place.parent / "artifacts/models" / place.name
    predictor, network = Predictor.load(folder / "bundle"), AutoModel.from_pretrained(arguments.backbone).eval()
    parts = [dataset.read(folder / f"data/{split}.parquet") for split in ("validation", "test")]
    texts, labels = ([value for part in parts for value in getattr(part, what)] for what in ("inputs", "labels"))
    random = np.random.default_rng(0)
    order = random.permutation(len(texts))[:1200]
    known, held = order[: len(order) // 2], order[len(order) // 2 :]
    before = Seen(predictor, network, [texts[row] for row in known])
    profile = build(
        before.predictions,
        [labels[row] for row in known],
        before.properties,
        predictor.labels,
        features=before.features,
        seed=0,
        rows=len(known),
    )
    references = {name: reference_of(*moments) for name, moments in before.moments.items()}
    with arguments.other.open(encoding="utf-8") as file:
        foreign = [json.loads(row)["text"] for row in file][: len(held)]
    print("| shift | share | inputs | now | first block | last block | features | tokens a word |", flush=True)
    print("| --- " * 8 + "|")
    sound = Seen(predictor, network, [texts[row] for row in held])
    for name, share in SHIFTS:
        if name == "none":
            damaged = sound
        elif name == "other set":
            damaged = Seen(predictor, network, foreign)
        else:
            damaged = Seen(predictor, network, [FAULTS[name].inject(texts[row], SEVERITY, random) for row in held])
        for size in SIZES:
            counts = np.zeros(5, dtype=int)
            for _ in range(arguments.windows):
                rows = random.permutation(len(sound.predictions))[:size]
                hit = random.random(size) < share
                window, measured = drawn(sound, damaged, rows, hit)
                counts += judged(profile, references, window, measured, params)
            print(f"| {name} | {share:.0%} | {size} | {' | '.join(map(str, counts))} |", flush=True)


def reference_of(means: NDArray[np.float64], squares: NDArray[np.float64]) -> Reference:
    """Moments of texts as those of a network's layer, in blocks."""
    moments = of_images(means, squares)
    whole = summed(moments)
    own = Statistics(whole.mean, whole.variance)
    return Reference(Layers(("layer",), (means.shape[1],), (1e-5,)), own, own, in_blocks(moments, seed=0))


def drawn(
    sound: Seen, damaged: Seen, rows: NDArray[np.int64], hit: NDArray[np.bool_]
) -> tuple[Window, dict[str, LayerMoments]]:
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
    measured = {}
    for name in sound.moments:
        totals, squares = (np.sum([side.moments[name][part][row] for side, row in sides], axis=0) for part in (0, 1))
        measured[name] = LayerMoments(false_alarms.START, 1, "", len(rows), totals, squares)
    return window, measured


def judged(
    profile: Profile,
    references: dict[str, Reference],
    window: Window,
    measured: dict[str, LayerMoments],
    params: Any,
) -> NDArray[np.int64]:
    """Whether the window alarms today, by each new test alone, and by that only."""
    with patch.object(two_sample, "ks", false_alarms.screened_ks):
        now = any(finding.verdict == "fail" for finding in watch.judge(profile, window, params))
    _, level = watch.levels(params, others=5 + len(profile.properties))
    new = [drift.detect(references[name], measured[name], level).verdict == "fail" for name in references]
    new.append(false_alarms.screened_ks(per_word(profile.properties), per_word(window.properties)).p_value <= level)
    return np.array([now, *new], dtype=int)


def per_word(properties: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Tokens a word, which misspelt and foreign words have more of."""
    return np.asarray(properties["tokens"] / np.maximum(properties["words"], 1), dtype=np.float64)


if __name__ == "__main__":
    main()
