"""How a model's last run ended, and whether a run now would end the same: asked by the command and by the flow."""

from pathlib import Path
from typing import Any

from headstart import artifacts, bundle
from headstart.determinism import digest
from headstart.errors import HeadstartError
from headstart.params.workspace import Model
from headstart.stages import describe


def conclude(name: str, params: Model, error: HeadstartError | None) -> None:
    """Leave word of how a run ended; written last, so its existence means that everything before it was done."""
    artifacts.write_json(
        _file(name),
        {
            "format": artifacts.FORMAT,
            "exit_status": error.exit_status if error else 0,
            "error": describe(error) if error else None,
            "bundle": None if error else _bundle(name),
            "judged_by": _judged_by(params),
        },
    )


def concluded(name: str, params: Model) -> dict[str, Any] | None:
    """The document of the last run (`run.json`), if it judged today's bundle by today's bars; else None."""
    if not _file(name).is_file() or not (artifacts.stage_output(name, "bundle") / "MANIFEST.json").is_file():
        return None
    try:
        last = artifacts.read_json(_file(name))
        if last["bundle"] != _bundle(name) or last.get("judged_by") != _judged_by(params):
            return None
        return dict(artifacts.read_json(artifacts.release(name) / "run.json"))
    except (ValueError, KeyError, TypeError, FileNotFoundError):  # damaged: the release is made again
        return None


def data_page(name: str) -> Path | None:
    """The page about a model's data, if it was written after that data was prepared; else None."""
    page, summary = artifacts.release(name) / "data.html", artifacts.stage_output(name, "data") / "summary.json"
    if not summary.is_file() or not page.is_file() or page.stat().st_mtime_ns <= summary.stat().st_mtime_ns:
        return None
    return page


def _judged_by(params: Model) -> str:
    return digest([params.gates.model_dump(), params.release.model_dump()])


def _bundle(name: str) -> str:
    return bundle.manifest_hash(artifacts.stage_output(name, "bundle"))


def _file(name: str) -> Path:
    return artifacts.release(name) / "outcome.json"
