"""The door to DVC: the order of stages and what is stale, in one call; one stage run; a folder recorded.

DVC looks at a stage's own files only: below a stale stage everything looks fresh until that stage has run,
so a flow asks `is_stale` again at each stage it reaches.
"""

import logging
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headstart import artifacts
from headstart.errors import HeadstartError, OutsideError
from headstart.params.workspace import Params
from headstart.stages import errors_of, revive


@dataclass(frozen=True)
class Step:
    """One stage of one owner (a model or a backbone), as `train@digits`."""

    name: str
    stale: bool

    @property
    def stage(self) -> str:
        return self.name.partition("@")[0]

    @property
    def owner(self) -> str:
        return self.name.partition("@")[2]


def plan(params: Params, models: Collection[str], *, until: str | None = None) -> list[Step]:
    """The stages of `models` and of the backbones they stand on, in an order that DVC's graph allows.

    `until` ends the list after that stage of each model.
    """
    import networkx as nx

    backbones = {params.models[name].backbone for name in models}
    with _repo() as repo:
        graph = repo.index.graph.reverse(copy=True)
        ordered = [stage.addressing for stage in nx.lexicographical_topological_sort(graph, key=_address)]
        wanted = [name for name in ordered if _belongs(name, models, backbones)]
        if until:
            last = {f"{until}@{name}" for name in models}
            needed = {
                ancestor.addressing
                for stage in graph
                if stage.addressing in last
                for ancestor in (*nx.ancestors(graph, stage), stage)
            }
            wanted = [name for name in wanted if name in needed]
        stale = repo.status(targets=wanted) if wanted else {}
    return [Step(name, name in stale) for name in wanted]


def is_stale(name: str) -> bool:
    """Whether a stage's own parameters, code, inputs or outputs differ from what DVC noted."""
    with _repo() as repo:
        return bool(repo.status(targets=[name]))


def run(name: str) -> None:
    """Run one stage through DVC, which notes what went in and came out in `dvc.lock`.

    Raises:
        HeadstartError: the very refusal of the stage, if it refused; OutsideError if it was killed or failed.
    """
    stage, _, owner = name.partition("@")
    try:
        with _repo() as repo:
            repo.reproduce(name, single_item=True)
    except OutsideError as error:
        raise _refusal(owner, stage) or OutsideError(
            f"stage {name} did not finish. {error.message}",
            action="Read what it printed above; run it again to go on from its last checkpoint.",
        ) from error


def record(folder: Path) -> str:
    """Record a folder as a DVC revision (`dvc add`); the MD5 that names it."""
    with _repo() as repo:
        [stage] = repo.add(str(folder))
        return str(stage.outs[0].hash_info.value)


def revision(folder: Path) -> str:
    """The MD5 by which DVC knows a recorded folder."""
    [out] = yaml.safe_load(folder.with_name(f"{folder.name}.dvc").read_text(encoding="utf-8"))["outs"]
    return str(out["md5"])


def push() -> int:
    """Copy what the remote lacks; how many files went."""
    with _repo() as repo:
        return int(repo.push())


def _belongs(name: str, models: Collection[str], backbones: Collection[str]) -> bool:
    stage, _, owner = name.partition("@")
    return owner in backbones if stage == "backbone" else owner in models and bool(owner)


def _address(stage: Any) -> str:
    return str(stage.addressing)


def _refusal(owner: str, stage: str) -> HeadstartError | None:
    path = errors_of(owner, stage)
    return revive(artifacts.read_json(path)) if path.is_file() else None


@contextmanager
def _repo() -> Iterator[Any]:
    """DVC's repository in the working directory, quiet, with our own interpreter first on PATH."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    here = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != here:
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
    _fit_to_git(Path.cwd())
    try:
        with Repo() as repo:
            yield repo
    except DvcException as error:
        raise OutsideError(
            f"DVC could not do what was asked: {error.__cause__ or error}.",
            action="`dvc status` and `dvc doctor` say more; the next run goes on where this one was.",
        ) from error


def _fit_to_git(root: Path) -> None:
    """A workspace need not be a git repository: DVC is told so in its local configuration."""
    local, alone = root / ".dvc" / "config.local", "[core]\n    no_scm = true\n"
    if (root / ".git").exists():
        if local.is_file() and local.read_text() == alone:
            local.unlink()
    elif not local.is_file():
        local.write_text(alone)
