"""`init`: a new workspace, from the same files as this repository's, so that nobody has to fork it."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import artifacts, settings
from headstart.cli import template
from headstart.cli.output import Json, emit, program
from headstart.errors import UsageError, listed


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder; it may hold .git.")],
    as_json: Json = False,
) -> int:
    """Make a workspace: params.yaml, dvc.yaml, pipelines/ and what goes with them; no model yet."""
    target = directory.expanduser().resolve()
    settings.require_usable(target)
    texts = template.files()
    _refuse_where_taken(target, texts)
    from headstart.determinism import digest
    from headstart.params.loader import FORMAT

    for path, text in texts.items():
        artifacts.write_text(target / path, text)
        if path in template.EXECUTABLE:
            (target / path).chmod(0o755)
    files = {path: digest(text.encode()) for path, text in texts.items() if template.owned(path)}
    artifacts.write_json(target / template.RECORD, {"format": FORMAT, "files": files})
    emit([*texts, template.RECORD], as_json, lambda document: _lines(directory, document))
    return 0


def _refuse_where_taken(target: Path, texts: dict[str, str]) -> None:
    """Only an empty folder is taken, or one in which an `init` was cut short."""
    if (target / template.RECORD).is_file():
        raise UsageError(
            f"{target} is a workspace already.", action="`headstart migrate` lifts it to the installed version."
        )
    if any(parent.is_file() for parent in (target, *target.parents)):
        raise UsageError(f"{target} is or lies below a file, a folder was expected.", action="Name another folder.")
    for parent in target.parents:
        if (parent / "params.yaml").is_file() and (parent / "dvc.yaml").is_file():
            raise UsageError(
                f"{target} lies inside the workspace {parent}.",
                action="Name a folder outside it: workspaces don't nest.",
            )
    if not target.is_dir():
        return
    foreign = [entry for entry in sorted(target.iterdir()) if entry.name != ".git" and not _ours(entry, target, texts)]
    names = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in foreign]
    if names:
        raise UsageError(
            f"{target} is not empty. It holds\n{listed(names)}\n",
            action="Name a new or empty folder, and point at your data from there: headstart add NAME --data PATH.",
        )


def _ours(entry: Path, target: Path, texts: dict[str, str]) -> bool:
    """Whether the file, or every file in the folder, is as `init` writes it."""
    files = (path for path in (entry, *entry.rglob("*")) if path.is_file())
    return all(path.read_bytes() == texts.get(path.relative_to(target).as_posix(), "").encode() for path in files)


def _lines(directory: Path, document: list[str]) -> Any:
    yield f"{directory} is a workspace now:"
    yield from (f"  {path}" for path in document)
    own = program()
    if own != "headstart":
        folder = shlex.quote(str(Path(sys.executable).parent))
        yield "The program `headstart` is not on your PATH. So that the commands in README.md work as they stand there:"
        yield f"  export PATH={folder}:$PATH"
    yield "Next:"
    if Path.cwd() != directory.resolve():
        yield f"  cd {shlex.quote(str(directory))}"
    yield f"  {own} add NAME --data SOURCE"
    yield f"  {own} run"
