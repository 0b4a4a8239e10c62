"""Gate `parity`: the exported file answers as the trained network does, and nothing of training is left in it."""

from collections.abc import Mapping
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "parity"
GRAPH = ("dropout", "batchnorm_training", "random_ops")
LOGIT_DIFFERENCE = 1e-3  # of one logit, at most
LABEL_FLIPS = 0
ACTION = "Export in evaluation mode, with another version of torch, and compare artifacts/models/<model>/export."


def judge(
    parity: Mapping[str, Any] | None, logit_difference: float = LOGIT_DIFFERENCE, label_flips: int = LABEL_FLIPS
) -> Finding:
    """Whether logits differ by `logit_difference` at most and labels on `label_flips` examples at most.

    Args:
        parity: `examples`, `max_difference`, `label_flips`, and in `graph` how many nodes of dropout, of training
            BatchNorm and of random numbers the file holds; any node fails.
        logit_difference: the largest difference of one logit.
        label_flips: examples whose label changes.
    """
    examples, difference, flips = (bars.count(parity, key) for key in ("examples", "max_difference", "label_flips"))
    graph = parity.get("graph") if parity else None
    nodes = {key: bars.count(graph, key) for key in GRAPH}
    if not examples or difference is None or flips is None or None in nodes.values():
        return bars.missing(CHECK, logit_difference, "Network and exported file were not compared in full")
    told = (
        f"On {int(examples)} examples the exported file's logits differ from the network's by {difference:.1e} at most "
        f"({logit_difference:.1e} allowed) and {int(flips)} labels change ({label_flips} allowed)"
    )
    left = [f"{int(number or 0)} {key}" for key, number in nodes.items() if number]
    evidence = {"examples": int(examples), "label_flips": int(flips), "left_in_graph": left}
    if left:
        reason = f"{told}, and the file holds nodes that belong to training: {', '.join(left)}."
        return Finding(CHECK, "fail", difference, logit_difference, reason, ACTION, evidence)
    if difference > logit_difference or flips > label_flips:
        return Finding(CHECK, "fail", difference, logit_difference, f"{told}.", ACTION, evidence)
    return Finding(CHECK, "pass", difference, logit_difference, f"{told}.", "", evidence)
