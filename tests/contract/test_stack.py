"""`make stack` runs what compose.yaml says: read from it, moved to this machine, started in order, stopped whole."""

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from infra import processes
from infra.processes import BrokenError, MissingError, Service, Stack

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "infra/compose.yaml").read_text())["services"]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path)


@pytest.fixture
def bare(stack: Stack) -> Stack:
    """A stack in which nothing is known yet."""
    stack.services.clear()
    return stack


def test_every_service_of_compose_but_two_is_run(stack):
    assert set(COMPOSE) - set(stack.services) <= {"alertmanager", "grafana", "prometheus"}
    assert set(stack.services) - set(COMPOSE) == {"initdb"}


def test_a_service_waits_for_those_that_compose_names_and_runs_what_it_names(stack):
    for name in ("mlflow", "prefect", "worker", "serve", "mlflow-migrate"):
        assert set(stack.services[name].needs) == set(COMPOSE[name]["depends_on"])
    assert stack.services["prefect-migrate"].command == COMPOSE["prefect-migrate"]["command"]
    assert stack.services["serve"].command[:2] == ["headstart", "serve"]  # of its image
    assert stack.services["worker"].check is not None
    assert stack.services["bucket"].check is None


def test_nothing_of_a_container_is_left_in_what_is_run(stack):
    for service in stack.services.values():
        said = "\n".join([*service.command, *service.environment.values(), *(service.check or [])])
        said = said.replace(str(stack.root), "STATE")
        found = re.findall(
            r"\$\{\w+|0\.0\.0\.0|\b(?:postgres|mlflow|prefect|storage):\d+|(?<![\w./-])/(?!dev)\w+", said
        )
        assert not found, (service.command, found)
        assert not re.findall(rf"\b(?:{'|'.join(processes.PORTS)})\b", said)


def test_configurations_are_files_with_our_own_addresses(stack):
    assert "postgres:5432/mlflow_auth" not in (text := (stack.root / "config/mlflow-auth").read_text())
    assert f"@127.0.0.1:{stack.ports['5432']}/mlflow_auth" in text
    assert str(stack.root / "config/mlflow-auth") == stack.services["mlflow"].environment["MLFLOW_AUTH_CONFIG_PATH"]


def test_a_server_starts_after_the_job_that_it_needs(bare):
    bare.services["job"] = Service(["sh", "-c", "sleep 0.4; touch done"])
    bare.services["server"] = Service(["sh", "-c", "test -e done && exec sleep 60"], check=["true"], needs=["job"])
    bare.up("server", "job")
    assert bare.ready == {"job", "server"}
    assert bare.down() == "no process left, 7 ports free"


def test_a_job_that_fails_ends_the_start_and_its_log_is_shown(bare):
    bare.services["job"] = Service(["sh", "-c", "echo no bucket; exit 4"])
    with pytest.raises(BrokenError, match="job ended with status 4"):
        bare.up("job")
    assert "no bucket" in "\n".join(bare.tails())


def test_a_server_that_ends_is_noticed(bare):
    bare.services["server"] = Service(["sleep", "0.5"], check=["true"])
    bare.up("server")
    bare.running["server"].wait()
    with pytest.raises(BrokenError, match="server ended with status 0"):
        bare.require_all()


def test_what_does_not_end_is_killed_and_named(bare, monkeypatch):
    monkeypatch.setattr(processes, "STOP_S", 0.3)
    deaf = "trap '' TERM; touch up; while true; do sleep 0.1; done"
    bare.services["deaf"] = Service(["sh", "-c", deaf], check=["test", "-e", str(bare.root / "workspace/up")])
    bare.up("deaf")
    process = bare.running["deaf"]
    with pytest.raises(BrokenError, match=r"did not end when told to.*deaf"):
        bare.down()
    assert process.poll() is not None


def test_what_a_server_leaves_behind_is_killed_and_named(bare, monkeypatch):
    monkeypatch.setattr(processes, "STOP_S", 0.3)
    bare.services["server"] = Service(["sh", "-c", "setsid sleep 77 & exec sleep 60"], check=["true"])
    bare.up("server")
    with pytest.raises(BrokenError, match=r"did not end when told to.*sleep 77"):
        bare.down()
    psutil.wait_procs(list(bare.everybody()), timeout=10)
    assert [one for one in bare.everybody() if one.status() != "zombie"] == []


def test_without_postgresql_the_reason_is_one_sentence(monkeypatch):
    monkeypatch.setattr(processes.shutil, "which", lambda name: None)
    monkeypatch.setattr(processes.Path, "glob", lambda self, pattern: [])
    with pytest.raises(MissingError, match=r"PostgreSQL is not installed.*apt-get install postgresql"):
        processes.postgres()


def test_a_folder_that_postgresqls_user_may_not_enter_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "postgres", lambda: tmp_path)
    monkeypatch.setattr(processes.os, "geteuid", lambda: 0)
    (tmp_path / "mine").mkdir(mode=0o700)
    with pytest.raises(MissingError, match=r"nobody, who may not pass /\S+: name another folder"):
        processes.require_possible(tmp_path / "mine")


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    words = [sys.executable, "-m", "infra.stack", "--state", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == f"{tmp_path} is not empty: name another folder (--state).\n"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
