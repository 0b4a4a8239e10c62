"""What a stage's code amounts to: one hash of the syntax it can reach and the libraries that can change a number.

An edited comment, message or monitor leaves the hash alone; an upgrade of tokenizers does not.
DVC itself looks at files only (treeverse/dvc#9195), so stages depend on the text that `describe` returns.
"""

from importlib.metadata import version

from headstart.determinism import NUMERIC
from headstart.syntax import digests


def describe(stage: str) -> str:
    """A line a module reached from `headstart.stages.<stage>` and a line a numeric library, sorted."""
    modules, libraries = digests(f"headstart.stages.{stage}")
    lines = [f"{name} {digest}" for name, digest in modules.items()]
    lines += [f"{NUMERIC[name]}=={version(NUMERIC[name])}" for name in sorted(libraries & set(NUMERIC))]
    return "\n".join(lines) + "\n"
