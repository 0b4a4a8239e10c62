"""One version: what is known of it, where its bundle is, what else is kept with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.contract.spec import Contract
from headstart.errors import BundleError, UsageError
from headstart.findings import Verdict
from headstart.registry import shipping
from headstart.registry.client import CHAMPION, PROVISIONAL, aliases_of, location, or_none, speaking

CACHE = Path(".cache/registry")
CONTRACTS = 10  # of a model's newest versions are known to its server
DELETED = "Deleted_Internal"  # MLflow keeps the row of a version that was deleted, in this stage


@dataclass(frozen=True)
class Version:
    """What is known of one version.

    Attributes:
        version: its number.
        verdict: of its gates.
        reasons: why they did not pass, a line each.
        contract: short hash.
        metrics: {name: {`value`, `low`, `high`, `n`}}.
        since: when it last became champion, else when it was registered; ISO 8601, UTC.
        rolled_back: when it was last rolled back; empty if it never was.
        promoted_from: the champion before it; None if there was none or it never was champion.
        run_id: the run that made it.
        overridden: why it was promoted although its gates had not passed; empty if it was not.
        provisional: whether it was promoted for the time being: better than the baseline, but not beyond doubt.
        was_champion: whether it is or once was.
        data_revision: of the data it was made from and tested on; empty where that was not noted.
        bundle: SHA-256 of its bundle's manifest; empty for a version that headstart did not register.
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
    overridden: str = ""
    provisional: bool = False
    was_champion: bool = False
    data_revision: str = ""
    bundle: str = ""


def describe(model: str, version: int) -> Version:
    """What is known of a version.

    Raises:
        UsageError: if the model has no such version.
    """
    known = lookup(model, version)
    if known is None:
        there = ", ".join(map(str, reversed(numbers(model)))) or "none yet"
        raise UsageError(
            f"{model} has no version {version}; it has {there}.",
            action=f"See `headstart status {model}` for what there is.",
        )
    return known


def lookup(model: str, version: int) -> Version | None:
    """What is known of a version; None where it never existed or was deleted in MLflow."""
    with speaking(model) as client:
        entry = or_none(lambda: client.get_model_version(model, str(version)))
    if entry is None or entry.current_stage == DELETED:
        return None
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
        promoted_from=int(tags["promoted_from"]) if tags.get("promoted_from", "").isdecimal() else None,
        run_id=entry.run_id or "",
        overridden=tags.get("overridden", ""),
        provisional=tags.get("promoted") == PROVISIONAL,
        was_champion="since" in tags,
        data_revision=tags.get("data_revision", ""),
        bundle=tags.get("bundle", ""),
    )


def numbers(model: str) -> list[int]:
    """Every version there is, newest first."""
    with speaking(model) as client:
        found = client.search_model_versions(f"name = '{model}'")
    return sorted((int(entry.version) for entry in found if entry.current_stage != DELETED), reverse=True)


def newest(model: str) -> Version | None:
    """The version registered last; None where there is none."""
    found = numbers(model)
    return lookup(model, found[0]) if found else None


def _command(model: str, *, without: Sequence[int | None] = ()) -> str:
    """The command that makes another version champion: the one that was so last, else the newest; empty without any."""
    there = [known for number in numbers(model) if number not in without and (known := lookup(model, number))]
    if not there:
        return ""
    best = max(there, key=lambda known: (known.was_champion, known.since if known.was_champion else "", known.version))
    why = " --reason WHY" if best.verdict != "pass" else ""
    return f"headstart promote {model} {best.version}{why}"


def find(model: str, bundle: Path) -> int | None:
    """The version that holds exactly this bundle, or None.

    Raises:
        BundleError: if the bundle has no manifest.
    """
    wanted = shipping.manifest_hash(bundle)
    with speaking(model) as client:
        found = client.search_model_versions(f"name = '{model}' AND tag.bundle = '{wanted}'")
    return max((int(entry.version) for entry in found), default=None)


def contracts(model: str) -> dict[str, Contract]:
    """The contracts of a model's newest versions, each once, by their short hash; those that cannot be read are absent.

    Only `contract.json` is read of each: a few kilobytes.
    """
    with speaking(model) as client:
        entries = client.search_model_versions(f"name = '{model}'")
        wanted: dict[str, int] = {}
        for entry in sorted(entries, key=lambda entry: -int(entry.version)):
            if entry.current_stage != DELETED and entry.tags.get("contract"):
                wanted.setdefault(entry.tags["contract"], int(entry.version))
        places = {name: location(client, model, number) for name, number in list(wanted.items())[:CONTRACTS]}
    found = {name: shipping.contract(uri) for name, uri in places.items()}
    return {name: one for name, one in found.items() if one is not None and one.hash == name}


def attach(model: str, version: int, path: Path) -> None:
    """Keep a file with the run that made a version; one of the same name is replaced."""
    known = describe(model, version)
    with speaking(model) as client:
        client.log_artifact(known.run_id, str(path))


def download(model: str, which: int | str = CHAMPION, *, cache: Path = CACHE) -> Path:
    """The bundle of a version or an alias as a local folder, compared with what was registered.

    An embedded registry's own folder is answered; a server's files are fetched once a version, whole or not at all.
    Each time, the manifest is held against the version's tag `bundle`, and every file against the manifest: nothing
    that was put in the bundle's place later is ever loaded.

    Args:
        model: its name in the registry.
        which: a version's number, or `champion` or `challenger`.
        cache: where fetched files are kept, inside the workspace.

    Raises:
        UsageError: if there is no such version or alias.
        OutsideError: if the files cannot be fetched.
        BundleError: if they are not what was registered.
    """
    number = which if isinstance(which, int) else resolve(model, which)
    registered = describe(model, number).bundle
    with speaking(model) as client:
        if not registered:
            raise BundleError(
                f"{model} version {number} has no tag `bundle` in the registry: headstart did not register it, and "
                "what it holds cannot be checked.",
                action=f"Register it with headstart: headstart run {model}.",
            )
        uri = location(client, model, number)
        try:
            return shipping.fetch(uri, cache / model, registered=registered)
        except BundleError as error:
            raise BundleError(
                f"{model} version {number}: {error.message}", action=_way_out(model, registered)
            ) from None


def standing(model: str, alias: str = CHAMPION) -> int | None:
    """The version that an alias stands for; None where there is none, or it was deleted in MLflow.

    Two questions to the registry, where `aliases` asks five: servers ask every few seconds.
    """
    with speaking(model) as client:
        number = aliases_of(client, model).get(alias)
    return None if number is None or lookup(model, number) is None else number


def resolve(model: str, alias: str = CHAMPION) -> int:
    """The version that an alias stands for.

    Raises:
        UsageError: if there is none, or it was deleted in MLflow; with the command that makes another version champion.
    """
    with speaking(model) as client:
        number = aliases_of(client, model).get(alias)
    if number is None:
        last = newest(model)
        seen = f"; the gates of version {last.version}, its newest, said {last.verdict}" if last else ""
        why = " --reason WHY" if last and last.verdict != "pass" else ""
        way = f", or promote that one: headstart promote {model} {last.version}{why}" if last else ""
        raise UsageError(f"{model} has no {alias}{seen}.", action=f"Make one: headstart run {model}{way}.")
    if lookup(model, number) is None:
        raise UsageError(dangling(model, alias, number), action=repair(model, without=[number]))
    return number


def dangling(model: str, alias: str, number: int) -> str:
    """The sentence about an alias that points to nothing."""
    return f"the {alias} of {model} is version {number}, which was deleted in MLflow."


def repair(model: str, *, without: Sequence[int | None] = ()) -> str:
    """What to do where the champion, or the version to go back to, is gone."""
    command = _command(model, without=without)
    return f"Make another version champion: {command}." if command else f"Make a new version: headstart run {model}."


def _way_out(model: str, registered: str) -> str:
    """What to do where a registered bundle is damaged: the stage `seal` may still have it."""
    sealed = artifacts.stage_output(model, "bundle")
    if (sealed / "MANIFEST.json").is_file() and shipping.manifest_hash(sealed) == registered:
        restore = f"The bundle that was registered still lies in {sealed.resolve()}: copy its files over those named"
    else:
        restore = "Restore that folder from a backup"
    return (
        f"{restore}; until then go back (headstart rollback {model}) or promote another version "
        f"(headstart promote {model} VERSION)."
    )
