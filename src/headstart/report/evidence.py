"""Everything one run left behind, read once from the files its stages and its release wrote.

A run that was stopped half way has only some of them; what is absent is None here and said on the page.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from headstart import artifacts
from headstart.determinism import file_digest
from headstart.errors import DataError
from headstart.evaluation import screen as gate
from headstart.report import finding_words, formats, quarantine
from headstart.report.quarantine import Quarantined

Document = Mapping[str, Any]
STAGES = ("prepare", "plan", "train", "export", "evaluate", "seal")
SPLITS = ("train", "validation", "test")
NEWEST = {"plan.json": formats.PLAN, "history.json": formats.HISTORY, "evaluation.json": 4, "backbone.json": 2}
"""Newest formats where that is not 1; older documents are shown without what they lack."""


@dataclass(frozen=True)
class Evidence:
    """One model's run; every document is as its stage wrote it.

    Attributes:
        params: stage -> the parameters `resolve` gave it.
        timing: stage -> seconds, peak memory and parts; a measurement, the only one that changes between runs.
        rows: split -> number of examples.
        compared: what `headstart compare` found for today's data and parameters; None where it did not run for them.
        findings: of the source, the prepared data and the backbone, in this order.
        quarantine: what each check put aside, most first; None where nothing was prepared.
        payloads: id of a mistaken example -> its text, or its encoded image.
        libraries: `name==version` of what can change a number.
        manifest: SHA-256 of the bundle's manifest.
        absent: paths of documents that are not there.
    """

    model: str
    judgement: Document | None
    run: Document | None
    plan: Document | None
    history: Document | None
    compared: Document | None
    screen: Document | None
    evaluation: Document | None
    calibration: Document | None
    contract: Document | None
    backbone: Document | None
    source: Document | None
    lineage: Document | None
    findings: tuple[Document, ...]
    quarantine: tuple[Quarantined, ...] | None
    rows: Mapping[str, int]
    payloads: Mapping[str, str | bytes]
    params: Mapping[str, Document]
    timing: Mapping[str, Document]
    libraries: tuple[str, ...]
    manifest: str | None
    absent: tuple[str, ...]


def gather(model: str) -> Evidence:
    """What the current workspace's files say about `model`'s latest run.

    Raises:
        DataError: if not one stage of this model has run, or a document is of a newer format.
    """
    reader = _Reader()
    data, plan, train, export, evaluate, bundle = (
        artifacts.stage_output(model, stage) for stage in ("data", "plan", "train", "export", "evaluate", "bundle")
    )
    params = _params(model)
    evaluation = reader.json(evaluate / "evaluation.json")
    source = reader.json(artifacts.raw(model) / "source.json")
    backbone = _backbone(params, reader)
    manifest = file_digest(path) if (path := bundle / "MANIFEST.json").is_file() else None
    evidence = Evidence(
        model=model,
        judgement=_judgement(reader.json(artifacts.release(model) / "judgement.json"), manifest),
        run=reader.json(artifacts.release(model) / "run.json", expected=False),
        plan=_current(formats.plan, reader.json(plan / "plan.json")),
        history=_current(formats.history, reader.json(train / "history.json")),
        compared=_compared(model, reader),
        screen=_screen(reader.json(train / "screen.json"), reader.json(export / "override.json", expected=False)),
        evaluation=evaluation,
        calibration=reader.json(evaluate / "calibration.json"),
        contract=reader.json(data / "contract" / "contract.json"),
        backbone=backbone,
        source=source,
        lineage=reader.json(bundle / "lineage.json", expected=False),
        findings=_findings(source, reader.json(data / "findings.json"), backbone),
        quarantine=tuple(quarantine.read(path, [], 1)) if (path := data / "quarantine.parquet").is_file() else None,
        rows={split: _rows(path) for split in SPLITS if (path := data / f"{split}.parquet").is_file()},
        payloads=_payloads(data / "test.parquet", (evaluation or {}).get("mistakes", ())),
        params=params,
        timing={stage: document for stage in STAGES if (document := reader.timing(model, stage))},
        libraries=_libraries(),
        manifest=manifest,
        absent=tuple(reader.absent),
    )
    if not (evidence.rows or evidence.plan or evidence.history or evaluation):
        raise DataError(
            f"no stage of {model} has run here: {data.parent} holds neither data nor plan nor evaluation.",
            action=f"Run it first: headstart run {model}.",
        )
    return evidence


def _current(reader: Callable[[Document], Document], document: Document | None) -> Document | None:
    return None if document is None else reader(document)


def _compared(model: str, reader: "_Reader") -> Document | None:
    """The comparison of strategies, if it was made from the plan that lies here."""
    document: Document | None = reader.json(artifacts.comparison(model) / "compare.json", expected=False)
    plan = artifacts.stage_output(model, "plan") / "plan.json"
    return document if document and plan.is_file() and document["plan"] == file_digest(plan) else None


def _screen(screen: Document | None, override: Document | None) -> Document | None:
    """What the screen said; its verdict is `overridden` where what it refused was exported for a reason."""
    if screen is None:
        return None
    told = {**screen, "findings": finding_words.all_told(screen["findings"])}
    if override is None or override["candidate"] != gate.candidate(screen):
        return told
    return {**told, "verdict": "overridden", "override": override["reason"]}


class _Reader:
    """Reads JSON documents and notes which are not there."""

    def __init__(self) -> None:
        self.absent: list[str] = []

    def json(self, path: Path, *, expected: bool = True) -> Any:
        if not path.is_file():
            if expected:
                self.absent.append(path.as_posix())
            return None
        document = artifacts.read_json(path)
        version = document.get("format", artifacts.FORMAT) if isinstance(document, dict) else artifacts.FORMAT
        newest = NEWEST.get(path.name, artifacts.FORMAT)
        if version > newest:
            raise DataError(
                f"{path} has format {version}, this headstart reads up to {newest}.",
                action="Upgrade headstart, or write the file again with headstart run.",
            )
        return document

    def timing(self, model: str, stage: str) -> Document | None:
        document: Document | None = self.json(artifacts.timing(model, stage), expected=False)
        return document


def _judgement(document: Document | None, manifest: str | None) -> Document | None:
    """The judgement, if it is about the bundle that lies here and not about an earlier one."""
    return None if document is None or document.get("bundle", manifest) != manifest else document


def _findings(*documents: Any) -> tuple[Document, ...]:
    """Findings that stand as a list or under `findings`; of two for one check, the later document's."""
    found: dict[str, Document] = {}
    for document in documents:
        listed = document.get("findings", ()) if isinstance(document, dict) else document or ()
        found |= {finding["check"]: finding for finding in finding_words.all_told(listed)}
    return tuple(found.values())


def _params(model: str) -> dict[str, Document]:
    paths = {stage: artifacts.stage_params(model, stage) for stage in STAGES}
    return {stage: yaml.safe_load(path.read_text("utf-8")) for stage, path in paths.items() if path.is_file()}


def _backbone(params: Mapping[str, Document], reader: _Reader) -> Document | None:
    """`backbone.json` of the backbone named in the parameters, with its name and where it came from."""
    name = next((section["backbone"] for section in params.values() if "backbone" in section), None)
    if name is None:
        return None
    document = reader.json(artifacts.backbone(name) / "backbone.json")
    path = artifacts.stage_params(name, "backbone")
    asked = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    pretrained = f"pretrained here: {asked['pretrain']['recipe']}" if asked.get("pretrain") else None
    return {**(document or {}), "name": name, "source": asked.get("source") or pretrained}


def _libraries() -> tuple[str, ...]:
    """Versions noted in the stages' code files; lines without `==` are our own modules."""
    paths = [artifacts.stage_code(stage) for stage in STAGES]
    lines = [line for path in paths if path.is_file() for line in path.read_text("utf-8").splitlines()]
    return tuple(sorted({line for line in lines if "==" in line}))


def _rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def _payloads(path: Path, mistakes: Sequence[Document]) -> dict[str, str | bytes]:
    """Raw inputs of the mistaken examples; a test set has far more rows than a page needs."""
    if not mistakes or not path.is_file():
        return {}
    column = "text" if "text" in pq.read_schema(path).names else "image"
    wanted = [mistake["id"] for mistake in mistakes]
    table = pq.read_table(path, columns=["id", column], filters=[("id", "in", wanted)])
    return dict(zip(table["id"].to_pylist(), table[column].to_pylist(), strict=True))
