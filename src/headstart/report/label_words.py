"""What is said of how labels are spelled: where a model is added, and of the finding `labels`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.contract.labels import normal
from headstart.data import labels
from headstart.data.checks.words import counted

RESPELLED = {
    "invisible": "invisible characters were taken out of the label on",
    "form": "the Unicode form of the label was made alike (NFC) on",
    "spaces": "surplus spaces in the label were taken off on",
}


def slip(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """How labels that hardly differ do."""
    both = " and ".join(f"{name!r} ({counted(counts[name], 'row')})" for name in names)
    return f"{both} {'differ in case alone' if len({name.casefold() for name in names}) == 1 else 'hardly differ'}"


def variants(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """`slip`, and what that makes of them."""
    return f"{slip(names, counts)} and are {'two' if len(names) == 2 else len(names)} classes"


def respelled(kinds: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A sentence for each way in which labels had to be spelled anew, the commonest labels named."""
    return [_respelled(kind, labels.first(names)) for kind, names in kinds.items()]


def finding(document: Mapping[str, Any]) -> tuple[str, str]:
    """Reason and action of the finding `labels`."""
    evidence = document["evidence"]
    similar, unused, rows = evidence["case_variants"], evidence["unused"], evidence["rows"]
    if not evidence["slips"]:
        return f"{counted(evidence['classes'], 'label')}, all written alike.", ""
    slips = [variants(names, rows) for names in similar]
    for name in unused:
        close = evidence["closest"].get(name)
        slips.append(f"{name!r} is mapped but on no row" + (f"; nearest is {close!r}" if close else ""))
    slips += [_respelled(kind, names) for kind, names in evidence["respelled"].items()]
    more = evidence["slips"] - len(slips[: labels.NAMED])
    reason = "; ".join(slips[: labels.NAMED]) + (f"; and {more} more." if more else ".")
    return reason, _action(similar, unused, rows)


def _action(similar: Sequence[Sequence[str]], unused: Sequence[str], rows: Mapping[str, int]) -> str:
    if similar:
        one = json.dumps(labels.merging(similar, rows), ensure_ascii=False)
        also = "; take out what is on no row" if unused else ""
        where = "Where they mean the same, make one class of them under the model in params.yaml"
        return f"{where}: prepare: {{labels: {one}}}{also}."
    if unused:
        return "Map labels that mean the same under prepare.labels in params.yaml, or mend the source."
    return "Nothing has to be done."


def _respelled(kind: str, names: Mapping[str, Any]) -> str:
    first = names["first"]
    named = ", ".join(f"{_visible(name)} ({counted(count, 'row')})" for name, count in _commonest(first))
    more = names["labels"] - len(first)
    return f"{RESPELLED[kind]} {counted(names['rows'], 'row')}: {named}" + (f" and {more} more" if more else "")


def _commonest(names: Mapping[str, int]) -> list[tuple[str, int]]:
    """Commonest first; JSON documents are sorted by name."""
    return sorted(names.items(), key=lambda item: (-item[1], item[0]))


def _visible(name: str) -> str:
    """The label with what nobody sees as an escape."""
    return repr(name) if " ".join(name.split()) == normal(name) else ascii(name)
