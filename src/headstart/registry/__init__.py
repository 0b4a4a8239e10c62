"""The door to MLflow's model registry: versions, and the one alias that decides what is served.

A version holds a bundle, loadable by `mlflow.pyfunc.load_model("models:/NAME@champion")` without this repository.
`champion` is served. `challenger` passed its gates and waits. `previous` is read from the champion's tag
`promoted_from`, so promotion and rollback each move one alias, and nobody ever sees half a change.

Every function works on the registry that `headstart.tracking.open` pointed MLflow at.
"""

from headstart.registry.champion import Aliases, aliases, live, status
from headstart.registry.ledger import Actor
from headstart.registry.moves import Move, promote, register, rollback, settle, unfinished
from headstart.registry.rollouts import (
    Rollout,
    advance_rollout,
    begin_rollout,
    end_rollout,
    last_rollout,
    restart_rollout,
    rollout,
    take_back,
)
from headstart.registry.shipping import require_registered
from headstart.registry.versions import (
    Version,
    attach,
    contracts,
    describe,
    download,
    find,
    lookup,
    resolve,
    standing,
)

__all__ = [
    "Actor",
    "Aliases",
    "Move",
    "Rollout",
    "Version",
    "advance_rollout",
    "aliases",
    "attach",
    "begin_rollout",
    "contracts",
    "describe",
    "download",
    "end_rollout",
    "find",
    "last_rollout",
    "live",
    "lookup",
    "promote",
    "register",
    "require_registered",
    "resolve",
    "restart_rollout",
    "rollback",
    "rollout",
    "settle",
    "standing",
    "status",
    "take_back",
    "unfinished",
]
