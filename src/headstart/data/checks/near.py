"""Rows that are nearly equal: the checks `near_leak` and `near_duplicates`, whatever found the pairs.

Rows are looked at in one order, test, validation, train, so that of a pair the later one is the one to go: what is
measured on stays. A row is held against the earlier ones, and keeps the first twin it has in each split, and every one
in test: which test rows have a near copy elsewhere is needed whole, so that accuracy can be given without them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.checks.words import counted, does, of
from headstart.data.dataset import SPLITS
from headstart.data.examples import NAMED, Examples, Places, Reasons
from headstart.findings import Finding
from headstart.params.section import Modality

FIRST = ("test", "validation", "train")
OFTEN = 0.05  # of the rows looked at: above it, near duplicates within a split are worth a word
SHOWN = 3
_OF_VALIDATION = "The test split is not touched; what is chosen and calibrated on validation trusts what is remembered"


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
    bar: str,
    **evidence: int,
) -> list[tuple[Reasons, Finding]]:
    """The two findings.

    Args:
        examples: all rows.
        twins: each row's first twin in each split, if it has one, and its others in test.
        looked_at: how many rows were compared.
        drawn: which rows were to be compared, by place.
        noun: what rows hold.
        bar: what makes two of them nearly equal, in words.
        evidence: goes into both.
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
    total = len(examples.at)
    told = f"{looked_at:,} different {noun}s of {total:,} rows were compared"
    if not drawn[examples.at].all():
        told += ", drawn at random: a pair shows only if both were drawn"
    view = _View(examples, told, looked_at, noun, bar, evidence)
    return [view.leak(across, beside | copied), view.duplicates(within)]


@dataclass(frozen=True)
class _View:
    """What both findings say alike."""

    examples: Examples
    told: str
    looked_at: int
    noun: Modality
    bar: str
    evidence: Mapping[str, int]

    def leak(self, found: dict[int, Twin], copied: dict[int, Twin]) -> tuple[Reasons, Finding]:
        """The finding `near_leak`; its evidence holds all of `copied`, the test rows with their twins elsewhere."""
        places = sorted(found)
        held = {"test": set[int](), "validation": set[int]()}
        for twin in found.values():
            held[SPLITS[self.examples.splits[twin.earlier]]].add(twin.earlier)
        reason = (
            f"No {self.noun} of train or validation is nearly equal to one it is judged by ({self.bar}); {self.told}."
        )
        if places:
            reason = (
                f"{counted(len(places), 'row')} of train and validation {does(len(places), 'is', 'are')} nearly equal "
                f"({self.bar}) to {counted(len(held['test']), 'test row')} and "
                f"{counted(len(held['validation']), 'validation row')}, such as "
                f"{_shown(self.examples, [found[place] for place in places])}; {self.told}."
            )
        finding = self.examples.finding(
            "near_leak",
            "unsure" if places else "pass",
            places,
            reason,
            ("Measured accuracy is too good by what is remembered" if held["test"] else _OF_VALIDATION)
            + ": let checks.put_aside in params.yaml name near_leak, or split the source by what these rows share (a "
            "group)."
            if places
            else "",
            looked_at=self.looked_at,
            pairs=_pairs(self.examples, [found[place] for place in places]),
            test=_copied(self.examples, copied),
            **self.evidence,
        )
        return {place: _why(self.examples, found[place]) for place in places}, finding

    def duplicates(self, found: dict[int, Twin]) -> tuple[Reasons, Finding]:
        places = sorted(found)
        torn = [
            twin
            for twin in found.values()
            if _differ(self.examples.groups, twin) and self.examples.groups[twin.place] >= 0
        ]
        at_odds = [twin for twin in found.values() if _differ(self.examples.labels, twin)]
        reason = f"No {self.noun} is nearly equal to another of its split ({self.bar}); {self.told}."
        actions = []
        if places:
            verb = does(len(places), "is", "are")
            reason = f"{of(len(places), self.looked_at, self.noun)} {verb} nearly equal to an earlier one of the split "
            reason += f"({self.bar})"
            if at_odds:
                reason += f", {len(at_odds):,} of them with a different label"
                actions.append(
                    "Decide which label is right, unless the few characters that differ are what it hangs on."
                )
            if torn:
                reason += f", {len(torn):,} of them in a different group"
                actions.append("Groups that share pictures or texts are one group: join them at the source.")
            if len(places) > OFTEN * self.looked_at:
                actions.append(
                    "Rows count for less than they seem to: near_duplicates in checks.put_aside leaves one each."
                )
            reason += (
                f": {_shown(self.examples, [*at_odds, *torn] or [found[place] for place in places])}; {self.told}."
            )
        learned = [place for place in places if SPLITS[self.examples.splits[place]] != "test"]
        return {place: _why(self.examples, found[place]) for place in learned}, self.examples.finding(
            "near_duplicates",
            "unsure" if actions else "pass",
            places,
            reason,
            " ".join(actions),
            looked_at=self.looked_at,
            other_label=len(at_odds),
            other_group=len(torn),
            pairs=_pairs(self.examples, [*at_odds, *torn, *(found[place] for place in places)]),
            **self.evidence,
        )


def _differ(values: NDArray[np.integer], twin: Twin) -> bool:
    return bool(values[twin.place] != values[twin.earlier])


def _why(examples: Examples, twin: Twin) -> str:
    how = f"{twin.how}, " if twin.how else ""
    return f"nearly equal to {examples.named(twin.earlier)} ({how}similarity {twin.similarity:.2f})"


def _shown(examples: Examples, twins: list[Twin]) -> str:
    named = [
        f"{examples.named(twin.place)} and {examples.named(twin.earlier)}" + (f" {twin.how}" if twin.how else "")
        for twin in twins[:SHOWN]
    ]
    return ", ".join(named)


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


def _pairs(examples: Examples, twins: list[Twin]) -> list[dict[str, str | float]]:
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
