"""The door to DVC: the order of stages and what is stale, in one call; one stage run; a folder recorded.

DVC looks at a stage's own files only: below a stale stage everything looks fresh until that stage has run,
so a flow asks `is_stale` again at each stage it reaches.
"""

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headstart import artifacts
from headstart.errors import HeadstartError, OutsideError, UsageError
from headstart.params.workspace import Params
from headstart.stages import FLOW, errors_of, recovery, revive


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
    """The stages of `models` and of the backbones they stand on, in an order that DVC's graph allows, model by model.

    `until` ends the list after that stage of each model.
    """
    import networkx as nx

    backbones = {params.models[name].backbone for name in models}
    with _repo() as repo:
        graph = repo.index.graph.reverse(copy=True)
        turn = _turns(params, models)
        ordered = [
            stage.addressing
            for stage in nx.lexicographical_topological_sort(
                graph, key=lambda stage: (turn(stage.addressing), stage.addressing)
            )
        ]
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
        with _repo() as repo, _parent():
            repo.reproduce(name, single_item=True)
        recovery.remember()
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


def restore(folder: Path) -> None:
    """Bring back the files of a folder that is recorded and not here, as in a fresh clone; nothing where it is here.

    Raises:
        UsageError: if neither DVC's cache nor its remote has them.
    """
    if folder.with_name(f"{folder.name}.dvc").is_file() and not folder.is_dir():
        with artifacts.built(folder) as temporary:
            checkout(revision(folder), temporary)


def revision(folder: Path) -> str:
    """The MD5 by which DVC knows a recorded folder."""
    [out] = yaml.safe_load(folder.with_name(f"{folder.name}.dvc").read_text(encoding="utf-8"))["outs"]
    return str(out["md5"])


def digest(folder: Path) -> str:
    """The MD5 by which DVC would know a folder's files as they are, recorded or not."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()  # type: ignore[no-untyped-call]
    for path in folder.rglob("*"):
        if path.is_file():
            content = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            tree.add(path.relative_to(folder).parts, None, HashInfo("md5", content))
    tree.digest()
    return str(tree.hash_info.value)


def revisions(folder: Path) -> list[str]:
    """The MD5s of a recorded folder, oldest first: those its log names, and the one that stands there now."""
    from headstart.data.revisions import history

    known = [entry.revision for entry in history(folder)]
    if folder.with_name(f"{folder.name}.dvc").is_file() and (now := revision(folder)) not in known[-1:]:
        known.append(now)
    return known


def stored(prefix: str) -> list[str]:
    """The MD5s of folders in DVC's cache that begin with `prefix`, of at least four characters."""
    if len(prefix) < 4 or not prefix[:4].isalnum():
        return []
    with _repo() as repo:
        folder = Path(repo.cache.local.path) / prefix[:2]
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [prefix[:2] + name for name in names if name.startswith(prefix[2:]) and name.endswith(".dir")]


def checkout(md5: str, into: Path) -> None:
    """Copy a recorded folder's files, as that revision had them, from DVC's cache or else its remote.

    Args:
        md5: as `record` answered it.
        into: an existing folder.

    Raises:
        UsageError: if neither has all of them.
        OutsideError: if the remote cannot be used.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    wanted = HashInfo("md5", md5)
    with _repo() as repo:
        cache = repo.cache.local
        try:
            if not cache.exists(md5):
                with _remote(repo):
                    repo.cloud.pull([wanted])
            entries = list(Tree.load(cache, wanted))
            if lacking := [info for _, _, info in entries if not cache.exists(info.value)]:
                with _remote(repo):
                    repo.cloud.pull(lacking)
            for key, _, info in entries:
                target = into.joinpath(*key)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(cache.oid_to_path(info.value), target)
        except (FileNotFoundError, ObjectFormatError) as error:
            raise UsageError(
                f"the files of revision {md5} are neither in DVC's cache nor in its remote.",
                action="Push them from the machine that ingested them: dvc push.",
            ) from error


def push() -> int:
    """Copy what the remote lacks; how many files went.

    Raises:
        OutsideError: if the remote cannot be used.
    """
    with _repo() as repo:
        try:
            with _remote(repo):
                return int(repo.push())
        except FileNotFoundError as error:  # a bucket that is not there
            raise _unusable(repo, error) from error


def _belongs(name: str, models: Collection[str], backbones: Collection[str]) -> bool:
    stage, _, owner = name.partition("@")
    return owner in backbones if stage == "backbone" else owner in models and bool(owner)


def _turns(params: Params, models: Collection[str]) -> Callable[[str], int]:
    """When a stage's turn is: of the first model that waits for it, so that none waits for another one's backbone."""
    order = {name: place for place, name in enumerate(models, start=1)}
    first: dict[str, int] = {}
    for name, place in order.items():
        first.setdefault(params.models[name].backbone, place)

    def turn(address: str) -> int:
        stage, _, owner = address.partition("@")
        return (first if stage == "backbone" else order).get(owner, 0)

    return turn


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


@contextmanager
def _remote(repo: Any) -> Iterator[None]:
    """Failures of the remote's store, of which DVC passes on what the store's own library raised, as a sentence.

    A file that is not there is the caller's to judge.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except _of_stores() as error:  # asked for once it has failed: by then the library is imported
        raise _unusable(repo, error) from error


def _of_stores() -> tuple[type[Exception], ...]:
    """What folders and the library for S3 raise, if that was imported."""
    library = sys.modules.get("botocore.exceptions")
    return (OSError, library.BotoCoreError, library.ClientError) if library else (OSError,)


def _unusable(repo: Any, error: Exception) -> OutsideError:
    name = repo.config["core"].get("remote", "")
    url = repo.config["remote"].get(name, {}).get("url", "none")
    return OutsideError(
        f"the DVC remote {name!r} ({url}) cannot be used: {error}.",
        action=f"Check its address (dvc remote modify {name or 'NAME'} url ADDRESS); for S3 also that the bucket is "
        "there, AWS_ENDPOINT_URL, and the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    )


@contextmanager
def _parent() -> Iterator[None]:
    """A stage that DVC starts is this process's own child, and knows it: it dies with its parent.

    DVC starts it by a shell, of which bash hands its place on to the last command; not every `sh` does.
    """
    bash, before = shutil.which("bash"), dict(os.environ)
    if bash:
        os.environ |= {"SHELL": bash, FLOW: str(os.getpid())}
    try:
        yield
    finally:
        for name in ("SHELL", FLOW):
            os.environ.pop(name, None)
            os.environ |= {name: before[name]} if name in before else {}


def _fit_to_git(root: Path) -> None:
    """A workspace need not be a git repository: DVC is told so in its local configuration."""
    local, alone = root / ".dvc" / "config.local", "[core]\n    no_scm = true\n"
    if (root / ".git").exists():
        if local.is_file() and local.read_text() == alone:
            local.unlink()
    elif not local.is_file() or not local.read_text().strip():  # absent, or cut short by a kill
        artifacts.write_text(local, alone)
