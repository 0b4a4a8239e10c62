"""A first look at a source, for `headstart add`: which columns it has, how many rows, which classes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.data import columns as naming
from headstart.data import sources, tables
from headstart.errors import DataError
from headstart.params.data import Columns, Data
from headstart.params.section import Modality

NAMED = 5


@dataclass(frozen=True)
class Look:
    """What a source holds, read once from end to end.

    Attributes:
        columns: names by role (`input`, `label`, `id`, ...) for `data.columns` in `params.yaml`; None where the plain
            name does, or there is none.
        reasons: what was found, a sentence each, for the person who adds the model.
        rows: labelled rows by the source's own split, `none` where it names none.
        unlabelled: how many rows have no label.
        classes: labelled rows by label, in the order of their names.
    """

    columns: dict[str, str | None]
    reasons: list[str]
    rows: dict[str, int]
    unlabelled: int
    classes: dict[str, int]


def propose(source: str, modality: Modality, given: Mapping[str, str | None]) -> Look:
    """What `params.yaml` has to say about a source; columns under other usual names are found.

    Args:
        source: a file, a folder, or `builtin:NAME`.
        modality: what its inputs are.
        given: columns that the user names, by role: `input`, `label`; None or left out where there is no need.

    Raises:
        DataError: if the source cannot be read, or it is not clear which column is meant.
    """
    columns = _columns(source, modality, {role: name for role, name in given.items() if name})
    rows = sources.read(Data(source=source, columns=Columns(**columns)), modality).rows
    labelled = [row for row in rows if row.label and row.label.strip()]
    counts = Counter(str(row.label).strip() for row in labelled)
    splits = dict(Counter(row.split or "none" for row in labelled))
    names = sorted(counts)
    reasons = [
        f"column {name!r} is the {modality if role == 'input' else role}" for role, name in columns.items() if name
    ]
    reasons.append(
        f"{len(labelled)} labelled rows: {', '.join(f'{n} in {s}' for s, n in splits.items() if s != 'none')}"
    )
    if "none" in splits:
        reasons[-1] = f"{len(labelled)} labelled rows without a split: a hash of their group or content decides"
    if len(rows) > len(labelled):
        reasons.append(f"{len(rows) - len(labelled)} rows have no label and are kept apart")
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    reasons.append(f"{len(names)} classes: {', '.join(names[:NAMED])}{more}")
    return Look(columns, reasons, splits, len(rows) - len(labelled), {name: counts[name] for name in names})


def _columns(source: str, modality: Modality, given: Mapping[str, str]) -> dict[str, str | None]:
    """Names for the columns that are not called plainly, by the first file of the source."""
    columns: dict[str, str | None] = dict.fromkeys(Columns.model_fields)
    path = None if source.startswith("builtin:") else sources.locate(source)
    files = [[path]] if path and path.is_file() else list(sources.split_files(path).values()) if path else []
    if not files:
        if given:
            raise DataError(
                f"{source} has no columns, yet {', '.join(map(repr, given.values()))} is named as one.",
                action="Leave --text, --image and --label out: here labels are the names of folders or built in.",
            )
        return columns
    table = tables.read(files[0][0])
    found = naming.propose(list(table.columns), given, modality, str(table.path))
    plain = {role: modality if role == "input" else role for role in found}
    return columns | {role: name for role, name in found.items() if name != plain[role]}
