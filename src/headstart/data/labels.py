"""Labels as the model will know them: trimmed, mapped, and a finding about what looks like a slip."""

from collections import Counter
from collections.abc import Mapping, Sequence

from headstart.data.columns import nearest
from headstart.findings import Finding

NAMED = 10


def clean(written: Mapping[str, int], mapping: Mapping[str, str]) -> tuple[dict[str, str], Finding]:
    """What each label becomes: without spaces around it, then as `mapping` renames it; and the finding `labels`.

    The finding is `unsure` where labels had to be trimmed, differ in case alone, or are mapped but never occur.

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
    slips = [f"{name!r} on {count} rows had spaces around it" for name, count in sorted(spaced.items())]
    slips += [
        " and ".join(f"{name!r} ({counts[name]} rows)" for name in names) + " differ in case" for names in variants
    ]
    slips += [f"{name!r} is mapped but on no row{nearest(name, trimmed)}" for name in unused]
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
            "mapped": sum(count for label, count in written.items() if result[label] != label.strip()),
            "unused": unused[:NAMED],
        },
    )


def _sentence(slips: Sequence[str]) -> str:
    more = f"; and {len(slips) - NAMED} more" if len(slips) > NAMED else ""
    return "; ".join(slips[:NAMED]) + more + "."
