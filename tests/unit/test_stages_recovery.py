"""What a killed run leaves half-written is mended before the next one, and what is in use is left alone."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from headstart.errors import OutsideError, UsageError
from headstart.stages import graph, recovery
from headstart.stages.lock import exclusive

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # in DVC, of its own parts
BUSY = Path(".dvc/tmp/rwlock")
STAGES = """
stages:
  copy:
    foreach: [pets]
    do:
      cmd: cp in.txt ${item}.txt
      deps: [in.txt]
      outs:
        - ${item}.txt:
            cache: false
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which DVC has recorded one folder of data and run one stage."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", folder / ".dvc/config")
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "in.txt").write_text("in")
    (folder / "data/raw/pets").mkdir(parents=True)
    (folder / "data/raw/pets/rows.csv").write_text("text,label\n")
    with pytest.MonkeyPatch.context() as place:
        place.chdir(folder)
        graph.record(Path("data/raw/pets"))
        graph.run("copy@pets")
    return folder


@pytest.fixture
def workspace(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to be damaged."""
    shutil.copytree(ran, tmp_path / "ws")
    monkeypatch.chdir(tmp_path / "ws")
    return tmp_path / "ws"


def in_use(pid: int) -> str:
    return json.dumps({"write": {str(Path("pets.txt").absolute()): {"pid": pid, "cmd": "dvc repro"}}, "read": {}})


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("left", ["", "{", "[]", '{"write": {"a": 1}}', '{"read": {"a": [{}]}}', "\0\0\0"])
def test_a_list_of_files_in_use_that_was_cut_short_stops_no_run(workspace, left, capsys):
    BUSY.write_text(left)
    with pytest.raises(OutsideError):
        graph.record(Path("data/raw/pets"))
    recovery.recover()
    graph.record(Path("data/raw/pets"))
    assert ".dvc/tmp/rwlock, which a killed run left, cannot be read: it is removed" in capsys.readouterr().err


def test_a_process_number_that_came_again_holds_nothing(workspace):
    Path("in.txt").write_text("new")
    BUSY.write_text(in_use(os.getppid()))
    os.utime(BUSY, (0, 0))  # written long before that process began
    with pytest.raises(OutsideError, match="busy"):
        graph.run("copy@pets")
    recovery.recover()
    graph.run("copy@pets")


def test_a_dead_process_holds_nothing(workspace):
    BUSY.write_text(in_use(dead()))
    recovery.recover()
    assert json.loads(BUSY.read_text()) == {"write": {}, "read": {}}


def test_what_another_dvc_uses_stays_its_own(workspace):
    BUSY.write_text(in_use(os.getppid()))
    before = BUSY.read_text()
    recovery.recover()
    assert BUSY.read_text() == before


def test_a_list_that_another_dvc_is_writing_is_left_alone(workspace):
    BUSY.write_text("")
    with Path(".dvc/tmp/rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        recovery.recover()
        assert BUSY.exists()


def test_lock_files_of_dead_processes_stop_no_run(workspace):
    for name in ("lock", "rwlock.lock"):
        Path(".dvc/tmp", name).write_text(f"{dead()}\n")
    recovery.recover()
    assert not graph.is_stale("copy@pets")


def test_dvc_lock_cut_anywhere_is_restored_and_nothing_runs_again(workspace, capsys):
    whole = Path("dvc.lock").read_bytes()
    for length in range(0, len(whole) - 40, 9):
        Path("dvc.lock").write_bytes(whole[:length])
        recovery.recover()
        if Path("dvc.lock").read_bytes() != whole:  # cut where it still says something true: a stage may run again
            graph.is_stale("copy@pets")
    Path("dvc.lock").write_text("")
    recovery.recover()
    assert not graph.is_stale("copy@pets")
    assert "dvc.lock was cut short: restored from state/dvc.lock" in capsys.readouterr().err


def test_without_a_copy_dvc_lock_is_put_aside_and_stages_run_again(workspace, capsys):
    Path("state/dvc.lock").unlink()
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  copy@pets:\n")
    recovery.recover()
    assert Path("dvc.lock.broken").is_file()
    assert "dvc.lock cannot be read and is now dvc.lock.broken" in capsys.readouterr().err
    assert graph.is_stale("copy@pets")
    graph.run("copy@pets")


def test_a_pointer_to_data_that_was_cut_short_is_dropped_and_its_source_read_again(workspace, capsys):
    pointer = Path("data/raw/pets.dvc")
    whole = pointer.read_text()
    pointer.write_text(whole[: whole.index("md5") + 10])
    recovery.recover()
    assert not pointer.exists()
    assert "data/raw/pets.dvc was cut short: it is written again" in capsys.readouterr().err
    graph.record(Path("data/raw/pets"))
    assert pointer.read_text() == whole


@pytest.mark.parametrize("name", ["dvc.lock", "data/raw/pets.dvc"])
def test_a_merge_that_git_could_not_decide_is_left_to_the_user(workspace, name):
    text = Path(name).read_text()
    both = f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> theirs\n"
    Path(name).write_text(both)
    with pytest.raises(UsageError, match=rf"{name} holds both sides of a merge.*git checkout --ours {name}"):
        recovery.recover()
    assert Path(name).read_text() == both


def test_an_empty_local_configuration_of_dvc_is_written_again(workspace):
    Path(".dvc/config.local").write_text("")
    assert not graph.is_stale("copy@pets")


def test_a_sound_workspace_is_left_as_it_is(workspace, capsys):
    before = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    recovery.recover()
    assert {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("left", ["", "{", "[]", "{}", '{"pid": 1}', "\0"])
def test_a_holders_note_that_was_cut_short_stops_no_run(tmp_path, left):
    (tmp_path / "run.json").write_text(left)
    with exclusive(tmp_path, "training"):
        assert json.loads((tmp_path / "run.json").read_text())["purpose"] == "training"


@pytest.fixture
def keys(tmp_path_factory, monkeypatch):
    """Keys for S3, and no configuration of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    none = str(tmp_path_factory.getbasetemp() / "none")
    given = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}
    given |= {"CONFIG_FILE": none, "SHARED_CREDENTIALS_FILE": none, "MAX_ATTEMPTS": "1"}
    for name, value in given.items():
        monkeypatch.setenv(f"AWS_{name}", value)


def test_a_bucket_that_is_not_there_is_one_sentence_naming_the_remote(workspace, keys, monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    graph.is_stale("copy@pets")  # writes the local configuration, which the next line adds to
    with Path(".dvc/config.local").open("a") as local:
        local.write("['remote \"store\"']\n    url = s3://nowhere/dvc\n")
    sentence = r"the DVC remote 'store' \(s3://nowhere/dvc\) cannot be used: .*bucket does not exist.*AWS_ENDPOINT_URL"
    with pytest.raises(OutsideError, match=sentence):
        graph.push()
    server.stop()


def test_a_store_that_is_away_is_one_sentence_naming_its_address(workspace, keys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    graph.is_stale("copy@pets")
    with Path(".dvc/config.local").open("a") as local:
        local.write("['remote \"store\"']\n    url = s3://nowhere/dvc\n")
    with pytest.raises(OutsideError, match=r"'store' \(s3://nowhere/dvc\) cannot be used: .*http://127\.0\.0\.1:9"):
        graph.push()


def test_a_fresh_clone_gets_a_recorded_folder_back_from_the_remote_and_what_is_there_is_left_alone(workspace):
    folder, remote = Path("data/raw/pets"), Path("state/dvc")
    graph.push()
    assert remote.is_dir()
    shutil.rmtree(folder)
    shutil.rmtree(".dvc/cache")
    graph.restore(folder)
    assert (folder / "rows.csv").read_text() == "text,label\n"
    (folder / "rows.csv").write_text("mine")
    graph.restore(folder)
    assert (folder / "rows.csv").read_text() == "mine"
    graph.restore(Path("data/raw/never_recorded"))
    assert not Path("data/raw/never_recorded").exists()
