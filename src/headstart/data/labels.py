"""Labels as the model will know them: trimmed, mapped, and a finding about what looks like a slip."""

from collections import Counter
from collections.abc import Mapping, Sequence

from headstart.data.checks.words import counted
from headstart.data.columns import nearest
from headstart.findings import Finding

NAMED, SHOWN = 10, 3


def clean(written: Mapping[str, int], mapping: Mapping[str, str]) -> tuple[dict[str, str], Finding]:
    """What each label becomes: without spaces around it, then as `mapping` renames it; and the finding `labels`.

    The finding is `unsure` where labels differ in case alone, are mapped but never occur, or had to be trimmed; in this
    order, since spaces are mended here and the others are not.

    Args:
        written: how many rows have each label, as the source writes it, none of them empty.
        mapping: source label -> label; a key may carry the source's spaces or not.
    """
    result = {label: mapping.get(label, mapping.get(label.strip(), label.strip())) for label in written}
    spaced = {label: count for label, count in written.items() if label != label.strip()}
    trimmed = {label.strip() for label in written}
    counts: Counter[str] = Counter()
    for label, count in written.items():
        counts[result[label]] += count
    alike: dict[str, list[str]] = {}
    for name in sorted(counts):
        alike.setdefault(name.casefold(), []).append(name)
    variants = [names for names in alike.values() if len(names) > 1]
    unused = [name for name in mapping if name not in set(written) | trimmed]
    slips = [
        " and ".join(f"{name!r} ({counted(counts[name], 'row')})" for name in names)
        + " differ in case alone and are two classes"
        for names in variants
    ]
    slips += [f"{name!r} is mapped but on no row{nearest(name, trimmed)}" for name in unused]
    if spaced:
        slips.append(_spaces(spaced))
    return result, Finding(
        check="labels",
        verdict="unsure" if slips else "pass",
        statistic=float(len(variants) + len(unused) + len(spaced)),
        bar=0.0,
        reason=_sentence(slips) if slips else f"{counted(len(counts), 'label')}, all written alike.",
        action="Map labels that mean the same under prepare.labels in params.yaml, or mend the source."
        if variants or unused
        else "Nothing has to be done."
        if slips
        else "",
        evidence={
            "trimmed": sum(spaced.values()),
            "case_variants": variants[:NAMED],
            "mapped": sum(count for label, count in written.items() if result[label] != label.strip()),
            "unused": unused[:NAMED],
        },
    )


def _spaces(spaced: Mapping[str, int]) -> str:
    """One sentence for all labels with spaces around them, the commonest named."""
    first = sorted(spaced, key=lambda name: (-spaced[name], name))[:SHOWN]
    named = ", ".join(f"{name!r} ({counted(spaced[name], 'row')})" for name in first)
    more = f" and {len(spaced) - len(first)} more" if len(spaced) > len(first) else ""
    return f"spaces around the label were taken off on {counted(sum(spaced.values()), 'row')}: {named}{more}"


def _sentence(slips: Sequence[str]) -> str:
    more = f"; and {len(slips) - NAMED} more" if len(slips) > NAMED else ""
    return "; ".join(slips[:NAMED]) + more + "."
