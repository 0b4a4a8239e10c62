"""What a bundle was made from: the hashes that DVC noted for every stage above it."""

from pathlib import Path
from typing import Any

import yaml

from headstart import artifacts
from headstart.params.workspace import STAGES

LOCK = Path("dvc.lock")


def lineage(last: str) -> dict[str, Any]:
    """Stages from raw data to `last`, each with the MD5 of what went in and came out, by path."""
    stages = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]
    maker = {out["path"]: name for name, stage in stages.items() for out in stage.get("outs", [])}
    result: dict[str, Any] = {}
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name in result or name == "resolve":
            continue
        deps = {dep["path"]: dep["md5"] for dep in stages[name].get("deps", [])}
        outs = {out["path"]: out["md5"] for out in stages[name].get("outs", [])}
        result[name] = {"command": stages[name]["cmd"], "deps": deps, "outs": outs}
        waiting += [maker[path] for path in deps if path in maker]
    return {"format": artifacts.FORMAT, "stages": result}


def resolved_params(model: str) -> str:
    """The parameters of the model's stages as one YAML document, as `resolve` wrote them."""
    values = {stage: yaml.safe_load(artifacts.stage_params(model, stage).read_text("utf-8")) for stage in STAGES}
    return yaml.safe_dump({"format": artifacts.FORMAT, **values}, sort_keys=True, allow_unicode=True)
