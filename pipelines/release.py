"""Flow `release`: a sealed bundle is judged, registered, promoted if it passed, and reported.

Every step may be repeated: a run that was killed anywhere ends the same when it is started again.
"""

import os
import subprocess
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from headstart import artifacts, bundle, registry, tracking
from headstart.data import dataset
from headstart.errors import GateError
from headstart.evaluation import gates, judgement
from headstart.findings import Finding, overall
from headstart.params.evaluation import Gates
from headstart.params.loader import load
from headstart.params.workspace import Model
from headstart.registry.client import CHAMPION
from headstart.report import card, page, selection
from headstart.serving import rehearsal
from headstart.stages import graph
from pipelines import approval, rollouts, world
from pipelines.states import AWAITING


@flow(name="release")
def release(model: str, seconds: float = 0.0) -> Any:
    """Judge, register and promote, or begin a rollout, as gates and `params.yaml` say; the result: verdict by model."""
    workspace = world.workspace()
    os.chdir(workspace.root)
    params = load(workspace.params).models[model]
    tracking.open(workspace, writing=True)
    sealed = artifacts.stage_output(model, "bundle")
    standing = registry.aliases(model)
    rival = rival_of(model)
    findings = judge(model, params.gates, rival, rehearse(model, params))
    verdict = overall(findings)
    version = register(model, findings, params.model_dump())
    withdrawn = registry.describe(model, version).rolled_back
    provisional = verdict != "pass" and is_provisional(model, version, findings)
    rollout = begin(model, version, params) if verdict == "pass" and not withdrawn else None
    kept = f", {rollout.name}" if rollout else ""
    if (verdict == "pass" or provisional) and not (rollout or params.release.approval or withdrawn):
        try:
            promote(model, version, provisional, standing.champion or standing.missing.get(CHAMPION))
        except GateError as overtaken:  # another became champion than the one it was compared with
            kept = f". {overtaken}"
    artifacts.write_json(
        artifacts.release(model) / "judgement.json",
        {
            "format": artifacts.FORMAT,
            "verdict": verdict,
            "findings": [finding.document() for finding in findings],
            "champion": rival,
            "version": version,
            "bundle": bundle.manifest_hash(sealed),
        },
    )
    current = registry.aliases(model)
    alias = {current.champion: "champion", current.challenger: "challenger"}.get(version)
    result = {
        **run_document(model, findings, version, alias, seconds),
        "rollout": rollout.brief() if rollout else None,
        "live": (live := registry.live(model)),
        "provisional": bool(alias == "champion" and live and live["provisional"]),
        "proposed_bars": proposed_bars(params.gates, artifacts.read_json(sealed / "evaluation.json")),
    }
    artifacts.write_json(artifacts.release(model) / "run.json", result)
    report(model, version, result, params.release.intended_use)
    said = "provisional" if result["provisional"] else verdict
    passed = "Promoted" if alias == "champion" else "Completed"
    if alias == "challenger" and params.release.approval and not (rollout or withdrawn):
        on_page = approval.ask(model, version, standing.champion or standing.missing.get(CHAMPION))
        passed, kept = AWAITING, f"; to approve it: headstart promote {model} {version}{on_page}"
    message = f"version {version}: {said}{f', {alias}' if alias else ''}{kept}"
    return world.conclusion({model: said}, message, passed=passed)


def rival_of(model: str) -> int | None:
    """The version that the bundle is compared with: the champion, deleted or not; None where there is no other.

    A bundle that is champion itself (the flow was killed after it was promoted, or is asked again) is compared with the
    champion before it, where that is still there.
    """
    current = registry.aliases(model)
    champion = current.champion
    if champion is None:
        return current.missing.get("champion")
    if registry.find(model, artifacts.stage_output(model, "bundle")) == champion:
        return current.previous
    return champion


def is_provisional(model: str, version: int, findings: list[Finding]) -> bool:
    """Whether a candidate that did not pass may serve for the time being: no sound champion is there to keep."""
    current = registry.aliases(model)
    if gates.doubt(finding.document() for finding in findings) is None or CHAMPION in current.missing:
        return False
    return current.champion in (None, version) or registry.describe(model, current.champion).provisional


def proposed_bars(params: Gates, evaluation: dict[str, Any]) -> dict[str, float] | None:
    """Bars that a user who has set none may want to set; None where one is set."""
    if (params.accuracy, params.macro_f1, params.calibration_error) != (None, None, None):
        return None
    return gates.proposed_bars(evaluation)


@task(name="rehearse")
def rehearse(model: str, params: Model) -> dict[str, Any]:
    """Ask a server of the sealed bundle, and the bundle itself: hard inputs and the test split."""
    sealed = artifacts.stage_output(model, "bundle")
    test = dataset.read(artifacts.stage_output(model, "data") / "test.parquet")
    return rehearsal.rehearse(model, sealed, test.inputs, params)


@task(name="judge")
def judge(model: str, params: Gates, rival: int | None, served: dict[str, Any]) -> list[Finding]:
    """Replay the golden answers in the sealed bundle, compare with the champion, and ask every gate."""
    champion = None
    if rival is not None:
        there = registry.lookup(model, rival) is not None
        champion = (rival, registry.download(model, rival) if there else None)
    return gates.judge(judgement.gather(model, champion, params, served=served), params)


@task(name="register", retries=2, retry_delay_seconds=5, retry_condition_fn=world.worth_retrying)
def register(model: str, findings: list[Finding], params: dict[str, Any]) -> int:
    """Record the run, and the bundle as a version with its verdict and reasons."""
    sealed = artifacts.stage_output(model, "bundle")
    metrics = artifacts.read_json(sealed / "evaluation.json")["metrics"]
    history = artifacts.read_json(artifacts.stage_output(model, "train") / "history.json")
    training = selection.kept(history)["training"]
    curves = {
        name: [(int(row["epoch"]), float(row[name])) for row in training["epochs"]]
        for name in ("loss", "validation/loss", "validation/accuracy")
        if training
    }
    tags = provenance(model)
    run_id = tracking.log_run(model, params=params, metrics=metrics, series=curves, artifacts=[], tags=tags)
    return registry.register(
        model,
        sealed,
        run_id=run_id,
        verdict=overall(findings),
        reasons=[finding.reason for finding in findings if finding.verdict != "pass"],
        metrics=metrics,
        tags=tags,
        findings=[finding.document() for finding in findings],
        who=world.actor(),
    )


@task(name="begin rollout", retries=2, retry_delay_seconds=5, retry_condition_fn=world.worth_retrying)
def begin(model: str, version: int, params: Model) -> registry.Rollout | None:
    """Let its rollout begin, where `params.yaml` names steps and there is a champion to compare with."""
    return rollouts.begin(model, version, params)


@task(name="promote", retries=2, retry_delay_seconds=5, retry_condition_fn=world.worth_retrying)
def promote(model: str, version: int, provisional: bool, over: int | None) -> None:
    """Move the alias `champion`, unless it stands there already, from the champion that the version was judged over."""
    registry.promote(model, version, provisional=provisional, expected=over, who=world.actor())


@task(name="report")
def report(model: str, version: int, result: dict[str, Any], intended_use: str | None = None) -> None:
    """Write the page people read and the model card, keep both with the run, and show tables in Prefect."""
    path = page.write(model)
    cards = card.write(model, revision=graph.revision(artifacts.raw(model)), intended_use=intended_use)
    for written in (path, *cards):
        registry.attach(model, version, written)
    key = model.replace("_", "-")
    create_table_artifact(
        key=f"metrics-{key}",
        table=[{"metric": name, **value} for name, value in result["metrics"].items()],
        description=f"{model} version {version}: test split, exported file",
    )
    create_table_artifact(
        key=f"gates-{key}",
        table=[{name: gate[name] for name in ("check", "verdict", "reason", "action")} for gate in result["gates"]],
        description=f"{model} version {version}: {result['verdict']}",
    )
    create_link_artifact(key=f"report-{key}", link=path.resolve().as_uri(), link_text=f"report of {model}")


def run_document(
    model: str, findings: list[Finding], version: int, alias: str | None, seconds: float
) -> dict[str, Any]:
    """What `headstart run` prints for a model."""
    evaluation = artifacts.read_json(artifacts.stage_output(model, "bundle") / "evaluation.json")
    history = artifacts.read_json(artifacts.stage_output(model, "train") / "history.json")
    return {
        "strategy": history["kept"],
        "reason": selection.reason(history),
        "metrics": evaluation["metrics"],
        "near_copies": evaluation.get("near_copies"),
        "shares": _shares(evaluation.get("shares")),
        "gates": [finding.document() for finding in findings],
        "verdict": overall(findings),
        "version": version,
        "alias": alias,
        "seconds": seconds,
    }


def _shares(said: dict[str, Any] | None) -> dict[str, Any] | None:
    """Who says at which class shares the model was judged, and on how many rows; None where they are test's own."""
    return (
        None if said is None else {key: said[key] for key in ("origin", "source", "overrules", "rows", "of", "short")}
    )


def provenance(model: str) -> dict[str, str]:
    """Tags that say what a version was made from."""
    changed = _git("status", "--porcelain", "--", ".", ":!dvc.lock", ":!data")
    override = artifacts.stage_output(model, "export") / "override.json"
    return {
        **({"screen_overridden": artifacts.read_json(override)["reason"]} if override.is_file() else {}),
        "git_commit": _git("rev-parse", "HEAD") or "none",
        "git_clean": "unknown" if changed is None else str(not changed).lower(),
        "data_revision": graph.revision(artifacts.raw(model)),
    }


def _git(*arguments: str) -> str | None:
    """What git says, or None where this is no repository."""
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None
    return answer.stdout.strip()
