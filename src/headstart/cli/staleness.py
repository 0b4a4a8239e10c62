"""Is anything new? Sources, DVC and the registry are asked before a server is started or a library imported."""

from collections.abc import Callable, Sequence

from headstart import artifacts, bundle
from headstart.errors import BackboneError, DataError, HeadstartError, UsageError
from headstart.params.workspace import Params
from headstart.settings import Workspace


def stale_models(workspace: Workspace, params: Params, models: Sequence[str]) -> list[str]:
    """The models whose last run is not what a run now would give; all of them while another run is at work."""
    from headstart.stages.lock import free

    with free(workspace.state) as alone:
        return _stale(params, models, lambda name: _released(workspace, params, name)) if alone else list(models)


def unbuilt_models(workspace: Workspace, params: Params, models: Sequence[str], *, until: str) -> list[str]:
    """The models for which a run that ends after the stage `until` would change something; as `stale_models`."""
    from headstart.stages.lock import free

    with free(workspace.state) as alone:
        return _stale(params, models, lambda name: True, until=until) if alone else list(models)


def _stale(
    params: Params, models: Sequence[str], ended: Callable[[str], bool], *, until: str | None = None
) -> list[str]:
    from headstart.stages import graph, recovery
    from headstart.stages.resolve import resolve

    recovery.recover()
    for name in params.models:
        graph.restore(artifacts.cures(name))
    resolve(params)
    alone = len(models) == 1
    candidates = [
        name
        for name in models
        if _cures_as_recorded(name, alone=alone) and _sources_unchanged(params, name, alone=alone) and ended(name)
    ]
    if not candidates:
        return list(models)
    owners = {step.owner for step in graph.plan(params, candidates, until=until) if step.stale}
    fresh = {name for name in candidates if not owners & {name, params.models[name].backbone}}
    return [name for name in models if name not in fresh]


def _cures_as_recorded(name: str, *, alone: bool) -> bool:
    """Whether the model's cures are the recorded ones or changed here; those that `git pull` brought are checked out.

    Raises:
        UsageError: if both changed and the model is `alone`.
    """
    from headstart.stages import cures

    try:
        cures.restore(name)
    except UsageError:
        if alone:
            raise
        return False
    return True


def _sources_unchanged(params: Params, name: str, *, alone: bool) -> bool:
    """Whether the quick marks of the model's data and of its backbone are those of the last fetch.

    Raises:
        DataError, BackboneError: if one does not exist and the model is `alone`: no server need be started to say so.
    """
    from headstart.backbones import fetch
    from headstart.data import ingest, reference, sources

    model, raw = params.models[name], artifacts.raw(name)
    spec, fetched = params.backbones[model.backbone], artifacts.fetched_backbone(model.backbone)
    try:
        mark = sources.fingerprint(model.data, model.modality)
        sample = reference.fingerprint(spec.reference, spec.modality) if spec.reference else None
        fetch.fingerprint(spec)  # refuses what does not exist, fetched before or not
        return (
            raw.with_name(f"{raw.name}.dvc").is_file()
            and fetch.is_current(spec, fetched, sample_mark=sample)
            and ingest.is_current(model.modality, model.data, raw, mark=mark)
        )
    except HeadstartError as error:  # a source that is gone: the flow says so, and the other models go on
        if alone and isinstance(error, DataError | BackboneError):
            raise
        return False


def _released(workspace: Workspace, params: Params, name: str) -> bool:
    """Whether the last run reached its end, and the registry has the version it made of the bundle that lies here."""
    from headstart.registry import quick
    from headstart.stages import outcome

    document = outcome.concluded(name, params.models[name])
    if document is None:
        return False
    folder = artifacts.stage_output(name, "bundle")
    try:
        known = quick.find(workspace.tracking_uri, name, bundle.manifest_hash(folder))
    except quick.UnknownError:
        from headstart import registry, tracking

        tracking.open(workspace)
        known = registry.find(name, folder)
    return known is not None and known == int(document["version"])
