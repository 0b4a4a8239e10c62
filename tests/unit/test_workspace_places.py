"""A workspace that was moved or copied, lies on a disk that cannot be written, or has an odd path."""

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart import cli, registry, settings, tracking
from headstart.errors import OutsideError, UsageError
from headstart.registry import quick
from headstart.settings import Workspace
from tests.unit.tiny_bundle import text_bundle

pytestmark = pytest.mark.slow

METRICS = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}}


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test opens registries of its own, and leaves MLflow pointing nowhere."""
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, and monkeypatch saw none to put back


def made(root: Path, empty_database: Path) -> Workspace:
    """A workspace with an empty registry."""
    workspace = Workspace(root)
    workspace.state.mkdir(parents=True)
    shutil.copy(empty_database, workspace.embedded_registry)
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).touch()
    return workspace


def registered(workspace: Workspace, bundle: Path) -> int:
    """One version of `pets`, champion, uploaded as a run would."""
    tracking.open(workspace, writing=True)
    run_id = tracking.log_run("pets", params={}, metrics={}, series={}, artifacts=[], tags={})
    number = registry.register(
        "pets", bundle, run_id=run_id, verdict="pass", reasons=[], metrics=METRICS, tags={"git_commit": "abc"}
    )
    registry.promote("pets", number)
    return number


@pytest.fixture(scope="module")
def original(empty_database, tmp_path_factory) -> Path:
    """A workspace with one champion; tests copy or move copies of it."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        workspace = made(folder / "ws", empty_database)
        registered(workspace, text_bundle(folder / "bundle"))
    return workspace.root


def places(workspace: Workspace) -> set[str]:
    """Every folder that MLflow's tables name, but for the experiment `Default`, which nothing uses."""
    with contextlib.closing(sqlite3.connect(workspace.embedded_registry)) as database:
        return {
            value
            for table, column in tracking.PLACES
            for (value,) in database.execute(f"SELECT {column} FROM {table}")
            if value and value.startswith("file:")
        }


@pytest.mark.parametrize("moved", [True, False], ids=["mv", "cp -a"])
def test_a_workspace_that_was_moved_or_copied_just_works(original, tmp_path, moved, caplog):
    if moved:
        shutil.copytree(original, tmp_path / "before" / "ws")
        tracking.open(Workspace(tmp_path / "before" / "ws"))
        shutil.move(tmp_path / "before" / "ws", tmp_path / "after")
    else:
        shutil.copytree(original, tmp_path / "after")
    caplog.clear()
    workspace = Workspace(tmp_path / "after")
    tracking.open(workspace)
    assert [record.message.partition(":")[0] for record in caplog.records if record.name == "headstart.tracking"] == [
        "the registry follows the workspace, which was moved or copied"
    ]
    assert registry.download("pets").is_relative_to(workspace.root)
    assert places(workspace) and all(place.startswith(workspace.state.as_uri()) for place in places(workspace))
    caplog.clear()
    tracking.open(workspace)
    assert not [record for record in caplog.records if record.name == "headstart.tracking"]


def test_a_copy_answers_through_mlflow_alone_and_writes_nothing_into_the_original(original, tmp_path):
    shutil.copytree(original, tmp_path / "after")
    workspace = Workspace(tmp_path / "after")
    tracking.open(workspace)
    script = (
        "import sys, mlflow, pandas as pd\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "client = mlflow.MlflowClient()\n"
        "client.log_text(client.get_model_version('pets', '1').run_id, 'page', 'report.html')\n"
        "model = mlflow.pyfunc.load_model('models:/pets@champion')\n"
        "print(model.predict(pd.DataFrame({'text': ['good']}))['label'][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, workspace.tracking_uri],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["positive"], done.stderr
    assert len(list(workspace.state.rglob("report.html"))) == 1
    assert not list(original.rglob("report.html"))


def test_artifacts_that_the_user_keeps_elsewhere_stay_there(empty_database, tmp_path, caplog):
    workspace = made(tmp_path / "ws", empty_database)
    import mlflow

    mlflow.MlflowClient(workspace.tracking_uri).create_experiment("headstart", artifact_location="s3://bucket/models")
    tracking.open(workspace)
    assert mlflow.MlflowClient().get_experiment_by_name("headstart").artifact_location == "s3://bucket/models"


def test_a_file_that_is_no_database_is_a_sentence_at_once(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.state.mkdir()
    workspace.embedded_registry.write_text("no database, but long enough to be asked whether it is one " * 20)
    with pytest.raises(OutsideError, match=r"the registry .*mlflow\.db cannot be read: file is not a database"):
        tracking.open(workspace)


ODD = ["50% off a%20b", "c#1 it's", "Übergröße 数据\u3000👩‍🔬 a\\b", "a;b&c=d+e $HOME ~ [x]* @:"]


@pytest.mark.parametrize("name", ODD)
def test_a_registry_lies_inside_a_workspace_of_any_path(empty_database, tmp_path, name):
    bundle = text_bundle(tmp_path / "bundle")
    workspace = made(tmp_path / "place" / name / "ws", empty_database)
    settings.require_usable(workspace.root)
    number = registered(workspace, bundle)
    assert registry.download("pets").is_relative_to(workspace.root)
    assert quick.find(workspace.tracking_uri, "pets", registry_hash(bundle)) == number
    assert [path.name for path in (tmp_path / "place").iterdir()] == [name]
    assert [path.name for path in (tmp_path / "place" / name).iterdir()] == ["ws"]


def registry_hash(bundle: Path) -> str:
    from headstart.registry import shipping

    return shipping.manifest_hash(bundle)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("what?", r"may not hold '\?'", id="a question mark"),
        pytest.param("a{b}", r"may not hold '\{'", id="braces"),
        pytest.param('a"b', r"may not hold '\"'", id="a double quote"),
        pytest.param("a\nb", r"may not hold '\\n'", id="a new line"),
        pytest.param(os.fsdecode(b"\xff"), "must be valid UTF-8", id="no text"),
        pytest.param("/".join(["x" * 200] * 3), r"400 bytes at most, .* has \d+", id="very long"),
    ],
)
def test_a_path_that_some_library_cannot_take_is_refused_in_one_sentence(tmp_path, name, sentence):
    from headstart.cli.init import init

    root = tmp_path / name
    with pytest.raises(UsageError, match=sentence):
        init(root, as_json=True)
    assert not root.exists()
    root.mkdir(parents=True)
    for file in ("params.yaml", "dvc.yaml"):
        (root / file).touch()
    with pytest.raises(UsageError, match=sentence):
        settings.find_workspace(root)


# SQLite opens 512 bytes at most; the longest file of a workspace is its registry's journal
def test_the_longest_path_that_is_taken_works(empty_database, tmp_path):
    room = settings.LONGEST_BYTES - len(str(tmp_path)) - 1
    root = tmp_path / "/".join(["x" * 100] * (room // 101) + ["y" * (room % 101 - 1 or 1)])
    workspace = made(root, empty_database)
    settings.require_usable(root)
    registered(workspace, text_bundle(tmp_path / "bundle"))


@pytest.fixture
def read_only(original, tmp_path) -> Iterator[Path]:
    """A copy of the workspace, mounted to be read only: permissions alone do not bind root."""
    there = tmp_path / "mounted"
    there.mkdir()
    shutil.copytree(original, tmp_path / "under")
    mount = subprocess.run(["mount", "--bind", tmp_path / "under", there], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("a read-only mount needs root and the right to mount")
    subprocess.run(["mount", "-o", "remount,bind,ro", there], check=True)
    yield there
    subprocess.run(["umount", "--lazy", there], check=True)


def test_a_read_only_workspace_is_read_wherever_it_lies(read_only):
    tracking.open(Workspace(read_only))
    assert registry.status("pets")["champion"]["version"] == 1
    assert registry.download("pets").is_relative_to(read_only)  # its tables still name where it was made
    assert registry.download("pets").joinpath("MANIFEST.json").is_file()


def test_what_writes_is_refused_with_the_file_that_would_have_to_be_writable(read_only):
    with pytest.raises(OutsideError, match=r"state/mlflow\.db cannot be written.*the registry is to be changed"):
        tracking.open(Workspace(read_only), writing=True)


def test_a_servers_bundle_is_fetched_into_a_temporary_folder_where_the_workspace_cannot_be_written(
    read_only, tmp_path, monkeypatch
):
    import mlflow

    from headstart.registry import shipping

    def download(artifact_uri, dst_path):
        (Path(dst_path) / "bundle").mkdir()
        (Path(dst_path) / "bundle/MANIFEST.json").write_text('{"files": {}}')

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    registered = hashlib.sha256(b'{"files": {}}').hexdigest()
    fetched = shipping.fetch("mlflow-artifacts:/1/m-1", read_only / ".cache/registry", registered=registered)
    assert (fetched / "MANIFEST.json").is_file()
    assert not fetched.is_relative_to(read_only)


def test_a_read_only_workspace_without_a_registry_says_so(read_only):
    missing = Workspace(read_only / "nothing")
    with pytest.raises(OutsideError, match=r"there is no registry at .* yet, and none can be made"):
        tracking.open(missing)


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (
            OSError(30, "Read-only file system", "/w/state/run.lock"),
            "/w/state cannot be written: Read-only file system",
        ),
        (OSError(28, "No space left on device", "/w/data/x"), "/w/data cannot be written: No space left on device"),
        (PermissionError(13, "Permission denied", "/w/state/x"), "/w/state cannot be written: Permission denied"),
    ],
)
def test_a_disk_that_refuses_is_a_sentence_with_the_folder_and_no_traceback(monkeypatch, capsys, trouble, sentence):
    def refuse(**_):
        raise trouble

    monkeypatch.setattr(cli, "app", refuse)
    monkeypatch.setattr(sys, "argv", ["headstart", "run", "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 3
    assert sentence in json.loads(printed.out)["error"]["message"]
    assert "Traceback" not in printed.err


def test_what_a_process_opened_is_not_passed_on_to_its_children(original, tmp_path):
    shutil.copytree(original, tmp_path / "ws")
    tracking.open(Workspace(tmp_path / "ws"))
    assert "MLFLOW_TRACKING_URI" not in os.environ
