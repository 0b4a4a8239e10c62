"""Raw rows to splits a model can be trained and judged on; every row that is not kept stands in the quarantine.

    train.parquet validation.parquet test.parquet    see `data.dataset`
    unlabelled.parquet                               see `data.unlabelled`; absent where every row has a label
    quarantine.parquet                               the raw columns, with `check` and `numbers` (JSON): why it is there
    suspects.parquet                                 labels that may be wrong; the stage adds it, not this module
    findings.json                                    what each check found
    near_leak.json                                   the test rows with near copies in train or validation, for scores
                                                     without them: `{format, looked_at, test: [{id, twin, split, ...}]}`
    summary.json                                     rows by split and class; written last

Payloads pass twice, in batches: once to be looked at, once to be written. What is held for each row is a few numbers,
so millions of rows fit. Nothing here reads the source, the clock or a random generator: the same rows give the same
bytes.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart import artifacts
from headstart.data import dataset, unlabelled
from headstart.data import raw as raw_rows
from headstart.data.checks import LEVEL, SEED, metadata, rows, shares, splits
from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples, Inspector, Reasons, batches, read
from headstart.determinism import sample
from headstart.errors import DataError, GateError
from headstart.findings import Finding
from headstart.params.prepare import Prepare
from headstart.params.section import Modality

FORMAT = 1
QUARANTINE = "quarantine.parquet"
NEAR_LEAK = "near_leak.json"
EXAMPLES_PER_CLASS = 8  # training rows; a class with fewer is named
IMBALANCE = 50.0  # training rows of the largest class for each of the smallest; more is named

Inspectors = Callable[[NDArray[np.bool_]], Sequence[Inspector]]


@dataclass(frozen=True)
class Prepared:
    """What prepare made of the raw rows: each is in exactly one of the three splits and the quarantine.

    Attributes:
        folder: where it stands.
        modality: `text` or `image`.
        findings: one a check; `leak` is the only one that can fail.
        classes: the labels of train, sorted.
        summary: rows by split, by class and by reason for being put aside, as plain JSON values.
    """

    folder: Path
    modality: Modality
    findings: list[Finding]
    classes: list[str]
    summary: dict[str, Any]


def prepare(
    raw: Path,
    params: Prepare,
    *,
    out: Path,
    decodes: Callable[[Any], str | None],
    inspectors: Inspectors = lambda chosen: (),
) -> Prepared:
    """Clean labels, assign splits, put aside what must not be trained or judged on, and write it all below `out`.

    A leak above the share allowed is a finding that fails, with the later checks left out: it is written for people to
    read, and `judge` stops the run.

    Args:
        raw: the folder that ingest wrote.
        params: splits, checks, limits and the label map.
        out: an existing folder.
        decodes: why the contract refuses a payload; empty where there is none, None where it takes it:
            `checks.rows.by_contract(spec)`.
        inspectors: the checks that have to see payloads, given which rows are in the sample.

    Raises:
        DataError: if the raw data is of the other modality, has one class only, or a split comes out empty.
    """
    about = raw_rows.meta(raw)
    if about.modality != params.modality:
        raise DataError(
            f"{raw} holds {about.modality}, the model is for {params.modality}.",
            action="Mend modality or data.source in params.yaml, and run again.",
        )
    looking = inspectors(sample(raw_rows.columns(raw, "id")["id"].to_pylist(), params.checks.sample, seed=SEED))
    refused: dict[int, str] = {}

    def see(first: int, payloads: Sequence[Any]) -> None:
        found = {place: decodes(payload) for place, payload in enumerate(payloads, first)}
        refused.update((place, reason) for place, reason in found.items() if reason is not None)
        for inspector in looking:
            inspector.see(first, payloads)

    examples, label_finding = read(raw, params, see)
    carved = examples.carved
    findings = [*about.findings, label_finding, rows.groups(examples)]
    aside: dict[int, tuple[str, dict[str, Any]]] = {}
    near: dict[str, Any] = {"format": FORMAT, "looked_at": 0, "test": []}

    def sort_out(reasons: Reasons, finding: Finding) -> None:
        nonlocal examples
        findings.append(finding)
        for place, reason in reasons.items():
            aside.setdefault(place, (finding.check, reason))  # the first check that says so
        examples = examples.without(reasons)

    sort_out(*rows.unusable(examples, params.modality, refused))
    sort_out(*rows.leak(examples, params.checks.leaked_share))
    if findings[-1].verdict != "fail":
        sort_out(*rows.conflicts(examples))
        sort_out(*rows.duplicates(examples, whole={"test"} - set(carved)))
        for inspector in looking:
            for reasons, finding in inspector.conclude(examples):
                goes = finding.check in params.checks.put_aside
                if finding.check == "near_leak":
                    finding, near = _without_list(finding, goes)
                sort_out(reasons if goes else {}, finding)
        sort_out(*rows.unlearnable(examples))
        _require_enough(examples, raw)
        findings += [
            rows.rare(examples, EXAMPLES_PER_CLASS),
            rows.unjudged(examples),
            rows.imbalance(examples, IMBALANCE),
            shares.between_splits(examples, level=LEVEL, seed=SEED),
            splits.time_order(examples),
            *([splits.carved(examples, carved, params.split)] if carved else []),
            metadata.shortcut(examples, level=LEVEL, seed=SEED),
        ]
    _write(raw, examples, aside, out, params.modality)
    artifacts.write_json(out / NEAR_LEAK, near)
    judges = examples.contents[examples.splits != SPLITS.index("train")]
    if (found := unlabelled.write(raw, out, params.modality, decodes, judges)) is not None:
        findings.append(found)
    classes = [examples.classes[label] for label in np.unique(examples.labels[examples.split("train")])]
    result = Prepared(out, params.modality, findings, classes, _summary(examples, aside, classes, carved, params))
    return write(result)


def write(prepared: Prepared) -> Prepared:
    """Write findings and summary beside the splits, the summary last."""
    artifacts.write_json(prepared.folder / "findings.json", [finding.document() for finding in prepared.findings])
    artifacts.write_json(prepared.folder / "summary.json", prepared.summary)
    return prepared


def judge(findings: Sequence[Finding]) -> None:
    """Stop a run whose data must not be trained on.

    Raises:
        GateError: with the documents of all.
    """
    if any(finding.verdict == "fail" for finding in findings):
        documents = [finding.document() for finding in findings]
        raise GateError("the data may not be trained on.", findings=documents)


def _without_list(finding: Finding, goes: bool) -> tuple[Finding, dict[str, Any]]:
    """The finding `near_leak` without its list of test rows, and the document that holds it.

    Args:
        goes: whether the near copies are put aside, so that no test row has one any more.
    """
    evidence = dict(finding.evidence)
    copied = evidence.pop("test")
    evidence["test_rows"] = len(copied)
    document = {"format": FORMAT, "looked_at": evidence["looked_at"], "test": [] if goes else copied}
    return replace(finding, evidence=evidence), document


def _write(
    raw: Path, examples: Examples, aside: Mapping[int, tuple[str, dict[str, Any]]], out: Path, modality: Modality
) -> None:
    """Every row to the file of its split or to the quarantine, in the order of the raw rows."""
    plain = dataset.schema(modality)
    put_aside = pa.schema(
        [
            ("id", pa.string()), ("label", pa.string()), plain.field(modality), ("group", pa.string()),
            ("time", pa.string()), ("split", pa.string()), ("row", pa.int64()), ("check", pa.string()),
            ("numbers", pa.string()),
        ]
    )  # fmt: skip
    classes, names = pa.array(examples.classes, pa.string()), pa.array(SPLITS, pa.string())
    with ExitStack() as files:
        append = [files.enter_context(dataset.writer(out / f"{name}.parquet", plain)) for name in SPLITS]
        quarantine = files.enter_context(dataset.writer(out / QUARANTINE, put_aside))
        first = 0
        for batch in batches(raw, len(examples), "writing splits"):
            here = slice(first, first + len(batch))
            table = pa.Table.from_batches([batch])
            table = _with(table, "label", classes.take(pa.array(examples.labels[here])))
            table = _with(table, "split", names.take(pa.array(examples.splits[here])))
            kept, home = examples.kept[here], examples.splits[here]
            for position, add in enumerate(append):
                if (mine := kept & (home == position)).any():
                    add(table.filter(pa.array(mine)).select(plain.names).cast(plain))
            if not kept.all():
                found = [aside[first + int(place)] for place in np.flatnonzero(~kept)]
                gone = table.filter(pa.array(~kept)).select(put_aside.names[:-2])
                gone = gone.append_column("check", pa.array([check for check, _ in found], pa.string()))
                numbers = [json.dumps(why, sort_keys=True, ensure_ascii=False) for _, why in found]
                gone = gone.append_column("numbers", pa.array(numbers, pa.string()))
                quarantine(gone.cast(put_aside))
            first += len(batch)


def _with(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _summary(
    examples: Examples,
    aside: Mapping[int, tuple[str, dict[str, Any]]],
    classes: Sequence[str],
    carved: Sequence[str],
    params: Prepare,
) -> dict[str, Any]:
    count = {name: dict(zip(examples.classes, rows.counts(examples, name).tolist(), strict=True)) for name in SPLITS}
    return {
        "format": FORMAT,
        "modality": params.modality,
        "classes": list(classes),
        "rows": {name: len(examples.split(name)) for name in SPLITS},
        "per_class": {label: {name: count[name][label] for name in SPLITS} for label in classes},
        "carved": list(carved),
        "quarantined": len(aside),
        "quarantined_by": dict(Counter(check for _, (check, _) in sorted(aside.items()))),
    }


def _require_enough(examples: Examples, raw: Path) -> None:
    """Refuse an empty split, and a single class."""
    counts = {name: len(examples.split(name)) for name in SPLITS}
    if empty := [name for name, count in counts.items() if not count]:
        raise DataError(
            f"{raw} leaves no row for {' and '.join(empty)}: {len(examples)} rows came, {len(examples.at)} could "
            f"be used, and {', '.join(f'{count} are in {name}' for name, count in counts.items())}.",
            action="Label more rows, or change prepare.split in params.yaml: train gets what its shares leave.",
        )
    found = np.unique(examples.labels[examples.split("train")])
    if len(found) == 1:
        raise DataError(
            f"all {counts['train']} training rows of {raw} have the label {examples.classes[found[0]]!r}; "
            "two classes are the least.",
            action="Check data.columns.label in params.yaml, and the label map under prepare.labels.",
        )
