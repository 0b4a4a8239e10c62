"""The door to MLflow's model registry: versions, and the one alias that decides what is served.

A version holds a bundle, loadable by `mlflow.pyfunc.load_model("models:/NAME@champion")` without this repository.
`champion` is served. `challenger` passed its gates and waits. `previous` is read from the champion's tag
`promoted_from`, so promotion and rollback each move one alias, and nobody ever sees half a change.

Every function works on the registry that `headstart.tracking.open` pointed MLflow at.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headstart import shipping
from headstart.contract import spec
from headstart.errors import GateError, OutsideError, UsageError
from headstart.findings import Verdict

CHAMPION, CHALLENGER = "champion", "challenger"
CACHE = Path(".cache/registry")


@dataclass(frozen=True)
class Aliases:
    """What stands where: version numbers, None where nothing does."""

    champion: int | None
    challenger: int | None
    previous: int | None


@dataclass(frozen=True)
class Move:
    """The champion before and after; the same where nothing was to be done."""

    before: int | None
    after: int


@dataclass(frozen=True)
class Version:
    """What is known of one version.

    Attributes:
        since: when it last became champion, else when it was registered; ISO 8601, UTC.
        rolled_back: when it was last rolled back; empty if it never was.
    """

    version: int
    verdict: Verdict
    reasons: str
    contract: str
    metrics: Mapping[str, Any]
    since: str
    rolled_back: str
    promoted_from: int | None
    run_id: str


def register(
    model: str,
    bundle: Path,
    *,
    run_id: str,
    verdict: Verdict,
    reasons: Sequence[str],
    metrics: Mapping[str, Any],
    tags: Mapping[str, str],
) -> int:
    """Keep a judged bundle as a version; one that passed gets the alias `challenger`. Returns the version.

    The same bundle again (by its manifest) is the same version, with the new judgement: a flow that was killed in
    between may simply run again.

    Args:
        model: its name in the registry.
        bundle: a sealed folder.
        run_id: the run that made it, from `tracking.log_run`.
        verdict: of all gates together.
        reasons: why it failed or is unsure, a sentence each.
        metrics: {name: {`value`, `low`, `high`, `n`}}, shown by `status`.
        tags: git commit, whether the tree was clean, data revision.

    Raises:
        BundleError: if the folder has no manifest or no golden examples.
        OutsideError: if MLflow refuses or cannot be reached.
    """
    contract = spec.read(bundle)
    judged = {
        **tags,
        "verdict": verdict,
        "reasons": "\n".join(reasons),
        "metrics": json.dumps(metrics, sort_keys=True),
        "contract": contract.hash,
        "contract_input": contract.input_hash,
        "contract_labels": contract.labels_hash,
        "bundle": shipping.manifest_hash(bundle),
    }
    number = find(model, bundle)
    with _speaking(model) as client:
        if number is None:
            if _or_none(lambda: client.get_registered_model(model)) is None:
                client.create_registered_model(model)
            source, model_id = shipping.upload(bundle, contract.modality, run_id)
            entry = client.create_model_version(model, source=source, run_id=run_id, tags=judged, model_id=model_id)
            number = int(entry.version)
        else:
            for key, value in judged.items():
                client.set_model_version_tag(model, str(number), key, value)
        current = aliases(model)
        if verdict == "pass" and number != current.champion:
            client.set_registered_model_alias(model, CHALLENGER, str(number))
        elif number == current.challenger:
            client.delete_registered_model_alias(model, CHALLENGER)
    return number


def find(model: str, bundle: Path) -> int | None:
    """The version that holds exactly this bundle, or None."""
    wanted = shipping.manifest_hash(bundle)
    with _speaking(model) as client:
        found = client.search_model_versions(f"name = '{model}' AND tag.bundle = '{wanted}'")
    return max((int(entry.version) for entry in found), default=None)


def aliases(model: str) -> Aliases:
    """What stands where; all None for a model that was never registered."""
    with _speaking(model) as client:
        found = _aliases(client, model)
        champion = found.get(CHAMPION)
        previous = _describe(client, model, champion).promoted_from if champion else None
    challenger = found.get(CHALLENGER)
    return Aliases(champion, None if challenger == champion else challenger, previous)


def describe(model: str, version: int) -> Version:
    """What is known of a version.

    Raises:
        UsageError: if the model has no such version.
    """
    with _speaking(model) as client:
        return _describe(client, model, version)


def status(model: str) -> dict[str, Any]:
    """`champion`, `challenger`, `previous`: each None or {`version`, `contract`, `metrics`, `since`}."""
    current = aliases(model)
    return {
        "champion": _summary(model, current.champion),
        "challenger": _summary(model, current.challenger),
        "previous": _summary(model, current.previous),
    }


def promote(model: str, version: int | None = None, *, reason: str | None = None) -> Move:
    """Make a version champion: tag where it comes from, then move the one alias. Twice is the same as once.

    Args:
        model: its name in the registry.
        version: by default the challenger.
        reason: why a version whose gates did not pass is promoted all the same; recorded as tag `overridden`.

    Raises:
        UsageError: if there is no such version, or none was named and there is no challenger.
        GateError: if the version's verdict is not `pass` and no reason is given.
    """
    current = aliases(model)
    target = version if version is not None else current.challenger
    if target is None:
        raise UsageError(
            f"{model} has no challenger to promote.",
            action=f"Name a version (headstart promote {model} VERSION), or make one: headstart run {model}.",
        )
    chosen = describe(model, target)
    if chosen.verdict != "pass" and not reason:
        raise GateError(
            f"{model} version {target} may not become champion; its gates said {chosen.verdict}: {chosen.reasons}",
            action="Mend what the gates name and run again, or override them with a reason, which is recorded.",
        )
    if target == current.champion:
        return Move(target, target)
    tags = {"promoted_from": str(current.champion or ""), **({"overridden": reason} if reason else {})}
    _crown(model, target, tags)
    if target == current.challenger:
        with _speaking(model) as client:
            client.delete_registered_model_alias(model, CHALLENGER)
    return Move(current.champion, target)


def rollback(model: str) -> Move:
    """Make the champion's predecessor champion again, in one move of the alias.

    Raises:
        UsageError: if there is no champion, or it had no predecessor.
    """
    current = aliases(model)
    if current.champion is None or current.previous is None:
        raise UsageError(
            f"{model} has no version to go back to: "
            + (f"version {current.champion} is its first champion." if current.champion else "it has no champion."),
            action=f"Promote another version by its number: headstart promote {model} VERSION.",
        )
    with _speaking(model) as client:
        client.set_model_version_tag(model, str(current.champion), "rolled_back", _now())
    _crown(model, current.previous, {})
    return Move(current.champion, current.previous)


def download(model: str, which: int | str = CHAMPION, *, cache: Path = CACHE) -> Path:
    """The bundle of a version or an alias as a local folder, not yet verified (`Predictor.load` does that).

    An embedded registry's own folder is answered; a server's files are fetched once a version, whole or not at all.

    Raises:
        UsageError: if there is no such version or alias.
        OutsideError: if the files cannot be fetched.
    """
    with _speaking(model) as client:
        number = which if isinstance(which, int) else _aliases(client, model).get(which)
        if number is None:
            raise UsageError(
                f"{model} has no {which}.",
                action=f"Make one with `headstart run {model}`; `headstart status` shows what stands where.",
            )
        _describe(client, model, number)
        return shipping.fetch(str(client.get_model_version_download_uri(model, str(number))), cache / model)


@contextlib.contextmanager
def _speaking(model: str) -> Iterator[Any]:
    """An MLflow client; what MLflow refuses becomes a sentence, what it prints goes to standard error."""
    import mlflow
    from mlflow.exceptions import MlflowException

    if not mlflow.tracking.is_tracking_uri_set():
        raise RuntimeError("headstart.tracking.open(workspace) comes first: the registry has no address yet")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield mlflow.MlflowClient()
    except MlflowException as error:
        raise OutsideError(
            f"the registry refused what was asked about {model}: {error.message}",
            action="See `headstart doctor` for its address and whether it answers.",
        ) from error


def _or_none(ask: Callable[[], Any]) -> Any:
    """What the registry answers, None where it has no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _aliases(client: Any, model: str) -> dict[str, int]:
    entry = _or_none(lambda: client.get_registered_model(model))
    return {alias: int(version) for alias, version in entry.aliases.items()} if entry else {}


def _describe(client: Any, model: str, version: int) -> Version:
    entry = _or_none(lambda: client.get_model_version(model, str(version)))
    if entry is None:
        raise UsageError(f"{model} has no version {version}.", action="See `headstart status` for what there is.")
    tags = entry.tags
    registered = datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
    return Version(
        version=version,
        verdict=tags.get("verdict", "unsure"),
        reasons=tags.get("reasons", "it was registered without a judgement"),
        contract=tags.get("contract", ""),
        metrics=json.loads(tags.get("metrics", "{}")),
        since=tags.get("since", registered),
        rolled_back=tags.get("rolled_back", ""),
        promoted_from=int(tags["promoted_from"]) if tags.get("promoted_from") else None,
        run_id=entry.run_id or "",
    )


def _summary(model: str, version: int | None) -> dict[str, Any] | None:
    if version is None:
        return None
    known = describe(model, version)
    return {"version": version, "contract": known.contract, "metrics": dict(known.metrics), "since": known.since}


def _crown(model: str, version: int, tags: Mapping[str, str]) -> None:
    """Write the tags first: they mean nothing until the alias moves, and then they are already there."""
    with _speaking(model) as client:
        for key, value in {**tags, "since": _now()}.items():
            client.set_model_version_tag(model, str(version), key, value)
        client.set_registered_model_alias(model, CHAMPION, str(version))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
