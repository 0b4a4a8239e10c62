"""Gate `preprocessing`: hard inputs come out of the files that are served as they do by the contract's values alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.evaluation.gates import bars
from headstart.findings import Finding

CHECK = "preprocessing"
AGREEMENT = "contract_agreement"  # `contract.agreement.CHECK`; imported, its words would make training stale
NETWORK = "Export with another version of torch, and compare artifacts/models/<model>/export."
SERVER = "The bundle is sound and the server is not: report the input's name and this sentence as a fault of headstart."
INPUT = (
    "Build the contract again: headstart run. If that changes nothing, report the input's name and this sentence as a "
    "fault of headstart."
)


def judge(
    preprocessing: Mapping[str, Any] | None,
    logit_difference: float,
    served: Mapping[str, Any] | None,
    *,
    data_findings: Sequence[Mapping[str, Any]] = (),
) -> Finding:
    """Whether no label flips, no logit differs by more than `logit_difference`, and a server answers alike.

    Args:
        preprocessing: `cases` with `name`, `prepared_difference`, `logit_difference`, `flipped` and `mistakes`;
            `refused` with the names of inputs that the contract does not accept; `same_prepared`, the difference that
            rounding may make before the network.
        logit_difference: the largest difference of one logit.
        served: {`inputs`, `refused`, `max_difference` of one probability, `label_flips`, `wrong` [{`name`, `served`,
            `expected`}]}: answers over HTTP against the bundle's own, on hard inputs and on the test split.
        data_findings: of the stage `prepare`: whether the backbone's own processor makes the same of training inputs. A
            contract that it does not agree with is refused there; a few odd inputs are told here.
    """
    cases = preprocessing.get("cases") if preprocessing else None
    same = bars.count(preprocessing, "same_prepared")
    if not isinstance(cases, Sequence) or not cases or same is None:
        return bars.missing(CHECK, logit_difference, "Hard inputs were not compared")
    if not served or not served.get("inputs"):
        why = f": {served['error'].rstrip('.')}" if served and served.get("error") else ""
        return bars.missing(CHECK, logit_difference, f"No server of the bundle was asked{why}")
    refused = list((preprocessing or {}).get("refused", []))
    measured = [case["logit_difference"] for case in cases if case["logit_difference"] is not None]
    largest = max(measured, default=None)
    wrong = [case for case in cases if _differs_before(case, same) or _differs(case, logit_difference)]
    agreed = next((each for each in data_findings if each.get("check") == AGREEMENT), None)
    evidence = {
        "examples": len(cases),
        "refused": refused,
        "label_flips": sum(bool(case["flipped"]) for case in cases),
        "wrong": [case["name"] for case in wrong],
        "served": {key: served[key] for key in ("inputs", "refused", "max_difference", "label_flips")},
    }
    told = f"Of {len(cases)} inputs that are hard to read"
    if not wrong and served["wrong"]:
        evidence["wrong"] = [each["name"] for each in served["wrong"]]
        return Finding(CHECK, "fail", largest, logit_difference, _served_otherwise(served), SERVER, evidence)
    if not wrong:
        reason = (
            f"{told}, each becomes what the contract's values say, and no logit of the served file differs from the "
            f"trained network's by more than {largest or 0.0:.1e} ({logit_difference:.1e} allowed); {len(refused)} "
            f"others are refused, as the contract has it. A server answers {served['inputs']} inputs, the test split "
            f"among them, as the bundle does. {_backbones_own(agreed)}"
        ).strip()
        return Finding(CHECK, "pass", largest, logit_difference, reason, "", evidence)
    worst = max(wrong, key=lambda case: (case["logit_difference"] is None, case["logit_difference"] or 0.0))
    before = _differs_before(worst, same)
    reason = f"{told}, {len(wrong)} come out otherwise: {bars.listed(case['name'] for case in wrong)}. "
    reason = f"{reason}{_where(worst, before=before)} {_backbones_own(agreed)}".strip()
    evidence["mistakes"] = list(worst["mistakes"])
    return Finding(CHECK, "fail", largest, logit_difference, reason, INPUT if before else NETWORK, evidence)


def _served_otherwise(served: Mapping[str, Any]) -> str:
    """What the server answers and the bundle itself does not."""
    first = served["wrong"][0]
    names = bars.listed(each["name"] for each in served["wrong"])
    return (
        f"Of {served['inputs']} inputs asked over HTTP, {len(served['wrong'])} are answered otherwise than by the "
        f"bundle itself: {names}. {first['name']} is {first['served'] or 'refused'}, and should be "
        f"{first['expected'] or 'refused'}; the largest difference of a probability is {served['max_difference']:.1e}."
    )


def _backbones_own(agreed: Mapping[str, Any] | None) -> str:
    """What the backbone's own processor makes of training inputs, held against the contract's values."""
    if agreed is None:
        return ""
    if agreed["verdict"] == "pass":
        return (
            f"The backbone's own processor agrees with those values on {agreed['evidence']['inputs']} training inputs."
        )
    if agreed.get("reason"):  # of a document of before
        return f"Against the backbone's own processor, {agreed['reason']}"
    found = agreed["evidence"]
    return f"The backbone's own processor gives other values on {found['count']} of {found['inputs']} training inputs."


def _differs_before(case: Mapping[str, Any], same: float) -> bool:
    """Whether the network is given something else."""
    prepared = case["prepared_difference"]
    return case["logit_difference"] is not None and (prepared is None or prepared > same)


def _differs(case: Mapping[str, Any], allowed: float) -> bool:
    """Whether the answer is another one."""
    return case["flipped"] or case["logit_difference"] is None or case["logit_difference"] > allowed


def _where(case: Mapping[str, Any], *, before: bool) -> str:
    """Where the difference of the worst case starts."""
    if case["logit_difference"] is None:
        return f"For {case['name']} the served files give no answer at all."
    told = f"The worst is {case['name']}: its logits differ by {case['logit_difference']:.1e}"
    told += " and its label is another one" if case["flipped"] else ""
    if not before:
        return f"{told}; it is prepared alike, so the difference starts in model.onnx."
    if case["mistakes"]:
        return f"{told}; the difference starts before the network: {', and '.join(case['mistakes'])}."
    return f"{told}; the difference starts before the network, and no known mistake explains it."
