"""What puts a row aside, and why: each check answers with reasons by row and one finding.

A test split that the source brings is the yardstick. A row of it is put aside only where it can't be used at all, or
has a label that nothing was left to learn from; a leak or a conflict is always mended on the other side.
"""

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.contract import image, text
from headstart.contract.spec import ImageSpec, TextSpec
from headstart.data.rows import Row
from headstart.errors import ContractError
from headstart.findings import Finding, Verdict
from headstart.params.section import Modality

NAMED = 10
SHOWN = 3
Reasons = dict[int, str]


@dataclass(frozen=True)
class Examples:
    """Rows with their final label and split, the key that equal payloads share, and which are still in."""

    rows: Sequence[Row]
    keys: Sequence[str]
    at: Sequence[int]

    def split(self, name: str) -> list[int]:
        """Where the rows of a split are, in order."""
        return [place for place in self.at if self.rows[place].split == name]

    def without(self, reasons: Reasons) -> "Examples":
        return Examples(self.rows, self.keys, [place for place in self.at if place not in reasons])

    def named(self, place: int) -> str:
        """`train row 412`, for messages."""
        row = self.rows[place]
        return f"{row.split} row {row.number}"

    def listed(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """The first rows as evidence."""
        rows = [self.rows[place] for place in places[:NAMED]]
        return [{"id": row.id, "split": row.split, "row": row.number, "label": row.label} for row in rows]


def by_contract(spec: TextSpec | ImageSpec) -> Callable[[Any], str | None]:
    """A function that says why the contract refuses a payload, or None where it takes it."""

    def reason(payload: Any) -> str | None:
        try:
            if isinstance(spec, TextSpec):
                text.check(payload, spec)
            else:
                image.decode(payload, spec)
        except ContractError as error:
            return error.message.removeprefix("input 0 ")
        return None

    return reason


def unusable(examples: Examples, modality: Modality, refusal: Callable[[Any], str | None]) -> tuple[Reasons, Finding]:
    """Rows of any split without text or image, or with one that `refusal` names; the finding `payloads`."""
    reasons: Reasons = {}
    for place in examples.at:
        payload = examples.rows[place].input
        empty = not (payload.strip() if isinstance(payload, str) else payload)
        if reason := f"the row has no {modality}" if empty else refusal(payload):
            reasons[place] = reason
    what = "; ".join(f"{examples.named(place)}: {reason}" for place, reason in list(reasons.items())[:SHOWN])
    what += f"; and {len(reasons) - SHOWN} more." if len(reasons) > SHOWN else ""
    return reasons, _finding(
        "payloads",
        "unsure" if reasons else "pass",
        examples,
        list(reasons),
        f"{len(reasons)} of {len(examples.at)} rows can't be used: {what}"
        if reasons
        else f"Every {modality} of {len(examples.at)} rows can be used.",
        "Look at quarantine.parquet and mend these rows at their source." if reasons else "",
    )


def leak(examples: Examples, share: float) -> tuple[Reasons, Finding]:
    """Rows of train and validation that equal a test row, and of train that equal a validation row.

    The finding `leak` counts the test rows that stand in other splits; above `share` of the test rows it fails.
    """
    held: dict[str, dict[str, int]] = {"test": {}, "validation": {}}
    for name, first in held.items():
        for place in examples.split(name):
            first.setdefault(examples.keys[place], place)
    reasons: Reasons = {}
    for name, holders in (("validation", ("test",)), ("train", ("test", "validation"))):
        for place in examples.split(name):
            twin = next(
                (held[holder][key] for holder in holders if (key := examples.keys[place]) in held[holder]), None
            )
            if twin is not None:
                reasons[place] = f"equal to {examples.named(twin)}"
    test = examples.split("test")
    elsewhere = {name: {examples.keys[place] for place in examples.split(name)} for name in ("train", "validation")}
    inside = {name: [place for place in test if examples.keys[place] in keys] for name, keys in elsewhere.items()}
    leaked = [place for place in test if any(examples.keys[place] in keys for keys in elsewhere.values())]
    bar = share * len(test)
    failed = len(leaked) > bar
    reason = f"{len(leaked)} of {len(test)} test rows stand in other splits too"
    reason += f", more than the share of {share:g} allowed." if failed else "."
    if reasons:
        reason += f" {len(reasons)} equal rows were put aside from train and validation, none from test."
    return reasons, Finding(
        check="leak",
        verdict="fail" if failed else "pass",
        statistic=float(len(leaked)),
        bar=bar,
        reason=reason,
        action="Split the source again, so that test rows are new, or let headstart split it: name no splits. "
        "checks.leaked_share in params.yaml is the share allowed."
        if failed
        else "",
        evidence={
            "test_rows": len(test),
            "in_train": len(inside["train"]),
            "in_validation": len(inside["validation"]),
            "put_aside": len(reasons),
            "rows": examples.listed(leaked),
        },
    )


def conflicts(examples: Examples) -> tuple[Reasons, Finding]:
    """Equal payloads with different labels within train or validation: which is right is unknown, so all go.

    In test they stay and count as mistakes; the finding `label_conflicts` names them too.
    """
    reasons: Reasons = {}
    found: list[int] = []
    for name in ("train", "validation", "test"):
        labels: dict[str, set[str]] = {}
        for place in examples.split(name):
            labels.setdefault(examples.keys[place], set()).add(str(examples.rows[place].label))
        for place in examples.split(name):
            if len(both := labels[examples.keys[place]]) > 1:
                found.append(place)
                if name != "test":
                    reasons[place] = f"equal rows of {name} have the labels {', '.join(sorted(both))}"
    kept = len(found) - len(reasons)
    return reasons, _finding(
        "label_conflicts",
        "unsure" if found else "pass",
        examples,
        found,
        f"{len(found)} rows equal another row of their split with a different label; {len(reasons)} were put aside"
        + (f", {kept} of test were kept." if kept else ".")
        if found
        else "Equal rows have equal labels.",
        "Decide which label is right and mend the source." if found else "",
    )


def duplicates(examples: Examples, *, whole: Container[str | None]) -> tuple[Reasons, Finding]:
    """Rows that repeat payload and label of an earlier row of their split; the first is kept.

    Args:
        examples: rows still in.
        whole: splits that are left as they are: repeats in a test split that the source brings are counted only,
            so that figures stay comparable with what others measured on it.
    """
    first: dict[tuple[str | None, str, str | None], int] = {}
    reasons: Reasons = {}
    found = []
    for place in examples.at:
        row = examples.rows[place]
        earlier = first.setdefault((row.split, examples.keys[place], row.label), place)
        if earlier != place:
            found.append(place)
            if row.split not in whole:
                reasons[place] = f"repeats {examples.named(earlier)}"
    kept = len(found) - len(reasons)
    return reasons, _finding(
        "duplicates",
        "pass",
        examples,
        found,
        f"{len(found)} rows repeat an earlier row of their split; {len(reasons)} were put aside"
        + (f", {kept} of the source's own test split were kept." if kept else ".")
        if found
        else "No row repeats another of its split.",
        "",
    )


def unlearnable(examples: Examples) -> tuple[Reasons, Finding]:
    """Rows of validation and test with a label that no row of train has; the finding `untrained_labels`."""
    known = {examples.rows[place].label for place in examples.split("train")}
    others = [*examples.split("validation"), *examples.split("test")]
    places = [place for place in others if examples.rows[place].label not in known]
    reasons = {place: f"no row of train has the label {examples.rows[place].label!r}" for place in places}
    names = sorted({str(examples.rows[place].label) for place in places})
    return reasons, _finding(
        "untrained_labels",
        "unsure" if places else "pass",
        examples,
        places,
        f"{len(places)} rows of validation and test have labels that train lacks: {', '.join(names[:NAMED])}."
        if places
        else "Every label of validation and test stands in train.",
        "Add training rows for these labels, or map them under prepare.labels in params.yaml." if places else "",
    )


def rare(examples: Examples, needed: int) -> Finding:
    """`rare_labels`: classes with fewer than `needed` training rows, or with no test row, can't be judged."""
    train = Counter(examples.rows[place].label for place in examples.split("train"))
    test = Counter(examples.rows[place].label for place in examples.split("test"))
    names = sorted(str(name) for name in train if train[name] < needed or not test[name])
    counts = {name: {"train": train[name], "test": test[name]} for name in names}
    what = ", ".join(
        f"{name} ({counts[name]['train']} in train, {counts[name]['test']} in test)" for name in names[:NAMED]
    )
    return Finding(
        check="rare_labels",
        verdict="unsure" if names else "pass",
        statistic=float(len(names)),
        bar=0.0,
        reason=f"{len(names)} of {len(train)} classes have fewer than {needed} training rows or no test row: {what}."
        if names
        else f"Each of {len(train)} classes has at least {needed} training rows, and a test row.",
        action="Label more rows of these classes, or map them to a wider one under prepare.labels." if names else "",
        evidence={"counts": {name: counts[name] for name in names[:NAMED]}},
    )


def groups(examples: Examples) -> Finding:
    """`groups`: those that the source's own splits tear apart. The splits are kept, and the finding says so."""
    splits: dict[str, set[str]] = {}
    for place in examples.at:
        if group := examples.rows[place].group:
            splits.setdefault(group, set()).add(str(examples.rows[place].split))
    torn = sorted(group for group, names in splits.items() if len(names) > 1)
    return Finding(
        check="groups",
        verdict="unsure" if torn else "pass",
        statistic=float(len(torn)),
        bar=0.0,
        reason=f"{len(torn)} of {len(splits)} groups stand in more than one split of the source: {', '.join(torn[:5])}."
        if torn
        else f"Each of {len(splits)} groups stands in one split."
        if splits
        else "The source names no groups.",
        action="Split the source by group: measured accuracy is too good where a group is on both sides."
        if torn
        else "",
        evidence={"groups": torn[:NAMED]},
    )


def _finding(
    check: str, verdict: Verdict, examples: Examples, places: Sequence[int], reason: str, action: str
) -> Finding:
    evidence = {"rows": examples.listed(places)}
    return Finding(check, verdict, float(len(places)), None, reason, action, evidence)
