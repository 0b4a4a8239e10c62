"""Flow `approval`: a candidate that passed waits for a person, without a process or a lock that waits with it.

Where the deployment is served (`python -m pipelines.schedules`), the release starts a run of it, which suspends itself.
Its page in Prefect asks who approves and why; resumed, it promotes. `headstart promote` approves too, and ends it.
"""

import os
import sys
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed

from headstart import registry, tracking
from pipelines import world

NAME = "approval"
PATIENCE_S = 30 * 24 * 3600  # after that the run can be resumed no more; `headstart promote` still approves


class Approval(RunInput):
    """What the page asks for."""

    approve: bool
    name: str
    reason: str = ""


@flow(name=NAME)
def approval(model: str, version: int) -> State[Any]:
    """Wait for a person, then promote a version of a model, or leave it challenger."""
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
    registry.promote(model, version, reason=reason or None, approval=True, who=world.actor(given.name))
    return Completed(name="Approved", message=f"by {given.name}: version {version} is champion.")


def ask(model: str, version: int) -> bool:
    """Start a run that waits for a person; False where no such deployment is served."""
    key = f"{NAME}-{model}-{version}"
    try:
        run_deployment(
            f"{NAME}/{NAME}",
            parameters={"model": model, "version": version},
            flow_run_name=key,
            idempotency_key=key,
            timeout=0,
            as_subflow=False,
        )
    except ObjectNotFound:
        return False
    return True


def end(model: str, version: int, who: str) -> None:
    """End the runs that wait for this version, which is champion by now."""
    waiting = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED, StateType.SCHEDULED]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[NAME])), flow_run_filter=FlowRunFilter(state=waiting)
        )
        for run in runs:
            if run.parameters == {"model": model, "version": version}:
                client.set_flow_run_state(run.id, Completed(name="Approved", message=f"by {who}."), force=True)


if __name__ == "__main__":
    end(sys.argv[1], int(sys.argv[2]), sys.argv[3])
