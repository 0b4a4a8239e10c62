"""What a stage's code amounts to: one hash of the syntax it can reach and the libraries that can change a number.

A comment, a docstring or a monitor's edit leaves the hash alone; an upgrade of tokenizers does not.
DVC itself looks at files only (treeverse/dvc#9195), so stages depend on the text that `describe` returns.
"""

import ast
from functools import cache
from importlib.metadata import version
from pathlib import Path

import headstart
from headstart.determinism import NUMERIC, digest

PACKAGE = Path(headstart.__file__).parent
HARMLESS = {"headstart", "headstart.errors", "headstart.settings", "headstart.stages"}


def describe(stage: str) -> str:
    """A line a module reached from `headstart.stages.<stage>` and a line a numeric library, sorted."""
    modules, libraries = _closure(f"headstart.stages.{stage}")
    lines = [f"{name} {_syntax_digest(name)}" for name in sorted(modules - HARMLESS)]
    lines += [f"{NUMERIC[name]}=={version(NUMERIC[name])}" for name in sorted(libraries & set(NUMERIC))]
    return "\n".join(lines) + "\n"


def _closure(start: str) -> tuple[set[str], set[str]]:
    """Our modules that `start` imports, directly or not, and the top-level names of everything else."""
    ours, others, waiting = set[str](), set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name in ours:
            continue
        ours.add(name)
        if name in HARMLESS:
            continue
        inside, outside = _imports(name)
        waiting += inside
        others |= outside
    return ours, others


@cache
def _imports(name: str) -> tuple[frozenset[str], frozenset[str]]:
    inside, outside = set[str](), set[str]()
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            targets = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for target in targets:
            if target.split(".")[0] != "headstart":
                outside.add(target.split(".")[0])
            elif _file(target):
                inside |= {target, *_parents(target)}
    return frozenset(inside), frozenset(outside)


def _parents(name: str) -> list[str]:
    """Packages whose `__init__` runs when `name` is imported."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _file(name: str) -> Path | None:
    place = PACKAGE.joinpath(*name.split(".")[1:])
    for file in (place / "__init__.py", place.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _tree(name: str) -> ast.Module:
    file = _file(name)
    assert file is not None, name
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _syntax_digest(name: str) -> str:
    """SHA-256 of a module's code without docstrings; comments and layout are no syntax."""
    tree = _tree(name)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = body[1:] or [ast.Pass()]
    return digest(ast.unparse(tree))
