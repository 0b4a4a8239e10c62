"""Do rows that came in look like those that were there? Classes, sizes and words; no classifier is trained for it.

Rows are taken as drawn independently; where many share a group, p-values come out too small.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from scipy import stats

from headstart.contract.image import DAMAGED, FORMATS
from headstart.data import raw
from headstart.data.checks import LEVEL, SEED
from headstart.findings import Finding
from headstart.params.prepare import Prepare
from headstart.statistics import two_sample

WORD = re.compile(r"\w+")
WORDS = 1000
"""Words compared, those in most rows of both sides."""

Flags = NDArray[np.bool_]
Labels = NDArray[np.int32]
Before = tuple[Path, Labels, Flags, Flags]
After = tuple[Path, Labels, Flags]
Sizes = dict[str, Callable[[Any], float | None]]

TEXT: Sizes = {"characters": lambda text: float(len(text)), "words": lambda text: float(len(WORD.findall(text)))}


def drift(before: Before, after: After, classes: Sequence[str], params: Prepare) -> list[Finding]:
    """One finding a test: `revision_balance`, then sizes, then (of texts) `revision_words`.

    Where nothing came in and rows went, what went is held against what stayed; where neither, there is no finding.

    Args:
        before: folder, labels, which rows stayed, which went.
        after: folder, labels, which rows came in.
        classes: what labels are indices into.
        params: how many rows are compared at most, and the modality.
    """
    folder, labels, stayed, went = before
    if after[2].any():
        base, other = (folder, labels, stayed | went), after
        told = "what came in", "what was there"
    elif went.any() and stayed.any():
        base, other = (folder, labels, stayed), (folder, labels, went)
        told = "what went", "what stayed"
    else:
        return []
    sizes = TEXT if params.modality == "text" else IMAGE
    bar = LEVEL / (1 + len(sizes) + (params.modality == "text"))
    seen = [_seen(side[0], side[2], params, sizes) for side in (base, other)]
    findings = [_balance(base[1][base[2]], other[1][other[2]], classes, told, bar, SEED)]
    for place, name in enumerate(sizes):
        findings.append(_size(name, seen[0][0][place], seen[1][0][place], told, bar))
    if params.modality == "text":
        findings.append(_words(seen[0][1], seen[1][1], told, bar))
    return findings


def _shape(data: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except DAMAGED:
        return None


def _pixels(data: bytes) -> float | None:
    shape = _shape(data)
    return None if shape is None else float(shape[0] * shape[1])


def _aspect(data: bytes) -> float | None:
    shape = _shape(data)
    return None if shape is None else shape[0] / shape[1]


IMAGE: Sizes = {"pixels": _pixels, "aspect": _aspect, "kilobytes": lambda data: len(data) / 1000}


def _seen(
    folder: Path, mask: Flags, params: Prepare, sizes: Sizes
) -> tuple[list[list[float]], tuple[Counter[str], int]]:
    """Sizes of the rows in `mask`, at most `checks.sample` of them, and in how many of these each word stands."""
    places = np.flatnonzero(mask)
    if len(places) > params.checks.sample:
        places = np.sort(np.random.default_rng(SEED).choice(places, params.checks.sample, replace=False))
    chosen = np.zeros(len(mask), dtype=bool)
    chosen[places] = True
    values: list[list[float]] = [[] for _ in sizes]
    words: Counter[str] = Counter()
    first = 0
    for batch in raw.batches(folder):
        for payload in batch[params.modality].filter(pa.array(chosen[first : first + len(batch)])).to_pylist():
            if not payload:
                continue
            for held, size in zip(values, sizes.values(), strict=True):
                if (value := size(payload)) is not None:
                    held.append(value)
            if isinstance(payload, str):
                words.update(set(WORD.findall(payload.casefold())))
        first += len(batch)
    return values, (words, len(places))


def _balance(
    base: Labels, other: Labels, names: Sequence[str], told: tuple[str, str], bar: float, seed: int
) -> Finding:
    first, second = (np.bincount(side, minlength=len(names)) for side in (base, other))
    test = two_sample.contingency(first, second, seed)
    shares = first / max(1, first.sum()), second / max(1, second.sum())
    most = int(np.abs(shares[1] - shares[0]).argmax())
    evidence = {"class": names[most], "then": float(shares[0][most]), "now": float(shares[1][most])}
    seen = f"{names[most]!r} makes up {shares[1][most]:.1%} of {told[0]}, {shares[0][most]:.1%} of {told[1]}"
    return _finding("balance", "classes", test, told, bar, seen, evidence)


def _size(name: str, base: list[float], other: list[float], told: tuple[str, str], bar: float) -> Finding:
    test = two_sample.ks(base, other)
    middle = [float(np.median(values)) if values else 0.0 for values in (base, other)]
    seen = f"the median is {middle[1]:g} {name} in {told[0]}, {middle[0]:g} in {told[1]}"
    if name == "aspect":
        seen = f"the median of width / height is {middle[1]:.3g} in {told[0]}, {middle[0]:.3g} in {told[1]}"
    return _finding(
        name,
        {"aspect": "shapes", "pixels": "sizes", "kilobytes": "file sizes"}.get(name, "lengths"),
        test,
        told,
        bar,
        seen,
        {"then": middle[0], "now": middle[1]},
    )


def _words(
    base: tuple[Counter[str], int], other: tuple[Counter[str], int], told: tuple[str, str], bar: float
) -> Finding:
    """The word whose share of rows differs most surely: hypergeometric, both sides, Bonferroni over the words."""
    (first, n), (second, m) = base, other
    names = [word for word, _ in sorted((first + second).items(), key=lambda item: (-item[1], item[0]))[:WORDS]]
    then, now = (np.array([counts[word] for word in names], dtype=np.int64) for counts in (first, second))
    lower, upper = (stats.hypergeom.cdf(now, n + m, then + now, m), stats.hypergeom.sf(now - 1, n + m, then + now, m))
    p_values = np.minimum(1.0, 2 * np.minimum(lower, upper))
    surest = np.argsort(p_values, kind="stable")[:5]
    p_value = min(1.0, float(p_values[surest[0]]) * len(names)) if len(names) else 1.0
    shown = [{"word": names[at], "then": float(then[at] / n), "now": float(now[at] / m)} for at in surest]
    seen = ", ".join(f"{one['word']!r} in {one['now']:.1%} ({one['then']:.1%})" for one in shown[:3])
    test = two_sample.Test(p_value, p_value)
    return _finding("vocabulary", "words", test, told, bar, f"rows of {told[0]} ({told[1]}): {seen}", {"words": shown})


def _finding(
    name: str, what: str, test: two_sample.Test, told: tuple[str, str], bar: float, seen: str, evidence: dict[str, Any]
) -> Finding:
    apart = test.p_value < bar
    return Finding(
        f"revision_{name}",
        "unsure" if apart else "pass",
        test.p_value,
        bar,
        f"{what.capitalize()} of {told[0]} {'differ from' if apart else 'may well be'} those of {told[1]}: {seen} "
        f"(p = {test.p_value:.2g}, held against {bar:.2g}).",
        "Check whether the source changed, or the world: the test set then speaks of both." if apart else "",
        {**evidence, "distance": test.statistic, "p_value": test.p_value},
    )
