"""Flow `approval`: a candidate that passed waits for a person, without a process or a lock that waits with it.

Where the deployment is served (`python -m pipelines.schedules`), the release starts a run of it, which suspends itself.
Its page in Prefect asks who approves and why; resumed, it promotes, unless another version became champion than the one
the candidate was compared with. `headstart promote` approves too, and ends it; so does the next challenger.
"""

import os
import sys
from typing import Any
from uuid import uuid4

import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import Field

from headstart import registry, tracking
from headstart.errors import GateError
from pipelines import world

NAME = "approval"
PATIENCE_S = 30 * 24 * 3600  # after that the run can be resumed no more; `headstart promote` still approves


class Approval(RunInput):
    """What the page asks for."""

    approve: bool
    name: str = Field(pattern=r"\S")
    reason: str = ""


@flow(name=NAME)
def approval(model: str, version: int, champion: int | None = None) -> State[Any]:
    """Wait for a person, then promote a version of a model, or leave it challenger.

    Args:
        model: its name in the registry.
        version: the candidate.
        champion: the version that the candidate was compared with; None where there was none.
    """
    workspace = world.workspace()
    os.chdir(workspace.root)
    tracking.open(workspace, writing=True)
    if registry.standing(model) == version:
        return Completed(name="Approved", message=f"version {version} is champion already.")
    asked = Approval.with_initial_data(
        description=f"{model} version {version} passed its gates. Is it to become champion?"
    )
    given: Any = suspend_flow_run(wait_for_input=asked, timeout=PATIENCE_S, key=NAME)
    if not given.approve:
        return Completed(name="Declined", message=f"by {given.name}: {given.reason}")
    passed = registry.describe(model, version).verdict == "pass"
    reason = given.reason if passed else None  # an approval is no override of gates that judged it anew
    try:
        registry.promote(
            model,
            version,
            reason=reason or None,
            approval=True,
            approved_by=given.name,
            who=world.actor(),
            expected=champion,
        )
    except GateError as refusal:
        compared = f"version {champion}" if champion is not None else "no champion"
        return Completed(name="Refused", message=f"version {version} was compared with {compared}: {refusal}")
    return Completed(name="Approved", message=f"by {given.name}: version {version} is champion.")


def ask(model: str, version: int, champion: int | None) -> str:
    """Start a run that waits for a person, unless one does, and end those that wait for other versions of the model.

    Returns:
        What to say of it after `to approve it: headstart promote NAME VERSION`; empty where no such deployment is
        served. That Prefect failed is said too: the version is registered, and `headstart promote` approves it.
    """
    parameters = {"model": model, "version": version, "champion": champion}
    name = f"{NAME}-{model}-{version}"
    try:
        asked = False
        for run in _waiting(model):
            if run.parameters == parameters:
                asked = True
            else:
                _complete(run, "Superseded", f"a newer judgement, of version {version}, asks instead.")
        if not asked:
            run_deployment(
                f"{NAME}/{NAME}",
                parameters=parameters,
                flow_run_name=name,
                idempotency_key=f"{name}-{uuid4().hex}",  # of this call, which Prefect's client may repeat
                timeout=0,
                as_subflow=False,
            )
    except ObjectNotFound:
        return ""
    except (httpx.HTTPError, PrefectException, OSError, RuntimeError) as error:
        return f"; its page in Prefect could not be made ({type(error).__name__}: {error})"
    return " or resume its run of the flow approval"


def end(model: str, version: int, who: str) -> None:
    """End the runs that wait for this version, which is champion by now."""
    for run in _waiting(model):
        if run.parameters.get("version") == version:
            _complete(run, "Approved", f"by {who}.")


def _waiting(model: str) -> list[FlowRun]:
    """The runs that wait for a person to decide on a version of the model."""
    waiting = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED, StateType.SCHEDULED]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[NAME])), flow_run_filter=FlowRunFilter(state=waiting)
        )
    return [run for run in runs if run.parameters.get("model") == model]


def _complete(run: FlowRun, name: str, message: str) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Completed(name=name, message=message), force=True)


if __name__ == "__main__":
    end(sys.argv[1], int(sys.argv[2]), sys.argv[3])
