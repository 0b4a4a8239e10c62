"""Labels that something beside the point gives away in texts: their length, or one token. Hints, not proofs.

What is suspected on one half of the training rows looked at is confirmed on the other, so that searching far and wide
costs nothing: a set whose labels have nothing to do with it is suspected in a share of `level` of such sets. But words
do tell topics, and lengths do differ: what is natural is kept out by how much is asked for. On eleven real sets length
alone took at most 16% off the errors of the commonest label, and told a class with a precision of at most 0.3 above its
share; of tokens kept to one class the commonest word stood in 75% of it, the commonest of the others in 15%.

    length_shortcut    length alone takes `SKILL` of the errors off, or tells 15% of one class from all others,
                       beyond doubt
    token_shortcut     a token nearly never outside its class, and in 20% of it; 90% where it is a plain word

In a class of some hundred rows a mark on a quarter of them is found, one on a twentieth is not.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding
from headstart.statistics.interval import Interval, wilson

SKILL = 0.3
TOLD, ALMOST = 0.15, 0.8  # of one class among many: share told, and precision above that class's share of all rows
LEAVES, LEAF, PURE = 16, 5, 0.9  # of a tree: how many, their rows at least, and the share of one class that tells it
COVERED, COVERED_BY_WORD = 0.2, 0.9
PRECISE, SURELY = 0.98, 0.6  # of the rows with a token, in its class: as counted, and at the least
ENDS = 100  # tokens of a text's beginning, and of its end, that are looked at
CHUNK = re.compile(r"\S+")
WORD = re.compile(r"[^\W\d_]+")
LONGEST = 40  # characters of a token
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Skill:
    """How well one number alone tells labels it was not fitted on.

    Attributes:
        accuracy: of a small tree, on the half it was not grown on.
        chance: accuracy of the commonest label.
        taken: share of that guess's errors that the tree does not make.
        at_least: lower end of `taken`.
        label: the class that the number tells best from all others.
        covered: share of that class's rows told, at the least.
        precise: share of the rows told to be of it that are, above its share of all rows: 1 is always, at the least.
    """

    accuracy: Interval
    chance: float
    taken: float
    at_least: float
    label: int
    covered: float
    precise: float

    @property
    def gives_away(self) -> bool:
        """Whether labels as a whole, or one class of many, are told."""
        return self.at_least >= SKILL or (self.covered >= TOLD and self.precise >= ALMOST)


def alone(values: NDArray[np.float64], labels: Labels, *, level: float, seed: int) -> Skill:
    """What a tree of at most 16 leaves makes of one number, each half of the rows told by a tree of the other."""
    from sklearn.tree import DecisionTreeClassifier

    half = halves(len(labels), seed)
    answers, sure, common = np.empty_like(labels), np.empty(len(labels), np.bool_), 0
    for grown, told in ((half, ~half), (~half, half)):
        tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, min_samples_leaf=LEAF, random_state=0)
        tree.fit(values[grown, None], labels[grown])
        answers[told] = tree.predict(values[told, None])
        sure[told] = tree.predict_proba(values[told, None]).max(axis=1) >= PURE
        common += int((labels[told] == np.bincount(labels[grown]).argmax()).sum())
    accuracy = wilson(int((answers == labels).sum()), len(labels), 1 - 2 * level)
    chance = max(common / len(labels), float(np.bincount(labels).max()) / len(labels))
    wrong = max(1 - chance, 1e-9)
    told_surely = _told(np.where(sure, answers, -1), labels, level)
    best = max(told_surely, key=lambda entry: min(entry[1] / TOLD, entry[2] / ALMOST))
    return Skill(accuracy, chance, (accuracy.value - chance) / wrong, (accuracy.low - chance) / wrong, *best)


def _told(answers: Labels, labels: Labels, level: float) -> Iterator[tuple[int, float, float]]:
    """For each class: which, how much of it is told, and how precisely, both at the least."""
    present = np.unique(labels).tolist()
    confidence = 1 - 2 * level / len(present)
    for label in present:
        own, said = labels == label, answers == label
        hits, share = int((own & said).sum()), float(own.mean())
        precision = wilson(hits, int(said.sum()), confidence).low if said.any() else 0.0
        yield label, wilson(hits, int(own.sum()), confidence).low, (precision - share) / max(1 - share, 1e-9)


def halves(n: int, seed: int) -> NDArray[np.bool_]:
    """Which of n rows are in the first half."""
    first: NDArray[np.bool_] = np.random.default_rng(seed).permutation(n) % 2 == 0
    return first


def enough(labels: Labels) -> bool:
    """Whether there are two classes and rows for both halves of a test."""
    return len(labels) >= 4 * LEAF and len(np.unique(labels)) > 1


def too_few(examples: Examples, check: str, rows: int) -> Finding:
    """The finding where nothing can be learned about shortcuts."""
    return examples.finding(check, "pass", [], looked_at=rows)


class TextShortcuts:
    """The checks `length_shortcut` and `token_shortcut` of the rows chosen; about 1 KB each at the most."""

    def __init__(self, chosen: NDArray[np.bool_], *, level: float, seed: int) -> None:
        """Args:
        chosen: which rows to look at, by place.
        level: of each check.
        seed: of the halves.
        """
        self.chosen, self.level, self.seed = chosen, level, seed
        self._lengths: dict[int, int] = {}
        self._tokens: dict[int, NDArray[np.int32]] = {}
        self._numbers: dict[str, int] = {}

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        for offset in np.flatnonzero(self.chosen[first : first + len(payloads)]).tolist():
            if isinstance(text := payloads[offset], str):
                self._lengths[first + offset] = len(text)
                numbers = {self._numbers.setdefault(token, len(self._numbers)) for token in _tokens(text)}
                self._tokens[first + offset] = np.fromiter(numbers, np.int32, len(numbers))

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        seen = np.zeros(len(examples), np.bool_)
        seen[list(self._lengths)] = True
        train = examples.split("train")
        train = train[seen[train]]
        if not enough(examples.labels[train]):
            return [({}, too_few(examples, name, len(train))) for name in ("length_shortcut", "token_shortcut")]
        lengths = np.array([self._lengths[place] for place in train.tolist()], np.float64)
        skill = alone(lengths, examples.labels[train], level=self.level, seed=self.seed)
        return [
            ({}, by_number(examples, "length_shortcut", {"length": skill}, len(train))),
            ({}, self._token_finding(examples, train)),
        ]

    def _token_finding(self, examples: Examples, train: Places) -> Finding:
        first = halves(len(train), self.seed)
        counts, sizes = zip(*(self._counts(examples, train[half]) for half in (first, ~first)), strict=True)
        words = np.array([WORD.fullmatch(token) is not None for token in self._numbers], np.bool_)
        needed = np.where(words, COVERED_BY_WORD, COVERED)[:, None]
        totals = [count.sum(axis=1, keepdims=True) for count in counts]
        fits = [
            (count >= needed * np.maximum(size, 1)) & (count >= PRECISE * total) & (count > 0)
            for count, size, total in zip(counts, sizes, totals, strict=True)
        ]
        suspects = np.argwhere(fits[0])
        level = self.level / max(1, len(suspects))
        tokens = list(self._numbers)
        found = []
        for token, label in suspects[fits[1][tuple(suspects.T)]].tolist():
            inside, total = int(counts[1][token, label]), int(totals[1][token, 0])
            precision = wilson(inside, total, 1 - 2 * level)
            if precision.low >= SURELY:
                covered = float((counts[0] + counts[1])[token, label] / (sizes[0] + sizes[1])[label])
                found.append((covered, tokens[token], examples.classes[label], precision))
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        return Finding(
            "token_shortcut",
            "unsure" if found else "pass",
            float(len(found)),
            0.0,
            evidence={
                "tokens": [
                    {"token": token, "label": label, "covered": covered, "precision": precision.document()}
                    for covered, token, label, precision in found[:10]
                ],
                "looked_at": len(train),
            },
        )

    def _counts(self, examples: Examples, places: Places) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows by token and class, and rows by class."""
        classes = len(examples.classes)
        labels = examples.labels[places]
        held = [self._tokens[place] for place in places.tolist()]
        keys = np.concatenate(held).astype(np.int64) * classes if held else np.zeros(0, np.int64)
        keys += np.repeat(labels.astype(np.int64), [len(numbers) for numbers in held])
        counts = np.bincount(keys, minlength=len(self._numbers) * classes).reshape(-1, classes)
        return counts, np.bincount(labels, minlength=classes)


def by_number(examples: Examples, check: str, skills: dict[str, Skill], rows: int) -> Finding:
    """The finding about the numbers that might tell labels: what the best of them does."""
    name, best = max(skills.items(), key=lambda item: (item[1].gives_away, item[1].at_least))
    tells = best.covered >= TOLD and best.precise >= ALMOST
    return Finding(
        check,
        "unsure" if best.gives_away else "pass",
        best.taken,
        SKILL,
        evidence={
            "measures": {
                what: {"accuracy": skill.accuracy.document(), "chance": skill.chance, "taken": skill.taken}
                for what, skill in skills.items()
            },
            "best": name,
            "looked_at": rows,
            "tells": {"label": examples.classes[best.label], "covered": best.covered} if tells else None,
        },
    )


def _tokens(text: str) -> set[str]:
    """Words, and whole chunks that are no plain word, of both ends of a text."""
    chunks = CHUNK.findall(text)
    if len(chunks) > 2 * ENDS:
        chunks = chunks[:ENDS] + chunks[-ENDS:]
    found: set[str] = set()
    for chunk in chunks:
        found.update(WORD.findall(chunk[:LONGEST]))
        found.add(chunk[:LONGEST])
    return found
