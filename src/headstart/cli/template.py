"""The files of a new workspace. There is one copy of each: the repository's own, which setup.py puts into the wheel."""

from pathlib import Path

import headstart
from headstart.errors import OutsideError

PACKED = Path(headstart.__file__).parent / "template"
SHARED = ("params.yaml", "dvc.yaml", ".dvc/config", ".dvcignore", ".gitignore")  # the repository's root has them too
OWN = ("README.md", ".ci/run")  # a workspace's alone
EXECUTABLE = frozenset({".ci/run"})
RECORD = ".headstart.json"
MODELS = "`headstart add NAME --data SOURCE` fills it"


def files() -> dict[str, str]:
    """The text of every file of a new workspace, by its path in there.

    Raises:
        OutsideError: if this installation has none of them.
    """
    root = PACKED if (PACKED / "dvc.yaml").is_file() else PACKED.parents[2]
    if not (root / "pipelines/__init__.py").is_file():
        raise OutsideError(
            f"the files of a workspace are neither in {PACKED} nor in {root}.",
            action="Install headstart again, from its wheel or from a clone of its repository.",
        )
    flows = [f"pipelines/{path.name}" for path in sorted((root / "pipelines").glob("*.py"))]
    texts = {name: (root / name).read_text(encoding="utf-8") for name in (*SHARED, *flows)}
    texts |= {name: (PACKED / name).read_text(encoding="utf-8") for name in OWN}
    texts["params.yaml"] = without_models(texts["params.yaml"])
    return texts


def owned(path: str) -> bool:
    """Whether a file goes with the installed version, and is no matter of taste: the graph and the flows."""
    return path == "dvc.yaml" or path.startswith("pipelines/")


def without_models(text: str) -> str:
    """`params.yaml` with no model in it; everything else, comments included, stays."""
    from ruamel.yaml.comments import CommentedMap

    from headstart.cli import yaml_io

    document = yaml_io.loads(text)
    models = CommentedMap()
    models.fa.set_flow_style()
    document["models"] = models
    document.yaml_add_eol_comment(MODELS, "models", column=12)
    return yaml_io.dumps(document)
