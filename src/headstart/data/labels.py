"""Labels as the model will know them: in one spelling, mapped, and a finding about what looks like a slip."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.contract.labels import normal
from headstart.data.columns import closest
from headstart.findings import Finding

NAMED, SHOWN = 10, 3
_BETWEEN = re.compile(r"(?<=\w)[\s_-]+(?=\w)")


def clean(written: Mapping[str, int], mapping: Mapping[str, str]) -> tuple[dict[str, str], Finding]:
    """What each label becomes: in its normal spelling, then as `mapping` renames it; and the finding `labels`.

    The finding is `unsure` where labels hardly differ, are mapped but never occur, or had to be spelled anew.

    Args:
        written: how many rows have each label, as the source writes it, none of them empty.
        mapping: source label -> label; a key may be spelled as in the source or in the normal way.
    """
    by_spelling = {normal(key): normal(label) for key, label in mapping.items()}
    exact = {key: normal(label) for key, label in mapping.items()}
    result = {name: exact.get(name, by_spelling.get(normal(name), normal(name))) for name in written}
    spelled = {normal(name) for name in written}
    counts: Counter[str] = Counter()
    for name, count in written.items():
        counts[result[name]] += count
    similar = variants(counts)
    unused = [key for key in mapping if normal(key) not in spelled]
    anew = respelled(written)
    close = {name: other for name in unused[:NAMED] if (other := closest(name, spelled))}
    return result, Finding(
        check="labels",
        verdict="unsure" if similar or unused or anew else "pass",
        statistic=float(len(similar) + len(unused) + sum(map(len, anew.values()))),
        bar=0.0,
        evidence={
            "classes": len(counts),
            "trimmed": sum(count for name, count in written.items() if name != normal(name)),
            "case_variants": similar[:NAMED],
            "rows": {name: counts[name] for names in similar[:NAMED] for name in names},
            "mapped": sum(count for name, count in written.items() if result[name] != normal(name)),
            "unused": unused[:NAMED],
            "closest": close,
            "respelled": {kind: first(names) for kind, names in anew.items()},
            "slips": len(similar) + len(unused) + len(anew),
        },
    )


def variants(names: Mapping[str, int]) -> list[list[str]]:
    """Labels that differ in case, in hyphens and underscores for spaces, or in letters that only look different."""
    similar: dict[str, list[str]] = {}
    for name in sorted(names):
        similar.setdefault(_BETWEEN.sub(" ", unicodedata.normalize("NFKC", name).casefold()), []).append(name)
    return [found for found in similar.values() if len(found) > 1]


def merging(similar: Sequence[Sequence[str]], counts: Mapping[str, int]) -> dict[str, str]:
    """The label map that makes one class of labels that hardly differ: that with the most rows."""
    found = {}
    for names in similar:
        commonest = min(names, key=lambda name: (-counts[name], name))
        found.update({name: commonest for name in names if name != commonest})
    return found


def respelled(written: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Rows of the labels that had to be spelled anew, by what was wrong: `invisible` characters, `form` or `spaces`."""
    kinds: dict[str, dict[str, int]] = {"invisible": {}, "form": {}, "spaces": {}}
    for name, count in written.items():
        if name != (spelled := normal(name)):
            composed = " ".join(unicodedata.normalize("NFC", name).split())
            kind = "invisible" if composed != spelled else "spaces" if _only_spaces(name) else "form"
            kinds[kind][name] = count
    return {kind: names for kind, names in kinds.items() if names}


def _only_spaces(name: str) -> bool:
    return " ".join(name.split()) == normal(name)


def first(names: Mapping[str, int]) -> dict[str, Any]:
    """The commonest labels, and how many there are."""
    shown = sorted(names, key=lambda name: (-names[name], name))[:SHOWN]
    return {"rows": sum(names.values()), "labels": len(names), "first": {name: names[name] for name in shown}}
