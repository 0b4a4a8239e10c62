"""Raw rows to splits a model can be trained and judged on; every row that is not kept stands in the quarantine.

    train.parquet validation.parquet test.parquet    see `data.dataset`
    quarantine.parquet                               the raw columns, with `check` and `reason`
    findings.json                                    what each check found
    summary.json                                     rows by split and class; written last

Nothing here reads the source, the clock or a random generator: the same rows give the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.data import checks, labels, split
from headstart.data import raw as raw_rows
from headstart.data.checks import Examples
from headstart.data.dataset import SPLITS, Dataset
from headstart.data.dataset import write as write_dataset
from headstart.data.identity import content_key
from headstart.data.rows import Row
from headstart.errors import DataError, GateError
from headstart.findings import Finding
from headstart.params.prepare import Prepare
from headstart.params.section import Modality

FORMAT = 1


@dataclass(frozen=True)
class Aside:
    """A row that is in no split: which check put it aside, and why."""

    row: Row
    check: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """What prepare makes of the raw rows: each is in exactly one of the three splits and the quarantine.

    Attributes:
        train: what is learned from.
        validation: what is tuned and calibrated on.
        test: what is published.
        quarantine: what was put aside, in the order of the raw rows.
        findings: one a check; `leak` is the only one that can fail.
        classes: the labels of train, sorted.
        carved: splits that the source lacks and that were made here.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    quarantine: list[Aside]
    findings: list[Finding]
    classes: list[str]
    carved: list[str]

    @property
    def splits(self) -> dict[str, Dataset]:
        """The three data sets by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def prepare(raw: Path, params: Prepare, *, decodes: Callable[[Any], str | None]) -> Prepared:
    """Clean labels, assign splits and put aside what must not be trained or judged on.

    A leak above the share allowed is a finding that fails, with the later checks left out: `write` it for people to
    read, then `judge` stops the run.

    Args:
        raw: the folder that ingest wrote.
        params: splits, checks, limits and the label map.
        decodes: why the contract refuses a payload, or None where it takes it: `checks.by_contract(spec)`.

    Raises:
        DataError: if the raw data is of the other modality, has one class only, or a split comes out empty.
    """
    source = raw_rows.read(raw)
    if source.modality != params.modality:
        raise DataError(
            f"{raw} holds {source.modality}, the model is for {params.modality}.",
            action="Mend modality or data.source in params.yaml, and run again.",
        )
    names, label_finding = labels.clean([str(row.label) for row in source.rows], params.labels)
    keys = [content_key(row.input) for row in source.rows]
    given = [row.split for row in source.rows]
    assigned = split.assign([row.group or key for row, key in zip(source.rows, keys, strict=True)], given, params.split)
    rows = [replace(row, label=name, split=home) for row, name, home in zip(source.rows, names, assigned, strict=True)]
    carved = split.carved(given)
    examples = Examples(rows, keys, range(len(rows)))
    findings = [*source.findings, label_finding, checks.groups(examples)]
    aside: dict[int, Aside] = {}
    for check in (
        lambda left: checks.unusable(left, params.modality, decodes),
        lambda left: checks.leak(left, params.checks.leaked_share),
        checks.conflicts,
        lambda left: checks.duplicates(left, whole={"test"} - set(carved)),
        checks.unlearnable,
    ):
        reasons, finding = check(examples)
        findings.append(finding)
        aside.update({place: Aside(rows[place], finding.check, reason) for place, reason in reasons.items()})
        examples = examples.without(reasons)
        if finding.verdict == "fail":
            break
    else:
        _require_enough(examples, raw)
        findings.append(checks.rare(examples, params.checks.examples_per_class))
    datasets = [_dataset([rows[place] for place in examples.split(name)], params.modality) for name in SPLITS]
    train, validation, test = datasets
    quarantine = [aside[place] for place in sorted(aside)]
    return Prepared(train, validation, test, quarantine, findings, sorted(set(train.labels)), carved)


def write(prepared: Prepared, out: Path) -> None:
    """Write everything into the folder `out`, the summary last."""
    for name, dataset in prepared.splits.items():
        write_dataset(out / f"{name}.parquet", dataset)
    with artifacts.replaced(out / "quarantine.parquet") as temporary:
        pq.write_table(_quarantine(prepared.quarantine, prepared.train.modality), temporary, compression="zstd")
    artifacts.write_json(out / "findings.json", [finding.document() for finding in prepared.findings])
    artifacts.write_json(out / "summary.json", summary(prepared))


def summary(prepared: Prepared) -> dict[str, Any]:
    """Rows by split, by class and by reason for being put aside, as plain JSON values."""
    counts = {name: Counter(dataset.labels) for name, dataset in prepared.splits.items()}
    return {
        "format": FORMAT,
        "modality": prepared.train.modality,
        "classes": prepared.classes,
        "rows": {name: len(dataset) for name, dataset in prepared.splits.items()},
        "per_class": {label: {name: count[label] for name, count in counts.items()} for label in prepared.classes},
        "carved": prepared.carved,
        "quarantined": len(prepared.quarantine),
        "quarantined_by": dict(Counter(aside.check for aside in prepared.quarantine)),
    }


def judge(findings: Sequence[Finding]) -> None:
    """Stop a run whose data must not be trained on.

    Raises:
        GateError: with the reason of each finding that fails, and the documents of all.
    """
    if failed := [finding for finding in findings if finding.verdict == "fail"]:
        reasons = " ".join(f"{finding.check}: {finding.reason}" for finding in failed)
        documents = [finding.document() for finding in findings]
        raise GateError(f"the data may not be trained on. {reasons}", action=failed[0].action, findings=documents)


def _require_enough(examples: Examples, raw: Path) -> None:
    """Refuse an empty split, and a single class."""
    counts = {name: len(examples.split(name)) for name in SPLITS}
    if empty := [name for name, count in counts.items() if not count]:
        raise DataError(
            f"{raw} leaves no row for {' and '.join(empty)}: {len(examples.rows)} rows came, {len(examples.at)} could "
            f"be used, and {', '.join(f'{count} are in {name}' for name, count in counts.items())}.",
            action="Label more rows, or raise prepare.split in params.yaml.",
        )
    found = {examples.rows[place].label for place in examples.split("train")}
    if len(found) == 1:
        raise DataError(
            f"all {counts['train']} training rows of {raw} have the label {found.pop()!r}; two classes are the least.",
            action="Check data.columns.label in params.yaml, and the label map under prepare.labels.",
        )


def _dataset(rows: Sequence[Row], modality: Modality) -> Dataset:
    return Dataset(
        modality,
        [str(row.id) for row in rows],
        [str(row.label) for row in rows],
        [row.input for row in rows],
        [row.group for row in rows],
        [row.time for row in rows],
    )


def _quarantine(aside: Sequence[Aside], modality: Modality) -> pa.Table:
    table = raw_rows.table([item.row for item in aside], modality, labels=True)
    table = table.append_column("check", pa.array([item.check for item in aside], pa.string()))
    return table.append_column("reason", pa.array([item.reason for item in aside], pa.string()))
