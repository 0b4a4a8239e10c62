"""Flow `monitoring`: the steps of `looks` as Prefect tasks, with what only a Prefect server can keep or pass on."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed

from headstart.settings import Workspace
from pipelines import looks, notify, world
from pipelines.states import ALERT


@flow(name="monitoring")
def monitoring(models: list[str] | None = None, now: str | None = None, charts: bool = False) -> State[Any]:
    """Watch some models or all; the result is the verdict by model.

    A verdict is a result: the flow ends as Completed, or as Alert where any window is one.

    Raises:
        HeadstartError: the gravest failure of any model, after all the others have been looked at.
    """
    verdicts = looks.watched(world.workspace(), models, now, charts=charts, take=as_task, tell=(tell, show))
    name = ALERT if "alert" in verdicts.values() else "Completed"
    return Completed(name=name, message=looks.said(verdicts), data=verdicts)


def as_task(step: looks.Step, workspace: Workspace, name: str, *arguments: Any) -> Any:
    """Take a step for a model as a task; a decision is the task's state."""

    called = "notify" if step in (notify.look, notify.rolled) else step.__name__

    @task(name=called, task_run_name=f"{called} {name}", cache_policy=NO_CACHE)
    def taken(*arguments: Any) -> Any:
        result = step(workspace, name, *arguments)
        if isinstance(result, looks.Decision):
            return Completed(name="Started" if result.started else "Not started", message=f"{name}: {result.reason}")
        if isinstance(result, notify.Delivery):
            return Completed(name=result.state, message=f"{name}: {result.said}")
        return result

    return taken(*arguments)


def tell(workspace: Workspace, name: str, document: looks.Document) -> None:
    """An event for each alert, which Prefect's automations can pass on to people."""
    if document["verdict"] == "alert":
        emit_event(
            "headstart.alert",
            resource={"prefect.resource.id": f"headstart.model.{name}"},
            payload={
                "model": name,
                "verdict": document["verdict"],
                "causes": [entry["cause"] for entry in document["causes"]],
                "remedy": document["remedy"],
                "page": document.get("page"),
            },
        )


def show(workspace: Workspace, name: str, document: looks.Document) -> None:
    """The findings as a table in Prefect, and a link to the page."""
    key = name.replace("_", "-")
    create_table_artifact(
        key=f"monitor-{key}",
        table=[{column: row[column] for column in ("check", "verdict", "reason")} for row in document["findings"]],
        description=f"{name}: {document['verdict']}, {document['window']['rows']} answers",
    )
    if "page" in document:
        create_link_artifact(
            key=f"monitor-page-{key}", link=Path(document["page"]).as_uri(), link_text=f"{name}'s window"
        )
