"""Put the files that make a workspace into the wheel, for `headstart init`. The rest stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
TEMPLATE = "headstart/template"


def shared() -> list[str]:
    flows = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "pipelines").glob("*.py"))
    return ["params.yaml", "dvc.yaml", ".dvc/config", ".dvcignore", ".gitignore", *flows]


class WithTemplate(build_py):
    """The repository's own files go below headstart/template; an editable install finds them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in shared():
                target = Path(self.build_lib) / TEMPLATE / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(ROOT / name), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copied = [] if self.editable_mode else [str(Path(self.build_lib) / TEMPLATE / name) for name in shared()]
        return [*super().get_outputs(include_bytecode), *copied]


setup(cmdclass={"build_py": WithTemplate})
