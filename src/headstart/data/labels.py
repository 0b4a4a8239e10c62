"""Labels as the model will know them: trimmed, mapped, and a finding about what looks like a slip."""

from collections import Counter
from collections.abc import Mapping, Sequence

from headstart.data.columns import nearest
from headstart.findings import Finding

NAMED = 10


def clean(labels: Sequence[str], mapping: Mapping[str, str]) -> tuple[list[str], Finding]:
    """Each label without spaces around it, then as `mapping` renames it; and the finding `labels`.

    The finding is `unsure` where labels had to be trimmed, differ in case alone, or are mapped but never occur.

    Args:
        labels: as the source writes them, none of them empty.
        mapping: source label -> label; a key may carry the source's spaces or not.
    """
    trimmed = [label.strip() for label in labels]
    result = [mapping.get(label, mapping.get(short, short)) for label, short in zip(labels, trimmed, strict=True)]
    spaced = Counter(label for label, short in zip(labels, trimmed, strict=True) if label != short)
    counts = Counter(result)
    alike: dict[str, list[str]] = {}
    for name in sorted(counts):
        alike.setdefault(name.casefold(), []).append(name)
    variants = [names for names in alike.values() if len(names) > 1]
    unused = [name for name in mapping if name not in set(labels) | set(trimmed)]
    slips = [f"{name!r} on {count} rows had spaces around it" for name, count in sorted(spaced.items())]
    slips += [
        " and ".join(f"{name!r} ({counts[name]} rows)" for name in names) + " differ in case" for names in variants
    ]
    slips += [f"{name!r} is mapped but on no row{nearest(name, set(trimmed))}" for name in unused]
    return result, Finding(
        check="labels",
        verdict="unsure" if slips else "pass",
        statistic=float(len(slips)),
        bar=0.0,
        reason=_sentence(slips) if slips else f"{len(counts)} labels, all written alike.",
        action="Mend the source, or map labels that mean the same under prepare.labels in params.yaml."
        if slips
        else "",
        evidence={
            "trimmed": sum(spaced.values()),
            "case_variants": variants[:NAMED],
            "mapped": sum(before != after for before, after in zip(trimmed, result, strict=True)),
            "unused": unused[:NAMED],
        },
    )


def _sentence(slips: Sequence[str]) -> str:
    more = f"; and {len(slips) - NAMED} more" if len(slips) > NAMED else ""
    return "; ".join(slips[:NAMED]) + more + "."
