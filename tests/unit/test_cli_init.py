"""`headstart init`: a workspace of the repository's own files, never over something that is there."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from headstart import settings
from headstart.cli import template
from headstart.cli.init import init
from headstart.errors import UsageError
from headstart.params.loader import load
from headstart.settings import find_workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path):
    init(tmp_path / "new", as_json=True)
    return tmp_path / "new"


def test_every_file_said_to_be_written_is_there_and_no_other(tmp_path, capsys):
    init(tmp_path / "new", as_json=True)
    said = json.loads(capsys.readouterr().out)
    there = [path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert sorted(said) == sorted(there)
    assert settings.find_workspace(tmp_path / "new").root == tmp_path / "new"


def test_graph_and_flows_are_the_repositorys_own_to_the_byte(workspace):
    names = ["dvc.yaml", ".dvc/config", ".dvcignore", *(f"pipelines/{p.name}" for p in ROOT.glob("pipelines/*.py"))]
    assert all((workspace / name).read_bytes() == (ROOT / name).read_bytes() for name in names)


def test_parameters_are_the_repositorys_with_their_comments_and_without_its_models(workspace):
    ours, theirs = ((folder / "params.yaml").read_text() for folder in (ROOT, workspace))
    head, _, _ = ours.partition("\nmodels:")
    assert theirs == f"{head}\nmodels: {{}}  # {template.MODELS}\n"


def test_a_workspace_without_a_model_loads(workspace):
    params = load(workspace / "params.yaml")
    assert params.models == {}
    assert set(params.backbones) == set(yaml.safe_load((ROOT / "params.yaml").read_text())["backbones"])


def test_the_example_for_continuous_integration_can_be_started(workspace):
    assert (workspace / ".ci/run").stat().st_mode & 0o111


def test_the_readme_of_a_workspace_names_every_file_of_it(workspace):
    text = (workspace / "README.md").read_text()
    for path in workspace.iterdir():
        if path.name == "README.md":
            continue
        assert path.name in text, path.name


def test_a_folder_that_holds_something_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tickets.csv").write_text("text,label\n")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty. It holds\n  - data/\n  - notes.txt\n"):
        init(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "notes.txt"]


def test_a_fresh_git_repository_is_taken(tmp_path):
    (tmp_path / ".git/refs").mkdir(parents=True)
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    assert init(tmp_path) == 0
    assert (tmp_path / ".git/HEAD").is_file()


def test_an_init_that_was_cut_short_is_finished_by_the_next(tmp_path, workspace):
    whole = {path.name: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    (workspace / template.RECORD).unlink()
    (workspace / "dvc.yaml").unlink()
    init(workspace)
    assert {path.name: path.read_bytes() for path in workspace.rglob("*") if path.is_file()} == whole


def test_a_workspace_is_refused_and_pointed_to_migrate(workspace):
    with pytest.raises(UsageError, match="is a workspace already") as caught:
        init(workspace)
    assert "headstart migrate" in caught.value.action


def test_inside_another_workspace_is_refused_with_its_folder(workspace):
    with pytest.raises(UsageError, match=f"lies inside the workspace {workspace}"):
        init(workspace / "sub/folder")
    assert not (workspace / "sub").exists()


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a folder was expected"):
        init(tmp_path / "file/below")


def test_outside_a_workspace_the_way_to_make_one_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"is not inside a workspace.*headstart init DIR"):
        find_workspace(tmp_path)


def test_a_program_that_is_not_on_path_is_named_by_its_path(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    init(tmp_path / "new one")
    own = Path(sys.executable).parent / "headstart"
    said = capsys.readouterr().out
    assert said.endswith(f"Next:\n  cd '{tmp_path / 'new one'}'\n  {own} add NAME --data SOURCE\n  {own} run\n")
    assert f"  export PATH={own.parent}:$PATH\n" in said


def test_a_program_on_path_is_named_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    init(tmp_path / "new")
    said = capsys.readouterr().out
    assert said.endswith("  headstart add NAME --data SOURCE\n  headstart run\n")
    assert "export PATH" not in said
