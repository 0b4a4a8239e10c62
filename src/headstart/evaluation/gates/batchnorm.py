"""Gate `batchnorm`: the network answers by statistics that it should have, and by no batch's own."""

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding
from headstart.statistics import paired

CHECK = "batchnorm"
LEVEL = 0.01  # of the paired test on validation: one sound candidate of a hundred
MARGIN = 0.01  # of accuracy: less is not worth training again
EXPORT = "Export in evaluation mode (network.eval()), with track_running_stats=True."
TRAIN = (
    "Train again, and keep BatchNorms in evaluation mode: requires_grad = False does not stop their statistics. After "
    "a resume, load the buffers with the weights."
)
AVERAGE = (
    "Train again: with larger batches, without a last batch of one (drop_last), and with PyTorch's momentum, which is "
    "the share of the new batch (0.1), not of the old statistics (TensorFlow's 0.99)."
)


def judge(batchnorm: Mapping[str, Any] | None, parity: Mapping[str, Any] | None, logit_difference: float) -> Finding:
    """Whether statistics that had to stay are the backbone's, others those of training data, and none the batch's.

    Args:
        batchnorm: `layers` [{`name`, `kept`, `moved`, `divergence`, `bar`}], empty without BatchNorm; `images`;
            `validation` {`n`, `stored`, `reestimated`, `gained`, `lost`}; `cure`.
        parity: `batch_difference`, the largest of one logit between batches of 1 and of 32, and what `graph` holds of
            training.
        logit_difference: that may be.
    """
    layers = batchnorm.get("layers") if batchnorm else None
    difference = bars.count(parity, "batch_difference")
    nodes = bars.count(parity.get("graph") if parity else None, "batchnorm_training")
    if not isinstance(layers, Sequence) or difference is None or nodes is None:
        return bars.missing(CHECK, logit_difference, "The statistics of BatchNorm layers were not looked at")
    evidence: dict[str, Any] = {
        "layers": len(layers),
        "kept": sum(bool(layer["kept"]) for layer in layers),
        "moved": [layer["name"] for layer in layers if layer["moved"]],
        "batch_difference": difference,
        "training_nodes": int(nodes),
    }
    if nodes:
        reason = f"model.onnx holds {int(nodes)} BatchNorms that normalise by the batch they are in."
        return Finding(CHECK, "fail", nodes, 0.0, f"{reason}{_neighbours(difference)}", EXPORT, evidence)
    if difference > logit_difference:
        reason = f"An answer depends on what else is in its batch.{_neighbours(difference)}"
        return Finding(CHECK, "fail", difference, logit_difference, reason, EXPORT, evidence)
    if not layers:
        reason = f"The network has no BatchNorm; answers in batches of 1 and of 32 differ by {difference:.1e} at most."
        return Finding(CHECK, "pass", difference, logit_difference, reason, "", evidence)
    if evidence["moved"]:
        count = len(evidence["moved"])
        reason = (
            f"The statistics of {count} of {evidence['kept']} BatchNorms that training had to leave alone are not the "
            f"backbone's: {bars.listed(evidence['moved'])}."
        )
        return Finding(CHECK, "fail", float(count), 0.0, reason, TRAIN, evidence)
    return _learned(batchnorm or {}, layers, evidence)


def _learned(batchnorm: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], evidence: dict[str, Any]) -> Finding:
    """Statistics that training made; those of a backbone are as they should be."""
    learned = [layer for layer in layers if not layer["kept"]]
    images, validation = bars.count(batchnorm, "images"), batchnorm.get("validation")
    counts = [bars.count(validation, key) for key in ("n", "gained", "lost")]
    if not images or None in counts or not counts[0]:
        return bars.missing(CHECK, 0.0, "The statistics of BatchNorm layers were not held against training data")
    n, gained, lost = (int(count or 0) for count in counts)
    evidence |= {"gained": gained, "lost": lost, "n": n}
    cured = _cure(batchnorm.get("cure"))
    if not learned:
        reason = (
            f"The statistics of all {len(layers)} BatchNorms are the backbone's, and answers do not depend on the "
            f"batch.{cured}"
        )
        return Finding(CHECK, "pass", 0.0, 0.0, reason, "", evidence)
    worst = max(learned, key=lambda layer: layer["divergence"] / layer["bar"])
    ratio = worst["divergence"] / worst["bar"]
    evidence["worst"] = {key: worst[key] for key in ("name", "divergence", "bar")}
    told = (
        f"Statistics of {len(learned)} BatchNorms were learned; the furthest from {int(images)} training images is "
        f"{worst['name']}, by {worst['divergence']:.2g} nats (one batch of 32 differs by {worst['bar']:.2g} at most)."
    )
    better = paired.from_counts(gained, lost, n, 1 - 2 * LEVEL)
    told += f" With those of training images {gained} of {n} answers on validation turn right and {lost} wrong.{cured}"
    wrong = better.interval.low > MARGIN or (ratio > 1 and gained > lost)
    if wrong:
        return Finding(CHECK, "fail", ratio, 1.0, told, AVERAGE, evidence)
    return Finding(CHECK, "pass", ratio, 1.0, told, "", evidence)


def _neighbours(difference: float) -> str:
    return f" Batches of 1 and of 32 give logits that differ by {difference:.1e}."


def _cure(cure: Mapping[str, Any] | None) -> str:
    if cure is None:
        return ""
    if not cure["applied"]:
        return (
            " The statistics in data/cures were re-estimated for another network, before it was trained again, and are "
            "left out."
        )
    return " That is as trained: re-estimated statistics from data/cures are exported in their place."
