"""The model card: what a version was made from, how good it is, where it is weak, and what its backbone allows.

It is written at release, beside the bundle and not inside: the bundle is a stage's output, and a sentence worded anew
would make every stage that writes it stale, and the same inputs other bytes. It says nothing of the version's standing,
which changes; only of the version.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from headstart import artifacts
from headstart.report import selection, vocabulary, words
from headstart.report.data_page import TITLES
from headstart.report.evidence import Evidence, gather
from headstart.report.plots import percent
from headstart.report.templates import environment
from headstart.statistics.interval import wilson

Document = Mapping[str, Any]
NOT_STATED = "not stated"
LEVEL = 0.95  # of the intervals of classes, where evaluate's is not known
CLASSES = 30  # that are listed, weakest first
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
METRICS = {"accuracy": "accuracy", "macro_f1": "macro-F1", "nll": "log loss", "ece": "calibration error"}


@dataclass(frozen=True)
class Part:
    """One part of the card: paragraphs, and a table (its first row is the header) or none."""

    title: str
    paragraphs: Sequence[str]
    table: Sequence[Sequence[str]] = ()


def write(model: str, *, revision: str, intended_use: str | None = None) -> list[Path]:
    """Write `card.md` and `card.html` beside the run's page; where they are.

    Args:
        model: its name.
        revision: of its data, as DVC names it.
        intended_use: what the user says that the model is for.
    """
    evidence = gather(model)
    found = parts(evidence, revision=revision, licence=licence(evidence.backbone), intended_use=intended_use)
    paths = [artifacts.release(model) / name for name in ("card.md", "card.html")]
    for path, text in zip(paths, (markdown(model, found), html(model, found)), strict=True):
        artifacts.write_text(path, text)
    return paths


def parts(evidence: Evidence, *, revision: str, licence: str, intended_use: str | None) -> list[Part]:
    """What the card says, whichever way it is written."""
    return [
        Part("Model", [words.summary(evidence)]),
        Part("Intended use", [intended_use or "Not stated: release.intended_use in params.yaml is empty."]),
        _data(evidence, revision),
        _training(evidence),
        _metrics(evidence),
        _slices(evidence),
        _limits(evidence),
        _backbone(evidence, licence),
        _identity(evidence),
    ]


def markdown(model: str, found: Sequence[Part]) -> str:
    """The card as Markdown; what comes from data cannot become markup."""
    lines = [f"# Model card: {_plain(model)}"]
    for part in found:
        lines += ["", f"## {part.title}"]
        for paragraph in part.paragraphs:
            lines += ["", _plain(paragraph)]
        if part.table:
            header, *rows = part.table
            lines += ["", _line(header), _line(["---"] * len(header)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def html(model: str, found: Sequence[Part]) -> str:
    """The card as a page of its own; everything is escaped."""
    page = environment().get_template("card.html").render(name=model, parts=found)
    return page.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be written


def licence(backbone: Document | None) -> str:
    """The licence that the backbone's own package or folder names; `not stated` where it names none.

    A package names it in its metadata, a folder in its README's front matter, else in the first line of LICENSE. Files
    of the hub's other than a backbone's own are not fetched.
    """
    source = str((backbone or {}).get("source") or "")
    if source.startswith("pretrained here"):
        return "pretrained here from fonts that matplotlib ships, under the licences of DejaVu and STIX"
    if source.startswith("hub:"):
        return f"{NOT_STATED} in the files that were fetched; the page of {source.removeprefix('hub:')} says it"
    if source.startswith("package:"):
        return _of_package(source.removeprefix("package:"))
    return _of_folder(Path(source).expanduser()) if source else NOT_STATED


def _of_package(package: str) -> str:
    try:
        about = metadata.metadata(package).json
    except metadata.PackageNotFoundError:
        return NOT_STATED
    classifiers = [line.rpartition(" :: ")[2] for line in about.get("classifier", ()) if line.startswith("License ::")]
    named = str(about.get("license_expression") or about.get("license") or ", ".join(classifiers)).strip()
    return named.splitlines()[0] if named else NOT_STATED


def _of_folder(folder: Path) -> str:
    readme = folder / "README.md"
    front = FRONT_MATTER.match(readme.read_text("utf-8", "replace")) if readme.is_file() else None
    if front:
        try:
            about = yaml.safe_load(front[1])
        except yaml.YAMLError:
            about = None
        if isinstance(about, dict) and about.get("license"):
            return str(about["license"])
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE"):
        if (folder / name).is_file():
            lines = (folder / name).read_text("utf-8", "replace").split("\n")
            return next((line.strip("# \t") for line in lines if line.strip("# \t")), NOT_STATED)
    return NOT_STATED


def _data(evidence: Evidence, revision: str) -> Part:
    source = evidence.source or {}
    aside = sum(one.count for one in evidence.quarantine or ())
    sizes = ", ".join(f"{rows:,} {split}" for split, rows in evidence.rows.items())
    said = [f"Source: {source.get('source', NOT_STATED)}. Revision: {revision or NOT_STATED}.", f"Rows: {sizes}."]
    if aside:
        said.append(f"{aside:,} rows were put aside by checks.")
    worth = [one for one in evidence.findings if one["verdict"] != "pass"]
    if worth:  # without their reasons, which quote rows: a card goes farther than the page
        named = "; ".join(f"“{TITLES.get(one['check']) or vocabulary.title(one['check'])}”" for one in worth)
        said.append(f"Checks that did not pass: {named}. The page about the data says why.")
    return Part("Data", said)


def _training(evidence: Evidence) -> Part:
    if evidence.history is None:
        return Part("Training", ["Training has not run."])
    kept = selection.kept(evidence.history)
    meaning = vocabulary.MEANINGS.get(kept["strategy"], "")
    return Part("Training", [f"Strategy: {kept['label']}. {meaning}".strip(), selection.reason(evidence.history)])


def _metrics(evidence: Evidence) -> Part:
    if evidence.evaluation is None:
        return Part("Metrics", ["Nothing was measured."])
    rows = [("metric", "value", f"{_level(evidence):.0%} interval", "test examples")]
    for name, found in evidence.evaluation["metrics"].items():
        shown = (f"{found[key]:.3f}" for key in ("value", "low", "high"))
        value, low, high = shown
        rows.append((METRICS.get(name, name), value, f"{low} to {high}", f"{found['n']:,}"))
    for name, found in evidence.evaluation["baselines"].items():
        one = found["accuracy"]
        between = f"{one['low']:.3f} to {one['high']:.3f}"
        label = f"accuracy of the baseline {vocabulary.BASELINES.get(name, name)}"
        rows.append((label, f"{one['value']:.3f}", between, f"{one['n']:,}"))
    return Part("Metrics", ["On the test split and the exported file, after calibration."], rows)


def _slices(evidence: Evidence) -> Part:
    if evidence.evaluation is None:
        return Part("Slices", ["Nothing was measured."])
    level = _level(evidence)
    classes = sorted(evidence.evaluation["per_class"], key=lambda one: (one["f1"], one["label"]))
    rows = [("class", "recall", f"{level:.0%} interval", "precision", "F1", "test examples")]
    for one in classes[:CLASSES]:
        n = int(one["support"])
        recall = wilson(min(n, round(one["recall"] * n)), n, level)
        between = f"{percent(recall.low)} to {percent(recall.high)}"
        figures = (percent(one["recall"]), between, percent(one["precision"]), f"{one['f1']:.3f}", f"{n:,}")
        rows.append((one["label"], *figures))
    left = len(classes) - CLASSES
    said = ["By class, weakest F1 first. No other slices were measured."]
    if evidence.evaluation.get("groups"):
        said.append("Examples of one group count as independent here, so these intervals are too narrow.")
    return Part("Slices", [*said, *([f"{left:,} stronger classes are left out."] if left > 0 else [])], rows)


def _limits(evidence: Evidence) -> Part:
    names = words.class_names(evidence)
    said = [f"It answers one of {len(names)} classes, whatever it is asked; an input of no class gets one, too."]
    limits = (evidence.params.get("prepare") or {}).get("limits") or {}
    if words.modality(evidence) == "text" and limits.get("tokens"):
        said.append(f"Of a text it reads the first {limits['tokens']:,} tokens.")
    judged = evidence.judgement or {}
    open_gates = [one for one in judged.get("findings", ()) if one["verdict"] != "pass"]
    said += [f"{vocabulary.title(one['check'])}: {one['verdict']}. {one['reason']}" for one in open_gates]
    if judged and not open_gates:
        said.append(f"All {len(judged['findings'])} gates passed.")
    said.append("It was measured on data like its test split; headstart monitor says when production is unlike it.")
    return Part("Limits", said)


def _backbone(evidence: Evidence, licensed: str) -> Part:
    backbone = evidence.backbone or {}
    rows = [("what", "value")]
    rows += [("name", str(backbone.get("name", NOT_STATED))), ("source", str(backbone.get("source") or NOT_STATED))]
    rows.append(("licence", licensed))
    rows += [(f"SHA-256 of {name}", digest) for name, digest in sorted((backbone.get("files") or {}).items())]
    return Part("Backbone", ["The licence is what its source names, and nobody has read it for you."], rows)


def _identity(evidence: Evidence) -> Part:
    rows = [("what", "value"), ("bundle, SHA-256 of its manifest", evidence.manifest or NOT_STATED)]
    hashes = (evidence.contract or {}).get("hash") or {}
    rows += [(f"contract hash, {key}", str(value)) for key, value in sorted(hashes.items())]
    return Part("Identity", [], rows)


def _level(evidence: Evidence) -> float:
    return float((evidence.params.get("evaluate") or {}).get("level", LEVEL))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(text: str) -> str:
    """One line in which Markdown and HTML find nothing to interpret."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(text.split()))
