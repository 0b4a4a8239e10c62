"""Rows that are nearly equal: the checks `near_leak` and `near_duplicates`, whatever found the pairs.

Rows are looked at in one order, test, validation, train, so that of a pair the later one is the one to go: what is
measured on stays. A row is held against the earlier ones, and keeps the first twin it has in each split, and every one
in test: which test rows have a near copy elsewhere is needed whole, so that accuracy can be given without them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import SPLITS
from headstart.data.examples import NAMED, Examples, Places, Reasons
from headstart.findings import Finding
from headstart.params.section import Modality

FIRST = ("test", "validation", "train")
OFTEN = 0.05  # of the rows looked at: above it, near duplicates within a split are worth a word


@dataclass(frozen=True)
class Twin:
    """A row, an earlier one that is nearly equal, and how nearly."""

    place: int
    earlier: int
    similarity: float
    how: str = ""  # `mirrored`, where the pair shows so only


def ordered(examples: Examples, looked: NDArray[np.bool_]) -> Places:
    """Places of the rows to compare, in their order; rows of one split with equal payloads stand there once."""
    at = np.concatenate([examples.split(name) for name in FIRST])
    at = at[looked[at]]
    keys = examples.contents[at] * len(SPLITS) + examples.splits[at]
    first: Places = np.sort(np.unique(keys, return_index=True)[1])
    return np.asarray(at[first], np.int64)


def findings(
    examples: Examples,
    twins: Iterable[Twin],
    *,
    looked_at: int,
    drawn: NDArray[np.bool_],
    noun: Modality,
    **evidence: Any,
) -> list[tuple[Reasons, Finding]]:
    """The two findings.

    Args:
        examples: all rows.
        twins: each row's first twin in each split, if it has one, and its others in test.
        looked_at: how many rows were compared.
        drawn: which rows were to be compared, by place.
        noun: what rows hold.
        evidence: goes into both: what makes two of them nearly equal.
    """
    across: dict[int, Twin] = {}
    within: dict[int, Twin] = {}
    copied: dict[int, Twin] = {}  # by test row: its first twin in train
    beside: dict[int, Twin] = {}  # and in validation
    for twin in twins:
        home, other = int(examples.splits[twin.place]), int(examples.splits[twin.earlier])
        if home == other:
            within.setdefault(twin.place, twin)
        else:
            across.setdefault(twin.place, twin)
            if SPLITS[other] == "test" and SPLITS[home] == "train":
                copied.setdefault(twin.earlier, twin)
            elif SPLITS[other] == "test":
                beside.setdefault(twin.earlier, twin)
    about = {
        "looked_at": looked_at,
        "kept": len(examples.at),
        "drawn": not drawn[examples.at].all(),
        "noun": noun,
        **evidence,
    }
    return [_leak(examples, across, beside | copied, about), _duplicates(examples, within, about)]


def _leak(
    examples: Examples, found: dict[int, Twin], copied: dict[int, Twin], about: Mapping[str, Any]
) -> tuple[Reasons, Finding]:
    """The finding `near_leak`; its evidence holds all of `copied`, the test rows with their twins elsewhere."""
    places = sorted(found)
    held = {"test": set[int](), "validation": set[int]()}
    for twin in found.values():
        held[SPLITS[examples.splits[twin.earlier]]].add(twin.earlier)
    finding = examples.finding(
        "near_leak",
        "unsure" if places else "pass",
        places,
        held={name: len(rows) for name, rows in held.items()},
        pairs=_pairs(examples, [found[place] for place in places]),
        test=_copied(examples, copied),
        **about,
    )
    return {place: _why(examples, found[place]) for place in places}, finding


def _duplicates(examples: Examples, found: dict[int, Twin], about: Mapping[str, Any]) -> tuple[Reasons, Finding]:
    """The finding `near_duplicates`; pairs with different labels or groups come first."""
    places = sorted(found)
    torn = [twin for twin in found.values() if _differ(examples.groups, twin) and examples.groups[twin.place] >= 0]
    at_odds = [twin for twin in found.values() if _differ(examples.labels, twin)]
    often = len(places) > OFTEN * about["looked_at"]
    learned = [place for place in places if SPLITS[examples.splits[place]] != "test"]
    return {place: _why(examples, found[place]) for place in learned}, examples.finding(
        "near_duplicates",
        "unsure" if at_odds or torn or often else "pass",
        places,
        other_label=len(at_odds),
        other_group=len(torn),
        often=often,
        pairs=_pairs(examples, list(dict.fromkeys([*at_odds, *torn, *(found[place] for place in places)]))),
        **about,
    )


def _differ(values: NDArray[np.integer], twin: Twin) -> bool:
    return bool(values[twin.place] != values[twin.earlier])


def _why(examples: Examples, twin: Twin) -> dict[str, Any]:
    return {"twin": examples.named(twin.earlier), "how": twin.how, "similarity": round(twin.similarity, 3)}


def _copied(examples: Examples, twins: Mapping[int, Twin]) -> list[dict[str, str | float]]:
    """The test rows in their order, each with the row of train (else of validation) that it nearly equals."""
    return [
        {
            "id": str(examples.ids[place]),
            "twin": str(examples.ids[twins[place].place]),
            "split": SPLITS[examples.splits[twins[place].place]],
            "similarity": round(twins[place].similarity, 3),
            "how": twins[place].how,
        }
        for place in sorted(twins)
    ]


def _pairs(examples: Examples, twins: list[Twin]) -> list[dict[str, Any]]:
    """The first ten pairs as evidence."""
    return [
        {
            "row": examples.named(twin.place),
            "twin": examples.named(twin.earlier),
            "label": examples.label(twin.place),
            "twin_label": examples.label(twin.earlier),
            "similarity": round(twin.similarity, 3),
            "how": twin.how,
        }
        for twin in twins[:NAMED]
    ]
