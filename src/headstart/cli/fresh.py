"""Is anything new? Sources, DVC and the registry are asked before a server is started or a library imported."""

from collections.abc import Sequence

from headstart import artifacts, bundle
from headstart.errors import UsageError
from headstart.params.workspace import Params
from headstart.settings import Workspace


def stale_models(workspace: Workspace, params: Params, models: Sequence[str]) -> list[str]:
    """The models whose last run is not what a run now would give."""
    from headstart.stages.resolve import resolve

    resolve(params)
    candidates = [name for name in models if _sources_unchanged(params, name) and _concluded(name)]
    if not candidates:
        return list(models)
    from headstart.stages import graph

    owners = {step.owner for step in graph.plan(params, candidates) if step.stale}
    fresh = {name for name in candidates if not owners & {name, params.models[name].backbone}}
    fresh = {name for name in fresh if _registered(workspace, name)}
    return [name for name in models if name not in fresh]


def _sources_unchanged(params: Params, name: str) -> bool:
    """Whether the quick marks of the model's data and of its backbone are those of the last fetch."""
    from headstart.backbones import fetch
    from headstart.data import ingest

    model = params.models[name]
    backbone = artifacts.fetched_backbone(model.backbone)
    return fetch.is_current(params.backbones[model.backbone], backbone) and ingest.is_current(
        model.modality, model.data, artifacts.raw(name)
    )


def _concluded(name: str) -> bool:
    """Whether the last run reached its end, with the bundle that lies here now."""
    outcome, folder = artifacts.release(name) / "outcome.json", artifacts.stage_output(name, "bundle")
    if not outcome.is_file() or not (folder / "MANIFEST.json").is_file():
        return False
    return bool(artifacts.read_json(outcome)["bundle"] == bundle.manifest_hash(folder))


def _registered(workspace: Workspace, name: str) -> bool:
    """Whether the registry still has the version that the last run made."""
    from headstart.registry import quick

    version = artifacts.read_json(artifacts.release(name) / "run.json")["version"]
    if (known := quick.holds(workspace.tracking_uri, name, version)) is not None:
        return known
    from headstart import registry, tracking

    tracking.open(workspace)
    try:
        registry.describe(name, version)
    except UsageError:
        return False
    return True
