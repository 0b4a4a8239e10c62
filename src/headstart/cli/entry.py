"""A model's entry in `params.yaml`: paths as it keeps them, and writing it without touching anything else."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.errors import UsageError
from headstart.params.loader import load

NEAR = 0.8  # of two names, to take one for a slip of the other: `nothere.csv` is no slip of `quote.csv`
ELSEWHERE = ("hub:", "package:", "builtin:", "feedback:", "s3:")


def portable(source: str, root: Path) -> str:
    """A path relative to the workspace where it lies inside, absolute elsewhere; anything else as it is.

    Raises:
        UsageError: if nothing is there, with the nearest name that is.
    """
    if source.startswith(ELSEWHERE) or "://" in source:
        return source
    path = Path(source).expanduser()
    if not path.exists():
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, there, n=1, cutoff=NEAR)
        raise UsageError(
            f"{source} does not exist{'' if path.is_absolute() else f' (looked at {path.resolve()})'}.",
            action=f"Did you mean {path.parent / near[0]}?" if near else "Check the path.",
        )
    resolved = path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(resolved)


def write(path: Path, name: str, entry: dict[str, Any], backbone: str, addition: dict[str, Any] | None) -> None:
    """Write the entry, comments kept; the file is checked before it takes the old one's place.

    Raises:
        ParamsError: if the file would not be usable with the entry; it is left as it was.
    """
    from headstart.cli import yaml_io

    document = yaml_io.loads(path.read_text(encoding="utf-8"))
    if addition:
        document["backbones"][backbone] = addition
    if not document["models"]:  # `{}`, or nothing
        comment = document.ca.items.pop("models", None)
        document["models"] = {}
        if comment and comment[2]:
            document.yaml_set_comment_before_after_key("models", before=comment[2].value.strip().removeprefix("# "))
    if name in document["models"]:
        _update(document["models"][name], entry)
    else:
        document["models"][name] = entry
    with artifacts.replaced(path) as temporary:
        temporary.write_text(yaml_io.dumps(document), encoding="utf-8")
        load(temporary, named=path)


def _update(there: Any, wanted: dict[str, Any]) -> None:
    """Set what differs, key by key, so that comments on the rest stay."""
    for key, value in wanted.items():
        if isinstance(value, dict) and isinstance(there.get(key), dict):
            _update(there[key], value)
        elif there.get(key) != value:
            there[key] = value
