"""Stage `resolve`: params.yaml and code -> artifacts/params/<owner>/<stage>.yaml, artifacts/code/<stage>.txt.

It always runs and takes a moment: what it writes is all that other stages depend on besides their data. A model that
has no cures yet gets empty ones, since stages depend on them.
"""

from pathlib import Path
from typing import Any

import yaml

from headstart import artifacts
from headstart.data import cures
from headstart.params.loader import load
from headstart.params.workspace import STAGES, Params
from headstart.stages.code import describe

PARAMS = Path("artifacts/params")


def resolve(params: Params) -> None:
    """Write each stage's own parameters and code file; files that are as they were are left untouched."""
    wanted: dict[Path, str] = {}
    for name, backbone in params.backbones.items():
        wanted[artifacts.stage_params(name, "backbone")] = _yaml(backbone.model_dump())
    for name, model in params.models.items():
        for stage in STAGES:
            wanted[artifacts.stage_params(name, stage)] = _yaml(getattr(model, stage).model_dump())
    for stage in ("backbone", *STAGES):
        wanted[artifacts.stage_code(stage)] = describe(stage)
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            artifacts.write_text(path, text)
    for name in params.models:
        cures.ensure(name)
    for path in PARAMS.rglob("*.yaml"):
        if path not in wanted:
            path.unlink()


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump({"format": artifacts.FORMAT, **values}, sort_keys=True, allow_unicode=True)


if __name__ == "__main__":
    resolve(load(Path("params.yaml")))
