"""How far a model's data lie from what its backbone was pretrained on, three ways, before anything is trained.

In feature space: how well a weak probe tells the data from a sample of the backbone's own domain. Text: what the
tokenizer makes of it. Images: moments of features and of every BatchNorm's input. Where no sample of the own domain is
kept beside the backbone, what would need one is `unknown`, in words.

All of it describes; nothing here decides. Two sets of texts of different origin are told apart nearly always: a
saturated distance says that the data are different, not by how much, nor that transfer is harmed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import determinism
from headstart.backbones import processor
from headstart.backbones.network import Network
from headstart.backbones.reference import FILE
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.determinism import folder_digest
from headstart.errors import ContractError
from headstart.params.transfer import Probe
from headstart.predictor import Preprocessor
from headstart.statistics import bootstrap
from headstart.statistics.interval import Interval, wilson
from headstart.statistics.representation import a_distance
from headstart.transfer import features, moments, probe
from headstart.transfer.setting import Setting, Split

Tokens = Callable[[Sequence[str]], Sequence[int]]

STRENGTH = 0.001  # of the probe between domains: weak, so that it says how far before it says only that
ITERATIONS = 100
PROPERTIES = ("words", "tokens", "unknown_share")
SATURATED = 1.9  # fewer than 1 in 40 is mistaken
DRAWS = 20  # random halves behind the intervals of moments
RESAMPLES = 500
SEED = 23
NO_SAMPLE = (
    "no sample of the backbone's own domain is kept beside it; name a data source under backbones.<name>.reference "
    "in params.yaml"
)
NO_HEAD = "the backbone brought no masked-language head"
NO_NORM = "the backbone has no BatchNorm, so there are no stored moments to compare with"
FEW = "fewer than 4 examples on one side"
MEANING = "less is nearer to what the backbone was pretrained on"
SATURATION = "saturated: the data are different, by how much this number does not say"


@dataclass(frozen=True)
class Side:
    """Examples with what the frozen network makes of them.

    Attributes:
        examples: raw payloads; labels do not matter.
        features: `(examples, d)`.
    """

    examples: Dataset
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.examples)

    def drawn(self, most: int) -> "Side":
        """At most so many, those whose id's hash is least, in their order."""
        rows = np.flatnonzero(determinism.sample(self.examples.ids, most, seed=SEED))
        return Side(self.examples.select(rows.tolist()), self.features[rows])


def of_backbone(
    network: Network,
    setting: Setting,
    learn: Split,
    *,
    most: int,
    level: float,
    masked_language_loss: Interval | None = None,
) -> dict[str, Any]:
    """`measure`, against the sample beside the backbone of `setting`, where one is kept; its features are cached."""
    folder, preprocessor = setting.backbone, setting.preprocessor
    own = seen = tokens = None
    if (folder / FILE).is_file():
        own = acceptable(preprocessor, dataset.read(folder / FILE))
        key, saying = folder_digest(folder), "features of the backbone's own domain"
        seen = features.extract(network, preprocessor, own, cache=setting.cache, key=key, progress=saying)
    if setting.modality == "text":
        tokens = processor.counter((folder / processor.TOKENIZER_FILE).read_text(encoding="utf-8"))
    return measure(
        network,
        preprocessor,
        learn.examples,
        learn.features,
        reference=own,
        reference_features=seen,
        most=most,
        level=level,
        tokens=tokens,
        masked_language_loss=masked_language_loss,
    )


def measure(
    network: Network,
    preprocessor: Preprocessor,
    learn: Dataset,
    seen: NDArray[np.float32],
    *,
    reference: Dataset | None,
    reference_features: NDArray[np.float32] | None,
    most: int,
    level: float,
    tokens: Tokens | None = None,
    masked_language_loss: Interval | None = None,
) -> dict[str, Any]:
    """The gap as a document: every number with its unit, its interval and what it rests on.

    Args:
        network: the frozen backbone.
        preprocessor: the contract's.
        learn: the model's own examples, which the contract accepts; labels do not matter.
        seen: `(examples, d)`, what the network makes of them.
        reference: a sample of the backbone's own domain, likewise acceptable; None where none is known.
        reference_features: `(reference, d)`.
        most: examples of either side that are looked at.
        level: two-sided confidence.
        tokens: how many tokens each text has before it is cut, special ones included; needed for texts.
        masked_language_loss: held-out loss of the backbone's masked-language head on the model's texts, nats a token.

    Returns:
        `examples`, `reference` (how many are looked at), `domain`, and `text` or `image`. What needs a reference, a
        head or a BatchNorm that is not there is {`unknown`: why}.
    """
    target, own = Side(learn, seen).drawn(most), None
    if reference is not None and reference_features is not None and len(reference) > 0:
        own = Side(reference, reference_features).drawn(most)
    document: dict[str, Any] = {
        "examples": len(target),
        "reference": len(own) if own else {"unknown": NO_SAMPLE},
        "level": level,
        "domain": _domain(target, own, level),
    }
    if learn.modality == "image":
        document["image"] = {
            "frechet": _frechet(target, own, level),
            "batch_norm": _batch_norm(network, preprocessor, target, own, level),
        }
        return document
    if tokens is None:
        raise ValueError("the gap of texts needs a function that counts tokens")
    loss = masked_language_loss
    document["text"] = {
        "target": _texts(preprocessor, target, tokens, level),
        "reference": _texts(preprocessor, own, tokens, level) if own else {"unknown": NO_SAMPLE},
        "masked_language_loss": {"unit": "nats a masked token", **loss.document()} if loss else {"unknown": NO_HEAD},
    }
    return document


def acceptable(preprocessor: Preprocessor, examples: Dataset) -> Dataset:
    """The examples that the contract accepts: a reference was not drawn with this model's limits in mind."""
    rows = []
    for row, payload in enumerate(examples.inputs):
        try:
            preprocessor.check([payload])
        except ContractError:
            continue
        rows.append(row)
    return examples.select(rows)


def _domain(target: Side, own: Side | None, level: float) -> dict[str, Any]:
    """Proxy A-distance from the held-out error of a weak probe between equally many of both sides.

    Either half is judged by the probe that learned from the other; a group is never in both. The interval is Wilson's
    of the error, carried over, and as sure as one half is: the halves' errors rise and fall together. Between draws of
    one distribution (2 x 200 examples, 64 features, 200 times) it missed the truth in 5% at level 0.9, and in 18% had
    all answers counted as independent. Source: Ben-David et al. 2007, "Analysis of representations for domain
    adaptation".
    """
    if own is None:
        return {"unknown": NO_SAMPLE}
    count = min(len(target), len(own))
    if count < 4:
        return {"unknown": FEW}
    sides = {"target": target.drawn(count), "reference": own.drawn(count)}
    values = np.concatenate([side.features for side in sides.values()])
    domain = np.repeat(np.array([0, 1]), count)
    groups = [
        None if group is None else f"{name} {group}" for name, side in sides.items() for group in side.examples.groups
    ]
    weak = Probe(strengths=[STRENGTH], folds=2, iterations=ITERATIONS, class_weights="none", seed=SEED)
    wrong = probe.choose(values, domain, 2, weak, groups=groups)[1].argmax(axis=1) != domain
    share = float(wrong.mean())
    half = wilson(round(share * count), count, level)
    error = Interval(share, min(share, half.low), max(share, half.high), count)
    distance = Interval(a_distance(error.value), a_distance(error.high), a_distance(error.low), error.n)
    return {
        "unit": "proxy A-distance, 0 (alike) to 2 (always told apart)",
        **distance.document(),
        "error": error.document(),
        "saturated": distance.value >= SATURATED,
        "meaning": SATURATION if distance.value >= SATURATED else MEANING,
    }


def _texts(preprocessor: Preprocessor, side: Side, tokens: Tokens, level: float) -> dict[str, Any]:
    """What the tokenizer makes of texts: the stranger the words, the more pieces a word, and the more unknown ones.

    A word is what white space parts. Special tokens are left out; unknown pieces are counted after the cut.
    """
    texts = list(side.examples.inputs)
    properties = preprocessor.properties(texts)
    words, kept, unknown = (np.array([each[name] for each in properties]) for name in PROPERTIES)
    whole, special = np.array(tokens(texts)), tokens([""])[0]
    limit = vars(preprocessor.contract.input)["max_tokens"]
    cut = wilson(int((whole > limit).sum()), len(texts), level)

    def share(unit: str, above: NDArray[Any], below: NDArray[Any]) -> dict[str, Any]:
        found = bootstrap.interval(_ratio, above, below, resamples=RESAMPLES, level=level, seed=SEED)
        return {"unit": unit, **found.document()}

    return {
        "tokens_per_word": share("tokens a word", np.maximum(0, whole - special), words),
        "unknown_pieces": share("share of tokens", unknown * kept, np.maximum(0, kept - special)),
        "cut": {"unit": f"share of texts of more than {limit} tokens", **cut.document()},
    }


def _frechet(target: Side, own: Side | None, level: float) -> dict[str, Any]:
    """Distance of feature moments, beside that between two halves of the reference."""
    if own is None:
        return {"unknown": NO_SAMPLE}
    if min(len(target), len(own)) < 4:
        return {"unknown": FEW}
    distance, yardstick = moments.feature_distance(target.features, own.features, draws=DRAWS, level=level, seed=SEED)
    return {
        "unit": "squared Fréchet distance of features",
        **distance.document(),
        "yardstick": {"between": "two halves of the reference", **yardstick.document()},
        "times_yardstick": distance.value / yardstick.value if yardstick.value > 0 else None,
        "meaning": MEANING,
    }


def _batch_norm(
    network: Network, preprocessor: Preprocessor, target: Side, own: Side | None, level: float
) -> dict[str, Any]:
    """Divergence of each BatchNorm's input from its stored statistics, beside what the reference shows."""

    def at(side: Side) -> moments.Divergence | None:
        return moments.batch_norm_divergence(
            network, preprocessor, side.examples.inputs, draws=DRAWS, level=level, seed=SEED
        )

    if len(target) < 4:
        return {"unknown": FEW}
    found = at(target)
    if found is None:
        return {"unknown": NO_NORM}
    worst, most = max(found.layers, key=lambda layer: layer[1].value)
    document = {
        "unit": "symmetric divergence in nats, mean over channels",
        **found.mean.document(),
        "worst": {"layer": worst, **most.document()},
        "layers": [{"layer": name, **value.document()} for name, value in found.layers],
        "meaning": MEANING,
    }
    yardstick = at(own) if own and len(own) >= 4 else None
    return {**document, "reference": yardstick.mean.document() if yardstick else {"unknown": NO_SAMPLE}}


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    """Sums over sums, `(resamples, n)` each to `(resamples,)`."""
    return np.asarray(above.sum(axis=1) / np.maximum(1, below.sum(axis=1)), dtype=np.float64)
