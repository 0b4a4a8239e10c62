"""The tasks that flows share: each touches the world (source, hub, registry, remote) or runs one stage.

Retries stand only on tasks whose failure may pass by itself; a refusal (`HeadstartError`) is never tried again.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Completed
from prefect.tasks import Task

from headstart import artifacts, registry, settings
from headstart.backbones import fetch as backbone_source
from headstart.data import feedback, revisions, sources
from headstart.data import ingest as data_source
from headstart.data import reference as own_domain
from headstart.errors import DataError, HeadstartError, OutsideError
from headstart.journal import reader as journal
from headstart.params.loader import load
from headstart.params.section import Modality
from headstart.params.workspace import Model, Params
from headstart.report import data_change, data_page, plan
from headstart.stages import changes, graph, outcome
from headstart.stages import cures as recorded
from headstart.stages.resolve import resolve as write_resolved
from pipelines import notify as messenger
from pipelines.states import BY_VERDICT


def workspace() -> settings.Workspace:
    """The workspace that these flows belong to."""
    return settings.find_workspace(Path(__file__).parent)


def actor() -> registry.Actor:
    """For the ledger: the account that runs the flow that is running."""
    from prefect.runtime import flow_run

    name = f" ({flow_run.name})" if flow_run.name else ""
    return registry.Actor(settings.account(), f"flow {flow_run.flow_name}{name}", str(flow_run.id or ""))


def conclusion(verdicts: Mapping[str, str], message: str, *, passed: str = "Completed") -> State[Any]:
    """The state a flow ends in: a verdict is a result, so it completes, under a name that says what came out.

    Args:
        verdicts: `pass`, `fail`, `unsure` or `provisional` by model; they are the flow's result.
        message: what Prefect shows beside the name.
        passed: the name where all of them pass.
    """
    found = set(verdicts.values())
    name = next((state for verdict, state in BY_VERDICT.items() if verdict in found), passed)
    return Completed(name=name, message=message, data=dict(verdicts))


def worth_retrying(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure came from outside and may pass."""
    try:
        state.result()  # raises what the task raised
    except (OutsideError, OSError):
        return True
    except Exception:  # noqa: BLE001 - a bug or a refusal: passed on as it is, not tried again
        return False
    return False


@task(name="fetch", retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def fetch(name: str, params: Params) -> str:
    """Bring a backbone, and a sample of its own domain where one is named, and record the revision."""
    spec, folder = params.backbones[name], artifacts.fetched_backbone(name)
    sample = None
    if source := spec.reference:
        mark = own_domain.fingerprint(source, spec.modality)
        sample = backbone_source.Sample(mark, lambda path: own_domain.write(source, spec.modality, path))
    backbone_source.fetch(name, spec, folder, sample=sample)
    return graph.record(folder)


@task(name="ingest", retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def ingest(name: str, params: Params) -> str:
    """Bring a model's examples into `data/raw/` and record the revision."""
    model, folder = params.models[name], artifacts.raw(name)
    mark = sources.fingerprint(model.data, model.modality)
    for asked in feedback.models(model.data):
        _export_feedback(asked, model.modality, params)
    data_source.ingest(name, model.modality, model.data, folder, mark=mark)
    revision = graph.record(folder)
    revisions.note(folder, revision)
    return revision


def _export_feedback(name: str, modality: Modality, params: Params) -> None:
    """Join what the journal keeps of a model's raw inputs with the labels that came, day by day."""
    if name not in params.models:
        known = ", ".join(sorted(params.models))
        raise DataError(
            f"feedback:{name} names no model of this workspace; there are {known}.", action="Mend data.source."
        )
    asked = params.models[name]
    if asked.modality != modality:
        raise DataError(
            f"feedback:{name} is {asked.modality}, the model is for {modality}.", action="Mend data.source."
        )
    folder = workspace().journal(name)
    labels = journal.labels(folder)
    columns = ["request_id", "index", "time", "raw"]
    tomorrow = settings.now() + timedelta(days=1)
    days = [tomorrow - timedelta(days=age) for age in range(asked.journal.raw_days + 1, 0, -1)]
    answers = (
        journal.with_truth(journal.read(folder, start=day, end=day + timedelta(days=1), columns=columns), labels)
        for day in days
    )
    feedback.write(name, modality, answers, policy=asked.journal.raw)


@task(name="cures")
def cures(name: str) -> None:
    """Record the cures in force with DVC, or that there are none any more; those that `git pull` brought come first."""
    recorded.record(name)


@task(name="resolve")
def resolve() -> Params:
    """Check `params.yaml` and write what each stage may depend on; a fresh clone gets its recorded cures back."""
    params = load(workspace().params)
    for name in params.models:
        graph.restore(artifacts.cures(name))
    write_resolved(params)
    return params


@task(name="stage")
def run_stage(name: str) -> Any:
    """Run one stage through DVC (True), or show it as cached where nothing it depends on has changed (a state)."""
    if not graph.is_stale(name):
        return Completed(name="Cached", message=f"{name}: nothing it depends on has changed")
    print(f"  {name}", flush=True)
    graph.run(name)
    return True


@task(name="show data")
def show_data(name: str) -> None:
    """Write the page about a model's data, before anything is trained; left alone where it shows them already."""
    if (artifacts.stage_output(name, "data") / "summary.json").is_file() and outcome.data_page(name) is None:
        data_page.write(name, revision=graph.revision(artifacts.raw(name)))


@task(name="show data change", cache_policy=NO_CACHE)
def show_data_change(name: str, model: Model) -> State[Any]:
    """Show in Prefect what the data's new revision changed, before anything is trained; once for each revision."""
    try:
        change = changes.unseen(name, model.prepare)
    except HeadstartError as error:  # the revision before is gone: today's can be trained on all the same
        return Completed(name="Not compared", message=f"{name}: {error}")
    if change is None:
        return Completed(name="Nothing new", message=f"{name}: no revision that was not compared before")
    said = data_change.summary(name, change)
    create_markdown_artifact(
        key=f"data-change-{name.replace('_', '-')}", markdown=data_change.markdown(name, change), description=said
    )
    data_page.write(name, revision=change["new"]["revision"], diff=change)
    changes.see(name, change)
    return Completed(name="Compared", message=said)


@task(name="show plan")
def show_plan(name: str) -> None:
    """Write the plan's page before the model is trained; left alone where it shows today's plan already."""
    page, document = artifacts.release(name) / "plan.html", artifacts.stage_output(name, "plan") / "plan.json"
    if document.is_file() and not (page.is_file() and page.stat().st_mtime_ns > document.stat().st_mtime_ns):
        plan.write(name)


@task(name="notify", cache_policy=NO_CACHE)
def notify(name: str, model: Model, error: HeadstartError | None) -> State[Any]:
    """Tell people how a training ended; the state says what became of the message."""
    delivery = messenger.trained(workspace(), name, model, error)
    return Completed(name=delivery.state, message=f"{name}: {delivery.said}")


@task(name="push", retries=2, retry_delay_seconds=5, retry_condition_fn=worth_retrying)
def push() -> int:
    """Copy new revisions to the DVC remote; how many files went."""
    return graph.push()
