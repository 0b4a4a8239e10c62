"""Schema inference for `headstart add`: which columns a source has, how many rows, which classes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.contract.labels import normal
from headstart.data import columns as naming
from headstart.data import labels, sources
from headstart.data.checks.words import counted
from headstart.data.rows import whole_numbers, without_decimal_point
from headstart.errors import DataError
from headstart.params.data import Columns, Data
from headstart.params.section import Modality

NAMED = 5


@dataclass(frozen=True)
class Schema:
    """What a source holds, read once from end to end.

    Attributes:
        columns: names by role (`input`, `label`, `id`, ...) for `data.columns` in `params.yaml`; None where the plain
            name does, or there is none.
        reasons: what was found, a sentence each, for the person who adds the model.
        rows: labelled rows by the source's own split, `none` where it names none.
        unlabelled: how many rows have no label.
        classes: labelled rows by label, in the order of their names.
        respelled: rows of the labels that have to be spelled anew, by what is wrong with them.
    """

    columns: dict[str, str | None]
    reasons: list[str]
    rows: dict[str, int]
    unlabelled: int
    classes: dict[str, int]
    respelled: dict[str, dict[str, int]]


def infer(source: str, modality: Modality, given: Mapping[str, str | None]) -> Schema:
    """What `params.yaml` has to say about a source; columns under other usual names are found.

    Args:
        source: as in `data.source`.
        modality: what its inputs are.
        given: columns that the user names, by role: `input`, `label`; None or left out where there is no need.

    Raises:
        DataError: if the source cannot be read, or it is not clear which column is meant.
    """
    columns = _columns(source, modality, {role: name for role, name in given.items() if name})
    [opened] = sources.open(Data(source=source, columns=Columns(**columns)), modality, payload=False)
    counts, splits, unlabelled = Counter[str](), Counter[str](), 0
    written = Counter[str]()
    for batch in opened.batches:
        for label, split in zip(batch["label"].to_pylist(), batch["split"].to_pylist(), strict=True):
            if label and (name := normal(label)):
                counts[name] += 1
                written[label] += 1
                splits[split or "none"] += 1
            else:
                unlabelled += 1
    if whole_numbers(counts):
        counts = _merged(counts)
    labelled = counts.total()
    names = sorted(counts)
    reasons = [
        f"column {name!r} is the {modality if role == 'input' else role}" for role, name in columns.items() if name
    ]
    shares = ", ".join(f"{count:,} in {split}" for split, count in splits.items() if split != "none")
    reasons.append(f"{counted(labelled, 'labelled row')}: {shares}")
    if "none" in splits:
        reasons[-1] = f"{counted(labelled, 'labelled row')} without a split: a hash of their group or content decides"
    if unlabelled:
        reasons.append(f"{counted(unlabelled, 'row')} without a label, kept apart")
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    reasons.append(f"{len(names)} classes: {', '.join(names[:NAMED])}{more}")
    anew = labels.respelled(written)
    return Schema(columns, reasons, dict(splits), unlabelled, {name: counts[name] for name in names}, anew)


def unlabelled(source: str, modality: Modality, columns: Mapping[str, str | None]) -> str:
    """What a source for `data.unlabelled` holds, as one sentence.

    Args:
        source: as in `data.unlabelled`.
        modality: what its inputs are.
        columns: the model's own `data.columns`, by which it is read too; those left out have their plain name.

    Raises:
        DataError: if the source cannot be read, or lacks the column of the inputs.
    """
    named = Columns(**(dict.fromkeys(Columns.model_fields) | dict(columns)))
    read = Data.model_construct(source=[], unlabelled=source, columns=named)
    [opened] = sources.open(read, modality, payload=False)
    rows = sum(len(batch) for batch in opened.batches)
    return f"{counted(rows, 'row')} in {sources.shown(source)}, whose labels are not looked at"


def _columns(source: str, modality: Modality, given: Mapping[str, str]) -> dict[str, str | None]:
    """Names for the columns that are not called plainly, by the first file of the source."""
    columns: dict[str, str | None] = dict.fromkeys(Columns.model_fields)
    names = sources.first_columns(source)
    if names is None or source.startswith("feedback:"):
        if given:
            raise DataError(
                f"{source} has no columns, yet {', '.join(map(repr, given.values()))} is named as one.",
                action="Leave --text, --image and --label out: here labels are the names of folders or built in.",
            )
        return columns
    found = naming.propose(names, given, modality, sources.shown(source))
    plain = {role: modality if role == "input" else role for role in found}
    return columns | {role: name for role, name in found.items() if name != plain[role]}


def _merged(counts: Counter[str]) -> Counter[str]:
    """Counts of `1.0` and `1` as one."""
    merged: Counter[str] = Counter()
    for label, count in counts.items():
        merged[without_decimal_point(label)] += count
    return merged
