"""Labels as the model will know them: in one spelling, mapped, and a finding about what looks like a slip."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from headstart.contract.labels import normal
from headstart.data.checks.words import counted
from headstart.data.columns import nearest
from headstart.findings import Finding

NAMED, SHOWN = 10, 3
_BETWEEN = re.compile(r"(?<=\w)[\s_-]+(?=\w)")


def clean(written: Mapping[str, int], mapping: Mapping[str, str]) -> tuple[dict[str, str], Finding]:
    """What each label becomes: in its normal spelling, then as `mapping` renames it; and the finding `labels`.

    The finding is `unsure` where labels hardly differ, are mapped but never occur, or had to be spelled anew; in this
    order, since spelling is mended here and the others are not.

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
    alike = variants(counts)
    unused = [key for key in mapping if normal(key) not in spelled]
    slips = [told(names, counts) for names in alike]
    slips += [f"{name!r} is mapped but on no row{nearest(name, spelled)}" for name in unused]
    anew = respelled(written)
    slips += anew
    return result, Finding(
        check="labels",
        verdict="unsure" if slips else "pass",
        statistic=float(len(alike) + len(unused) + sum(name != normal(name) for name in written)),
        bar=0.0,
        reason=_sentence(slips) if slips else f"{counted(len(counts), 'label')}, all written alike.",
        action=_action(alike, counts, unused) if alike or unused else "Nothing has to be done." if anew else "",
        evidence={
            "trimmed": sum(count for name, count in written.items() if name != normal(name)),
            "case_variants": alike[:NAMED],
            "mapped": sum(count for name, count in written.items() if result[name] != normal(name)),
            "unused": unused[:NAMED],
        },
    )


def variants(names: Mapping[str, int]) -> list[list[str]]:
    """Labels that differ in case, in hyphens and underscores for spaces, or in letters that only look different."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(_BETWEEN.sub(" ", unicodedata.normalize("NFKC", name).casefold()), []).append(name)
    return [found for found in alike.values() if len(found) > 1]


def told(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """`slip`, and what that makes of them."""
    return f"{slip(names, counts)} and are {'two' if len(names) == 2 else len(names)} classes"


def slip(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """How labels that hardly differ do."""
    both = " and ".join(f"{name!r} ({counted(counts[name], 'row')})" for name in names)
    return f"{both} {'differ in case alone' if len({name.casefold() for name in names}) == 1 else 'hardly differ'}"


def merging(alike: Sequence[Sequence[str]], counts: Mapping[str, int]) -> dict[str, str]:
    """The label map that makes one class of labels that hardly differ: that with the most rows."""
    found = {}
    for names in alike:
        commonest = min(names, key=lambda name: (-counts[name], name))
        found.update({name: commonest for name in names if name != commonest})
    return found


def respelled(written: Mapping[str, int]) -> list[str]:
    """A sentence for each way in which labels had to be spelled anew, the commonest labels named."""
    kinds: dict[str, dict[str, int]] = {"invisible": {}, "form": {}, "spaces": {}}
    for name, count in written.items():
        if name != (spelled := normal(name)):
            composed = " ".join(unicodedata.normalize("NFC", name).split())
            kind = "invisible" if composed != spelled else "spaces" if _only_spaces(name, spelled) else "form"
            kinds[kind][name] = count
    sentences = {
        "invisible": "invisible characters were taken out of the label on",
        "form": "the Unicode form of the label was made alike (NFC) on",
        "spaces": "surplus spaces in the label were taken off on",
    }
    return [f"{sentences[kind]} {_commonest(names)}" for kind, names in kinds.items() if names]


def _only_spaces(name: str, spelled: str) -> bool:
    return " ".join(name.split()) == spelled


def _commonest(names: Mapping[str, int]) -> str:
    first = sorted(names, key=lambda name: (-names[name], name))[:SHOWN]
    named = ", ".join(f"{_visible(name)} ({counted(names[name], 'row')})" for name in first)
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    return f"{counted(sum(names.values()), 'row')}: {named}{more}"


def _visible(name: str) -> str:
    """The label with what nobody sees as an escape."""
    return repr(name) if _only_spaces(name, normal(name)) else ascii(name)


def _action(alike: Sequence[Sequence[str]], counts: Mapping[str, int], unused: Sequence[str]) -> str:
    if not alike:
        return "Map labels that mean the same under prepare.labels in params.yaml, or mend the source."
    one = json.dumps(merging(alike[:NAMED], counts), ensure_ascii=False)
    also = "; take out what is on no row" if unused else ""
    where = "Where they mean the same, make one class of them under the model in params.yaml"
    return f"{where}: prepare: {{labels: {one}}}{also}."


def _sentence(slips: Sequence[str]) -> str:
    more = f"; and {len(slips) - NAMED} more" if len(slips) > NAMED else ""
    return "; ".join(slips[:NAMED]) + more + "."
