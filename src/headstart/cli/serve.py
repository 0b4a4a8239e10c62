"""`serve`: champions over HTTP."""

import json
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated

import typer

from headstart import settings
from headstart.cli.output import Json, say
from headstart.cli.workspace import chosen, enter
from headstart.errors import OutsideError, UsageError
from headstart.params import operation

OPEN = (
    "anybody who reaches this address may ask, label and read /metrics: no API keys are set; "
    "`headstart key NAME` makes one, HEADSTART_API_KEYS names their file"
)


def serve(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; all when left out.")] = None,
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    as_json: Json = False,
) -> int:
    """Serve champions from the registry until interrupted; a promotion or rollback is followed within seconds.

    A model without a champion is served as soon as it has one. A champion takes requests only if it is the bundle that
    was registered and gives its golden answers; both are checked again each hour. GET /health says what is wrong.

    Where HEADSTART_API_KEYS names a file of keys (`headstart key` makes them), callers need one.

    POST /predict/NAME, /feedback/NAME, /v2/models/NAME/infer; GET /health, /metrics, /docs.
    """
    workspace, params = enter()
    models = chosen(params, names or [])
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port} arrived, a number from 0 to 65535 was expected.")
    from headstart import bundle, registry, tracking
    from headstart.evaluation.gates import replay
    from headstart.journal.writer import Journal
    from headstart.registry import quick
    from headstart.serving import server
    from headstart.serving.access import KeyFile
    from headstart.serving.models import LoadedModel
    from headstart.serving.watcher import Rollouts

    tracking.open(workspace)
    _require_journals(workspace, models)

    def champion(name: str) -> int | None:
        try:
            found = quick.live(workspace.tracking_uri, name)
        except quick.UnknownError:
            return registry.standing(name)
        return found["version"] if found else None

    def load(name: str) -> LoadedModel:
        version = champion(name)
        if version is None:  # it was taken away since
            raise UsageError(f"{name} has no champion to serve.", action=f"Make one: headstart run {name}.")
        return load_version(name, version)

    def load_version(name: str, version: int) -> LoadedModel:
        folder = registry.download(name, version)
        earlier = registry.contracts(name)
        return LoadedModel.open(name, version, folder, difference_allowed=replay.DIFFERENCE, earlier=earlier)

    def registered(name: str, version: int) -> str:
        return bundle.manifest_hash(registry.download(name, version))

    _require_one(models, registry.resolve)
    named = settings.api_keys()
    keys = KeyFile(named) if named else None
    key = settings.journal_key(workspace)

    def listening(url: str, answering: Sequence[str]) -> None:
        say(f"serving {', '.join(answering)} at {url} (try {url}/docs; end with Ctrl-C)")
        if not keys and not _is_own(host):
            say(OPEN)
        for line in _features_kept({name: params.models[name].journal for name in models}):
            say(line)
        if as_json:
            print(json.dumps({"url": url, "models": list(answering)}), flush=True)

    server.serve(
        models,
        host=host,
        port=port,
        load=load,
        champion=champion,
        params={name: params.models[name].serve for name in models},
        journals={
            name: Journal(workspace.journal(name), params.models[name].journal, clock=settings.now, key=key)
            for name in models
        },
        listening=listening,
        registered=registered,
        rollouts=Rollouts(
            current=registry.rollout,
            last=registry.last_rollout,
            load=load_version,
            take_back=lambda name, rollout, reason: registry.take_back(
                name, rollout, reason, settings.now(), who=registry.Actor.here("server")
            ),
        ),
        keys=keys,
    )
    return 0


def _require_journals(workspace: settings.Workspace, models: Sequence[str]) -> None:
    for folder in (workspace.journal(name) for name in models):
        if not settings.is_writable(folder):
            raise OutsideError(
                f"the journal's folder {folder} cannot be written, and every answer is kept there.",
                action="Make it writable, or set HEADSTART_JOURNAL to a folder that is.",
            )


def _is_own(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, of which somebody else may know the address
        return False


def _features_kept(params: Mapping[str, operation.Journal]) -> list[str]:
    """What is kept of inputs where raw ones are not, and how to keep nothing; nothing where none is.

    Args:
        params: of the journal, by model.
    """
    names: dict[tuple[int, int], list[str]] = {}
    for name, journal in params.items():
        if journal.features and journal.raw != "sampled":
            names.setdefault((journal.features, journal.raw_days), []).append(name)
    lines = []
    for (most, days), of in names.items():
        answers = f"up to {most:,} answers an hour" if most < operation.EVERY else "all answers"
        kept = f"{days} {'day' if days == 1 else 'days'} ({', '.join(of)})"
        lines.append(f"features of {answers} are kept for {kept}; journal.features: 0 keeps none")
    return lines


def _require_one(models: Sequence[str], resolve: Callable[[str], int]) -> None:
    """Refuse to start where no model has a champion; for each, what came of its newest version, and what to do.

    Raises:
        UsageError: if `resolve` refuses every model.
    """
    refusals: list[UsageError] = []
    for name in models:
        try:
            resolve(name)
            return
        except UsageError as refusal:
            refusals.append(refusal)
    raise UsageError(
        f"nothing can be served: {' '.join(refusal.message for refusal in refusals)}",
        action=" ".join(refusal.action for refusal in refusals),
    )
