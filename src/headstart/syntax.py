"""The package's own code as hashes: what an edit changes in the result, and not how it is worded.

Comments, layout, docstrings and the arguments of exceptions are left out: an edited message makes nothing stale.
"""

import ast
from functools import cache
from pathlib import Path

import headstart
from headstart.determinism import digest

PACKAGE = Path(headstart.__file__).parent
HARMLESS = {"headstart", "headstart.errors", "headstart.settings", "headstart.stages"}  # no result hangs on these


def digests(start: str) -> tuple[dict[str, str], set[str]]:
    """The digest of each of our modules that `start` runs, by name, and the top-level names of everything else."""
    modules, libraries = closure(start)
    return {name: _module(name)[2] for name in sorted(modules - HARMLESS)}, libraries


def closure(start: str) -> tuple[set[str], set[str]]:
    """Our modules that the module `start` imports, directly or not, and the top-level names of everything else."""
    ours, others, waiting = set[str](), set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name in ours:
            continue
        ours.add(name)
        if name in HARMLESS:
            continue
        inside, outside, _ = _module(name)
        waiting += inside
        others |= outside
    return ours, others


class _WithoutWords(ast.NodeTransformer):
    """Takes out docstrings, and what is passed to exceptions: those that are raised, and those made to be raised."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._undocumented(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._undocumented(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._undocumented(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._undocumented(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name.endswith("Error"):
            node.args, node.keywords = [], []
        return self.generic_visit(node)

    def _undocumented(self, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
        return self.generic_visit(node)


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a string alone: a docstring, also one below a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@cache
def _module(name: str) -> tuple[frozenset[str], frozenset[str], str]:
    """Our modules that it imports, the top-level names of other ones, and SHA-256 (hex) of its code without words."""
    file = _file(name)
    assert file is not None, name
    tree = ast.parse(file.read_text(encoding="utf-8"))
    inside, outside = set[str](), set[str]()
    for node in ast.walk(tree):
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
    return frozenset(inside), frozenset(outside), digest(ast.unparse(_WithoutWords().visit(tree)))


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
