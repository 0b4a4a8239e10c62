"""What puts a row aside, and why: each check answers with reasons by row and one finding.

A test split that the source brings is the yardstick. A row of it is put aside only where it can't be used at all, or
has a label that nothing was left to learn from; a leak or a conflict is always mended on the other side.
"""

from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.contract import image, text
from headstart.contract.labels import is_blank
from headstart.contract.spec import ImageSpec, TextSpec
from headstart.data.dataset import SPLITS
from headstart.data.examples import NAMED, Examples, Places, Reasons
from headstart.errors import ContractError
from headstart.findings import Finding, Verdict

FEWEST_TO_JUDGE = 5  # test rows: where half of a class is found, all of 4 are right by chance in 1 of 16 cases


def by_contract(spec: TextSpec | ImageSpec) -> Callable[[Any], str | None]:
    """A function that says why the contract refuses a payload: empty where there is none, None where it takes it."""

    def reason(payload: Any) -> str | None:
        if is_blank(payload) if isinstance(payload, str) else not payload:
            return ""
        try:
            if isinstance(spec, TextSpec):
                text.check(payload, spec)
            else:
                image.decode(payload, spec)
        except ContractError as error:
            return error.message.removeprefix("input 0 ")
        return None

    return reason


def unusable(examples: Examples, noun: str, refused: Mapping[int, str]) -> tuple[Reasons, Finding]:
    """Rows of any split that have no payload, or one that the contract refuses; the finding `payloads`.

    Args:
        examples: all rows.
        noun: `text` or `image`.
        refused: why the contract refuses a row, by its place.
    """
    reasons = {place: {"noun": noun, "refused": why} for place, why in refused.items()}
    evidence = {"noun": noun, "looked_at": len(examples.at)}
    return reasons, examples.finding("payloads", "unsure" if refused else "pass", list(refused), refused, **evidence)


def leak(examples: Examples, share: float) -> tuple[Reasons, Finding]:
    """Rows of train and validation that equal a test row, and of train that equal a validation row.

    The finding `leak` counts the test rows that stand in other splits; above `share` of the test rows it fails, and
    it passes only where no row had to go.
    """
    places = {name: examples.split(name) for name in SPLITS}
    contents = {name: examples.contents[places[name]] for name in SPLITS}
    reasons: Reasons = {}
    for name, holders in (("validation", ["test"]), ("train", ["test", "validation"])):
        for holder in reversed(holders):  # a test row is named rather than a validation row
            reasons |= _twins(examples, places[name], places[holder], contents[name], contents[holder])
    reasons = dict(sorted(reasons.items()))
    inside = {name: np.isin(contents["test"], contents[name]) for name in ("train", "validation")}
    leaked = places["test"][inside["train"] | inside["validation"]]
    bar = share * len(places["test"])
    failed = len(leaked) > bar
    return reasons, Finding(
        check="leak",
        verdict="fail" if failed else "unsure" if reasons else "pass",
        statistic=float(len(leaked)),
        bar=bar,
        evidence={
            "test_rows": len(places["test"]),
            "in_train": int(inside["train"].sum()),
            "in_validation": int(inside["validation"].sum()),
            "put_aside": len(reasons),
            "share": share,
            "rows": examples.listed(leaked),
        },
    )


def conflicts(examples: Examples) -> tuple[Reasons, Finding]:
    """Equal payloads with different labels within train or validation: which is right is unknown, so all go.

    In test they stay and count as mistakes; the finding `label_conflicts` names them too.
    """
    reasons: Reasons = {}
    found: list[int] = []
    for name in SPLITS:
        places = examples.split(name)
        _, member = np.unique(examples.contents[places], return_inverse=True)
        pairs = np.unique(np.stack([member, examples.labels[places]], axis=1), axis=0)
        torn = np.flatnonzero(np.bincount(pairs[:, 0], minlength=1) > 1)
        for place, content in zip(places[mask := np.isin(member, torn)], member[mask], strict=True):
            found.append(int(place))
            if name != "test":
                both = sorted(examples.classes[label] for label in pairs[pairs[:, 0] == content, 1])
                reasons[int(place)] = {"split": name, "labels": both}
    verdict: Verdict = "unsure" if found else "pass"
    return reasons, examples.finding("label_conflicts", verdict, found, put_aside=len(reasons))


def duplicates(examples: Examples, *, whole: Container[str]) -> tuple[Reasons, Finding]:
    """Rows that repeat payload and label of an earlier row of their split; the first is kept.

    Args:
        examples: rows still in.
        whole: splits that are left as they are: repeats in a test split that the source brings are counted only,
            so that figures stay comparable with what others measured on it.
    """
    at = examples.at
    same = np.stack([examples.splits[at], examples.contents[at], examples.labels[at]], axis=1)
    _, first, member = np.unique(same, axis=0, return_index=True, return_inverse=True)
    earlier = at[first[member.ravel()]]
    found = at[earlier != at]
    reasons = {
        int(place): {"twin": examples.named(twin)}
        for place, twin in zip(found, earlier[earlier != at], strict=True)
        if SPLITS[examples.splits[place]] not in whole
    }
    return reasons, examples.finding("duplicates", "pass", found, put_aside=len(reasons))


def unlearnable(examples: Examples) -> tuple[Reasons, Finding]:
    """Rows of validation and test with a label that no row of train has; the finding `untrained_labels`."""
    known = np.unique(examples.labels[examples.split("train")])
    others = np.concatenate([examples.split("validation"), examples.split("test")])
    places = others[~np.isin(examples.labels[others], known)]
    reasons: Reasons = {int(place): {"label": examples.label(place)} for place in places}
    names = sorted({examples.label(place) for place in places})
    verdict: Verdict = "unsure" if reasons else "pass"
    return reasons, examples.finding("untrained_labels", verdict, places, labels=names[:NAMED])


def rare(examples: Examples, needed: int) -> Finding:
    """`rare_labels`: classes with fewer than `needed` training rows can't be learned well."""
    train, test = (counts(examples, name) for name in ("train", "test"))
    present = np.flatnonzero(train)
    places = [label for label in present if train[label] < needed]
    shown = {examples.classes[int(label)]: {"train": int(train[label]), "test": int(test[label])} for label in places}
    return Finding(
        check="rare_labels",
        verdict="unsure" if shown else "pass",
        statistic=float(len(shown)),
        bar=0.0,
        evidence={"counts": dict(list(shown.items())[:NAMED]), "classes": len(present), "needed": needed},
    )


def unjudged(examples: Examples) -> Finding:
    """`unjudged_classes`: classes without a validation row, or with too few test rows for anything to be said of them.

    Those with fewest test rows come first.
    """
    train, validation, test = (counts(examples, name) for name in SPLITS)
    present = np.flatnonzero(train)
    places = [label for label in present if test[label] < FEWEST_TO_JUDGE or not validation[label]]
    places.sort(key=lambda label: (test[label], validation[label]))
    shown = {
        examples.classes[int(label)]: {
            name: int(count[label]) for name, count in zip(SPLITS, (train, validation, test), strict=True)
        }
        for label in places[:NAMED]
    }
    return Finding(
        check="unjudged_classes",
        verdict="unsure" if places else "pass",
        statistic=float(len(places)),
        bar=0.0,
        evidence={"counts": shown, "classes": len(present), "needed": FEWEST_TO_JUDGE},
    )


def imbalance(examples: Examples, most: float) -> Finding:
    """`imbalance`: how many training rows the largest class has for each of the smallest."""
    train = counts(examples, "train")
    present = np.flatnonzero(train)
    large, small = (int(present[at]) for at in (train[present].argmax(), train[present].argmin()))
    ratio = float(train[large] / train[small])
    return Finding(
        check="imbalance",
        verdict="unsure" if ratio > most else "pass",
        statistic=ratio,
        bar=most,
        evidence={
            "largest": {"label": examples.classes[large], "rows": int(train[large])},
            "smallest": {"label": examples.classes[small], "rows": int(train[small])},
        },
    )


def groups(examples: Examples) -> Finding:
    """`groups`: those that the source's own splits tear apart. The splits are kept, and the finding says so."""
    at = examples.at[examples.groups[examples.at] >= 0]
    homes = np.unique(np.stack([examples.groups[at], examples.splits[at].astype(np.int64)], axis=1), axis=0)
    known, splits = np.unique(homes[:, 0], return_counts=True)
    torn = sorted(examples.group_names[group] for group in known[splits > 1])
    return Finding(
        check="groups",
        verdict="unsure" if torn else "pass",
        statistic=float(len(torn)),
        bar=0.0,
        evidence={"groups": torn[:NAMED], "known": len(known)},
    )


def counts(examples: Examples, split: str) -> NDArray[np.int64]:
    """Rows of each class in a split, in the order of `examples.classes`."""
    return np.bincount(examples.labels[examples.split(split)], minlength=len(examples.classes))


def _twins(
    examples: Examples, places: Places, held: Places, contents: NDArray[np.int64], held_contents: NDArray[np.int64]
) -> Reasons:
    """The first of the rows `held` that has its content, for each of `places` whose content any has."""
    known, first = np.unique(held_contents, return_index=True)
    if not len(known):
        return {}
    slot = np.minimum(np.searchsorted(known, contents), len(known) - 1)
    equal = known[slot] == contents
    twins = held[first[slot[equal]]]
    return {int(place): {"twin": examples.named(twin)} for place, twin in zip(places[equal], twins, strict=True)}
