"""What commands say before they start a flow."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headstart import artifacts
from headstart.cli.workspace import announce_pretraining
from headstart.params.loader import load

PARAMS = load(Path(__file__).parents[2] / "params.yaml")


def test_pretraining_is_announced_until_it_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    announce_pretraining(PARAMS, list(PARAMS.models))
    assert "the backbone glyphs will be pretrained here, once: about 40 s" in capsys.readouterr().err
    artifacts.backbone("glyphs").mkdir(parents=True)
    announce_pretraining(PARAMS, list(PARAMS.models))
    assert capsys.readouterr().err, "a folder that a kill left is no backbone"
    (artifacts.backbone("glyphs") / "backbone.json").touch()
    announce_pretraining(PARAMS, list(PARAMS.models))
    assert not capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_flow_does_not_outlive_the_command_that_was_ended(tmp_path, how):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/__main__.py").write_text(
        "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)\n"
    )
    start = (
        "from pathlib import Path; from headstart.cli.workspace import start_flow; "
        "from headstart.settings import Workspace; start_flow(Workspace(Path.cwd()), 'training', [])"
    )
    command = subprocess.Popen([sys.executable, "-c", start], cwd=tmp_path)
    until = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until and command.poll() is None
        time.sleep(0.05)
    flow = Path("/proc") / (tmp_path / "pid").read_text()
    command.send_signal(how)
    command.wait()
    _ends(flow, until)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("importing", [False, True], ids=["at work", "while it imports"])
def test_a_stage_does_not_outlive_the_flow_that_was_killed(tmp_path, importing):
    """Ctrl-C in the command kills the flow, and DVC starts a stage by bash (`graph`): it went on alone."""
    told = "pathlib.Path('pid').write_text(str(os.getpid()))"
    (tmp_path / "stage.py").write_text(
        f"import os, pathlib, time\n{told if importing else ''}\n"
        f"time.sleep({2 * importing})\n"
        "from headstart import stages\n"
        f"stages._params = lambda *_: ({told}, time.sleep(60))\n"
        "stages.main(lambda owner, params: None)\n"
    )
    (tmp_path / "flow.py").write_text(
        "import sys\n"
        "from dvc.stage.run import get_executable, _make_cmd\n"
        "from headstart.stages import graph\n"
        "import subprocess\n"
        "with graph._repo(), graph._parent():\n"
        "    subprocess.run(_make_cmd(get_executable(), sys.executable + ' stage.py tickets'))\n"
    )
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    environment = {name: value for name, value in os.environ.items() if name != "SHELL"}
    flow = subprocess.Popen([sys.executable, "flow.py"], cwd=tmp_path, env=environment)
    until = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until and flow.poll() is None
        time.sleep(0.05)
    flow.kill()
    flow.wait()
    _ends(Path("/proc") / (tmp_path / "pid").read_text(), until)


def _ends(flow: Path, until: float) -> None:
    while flow.exists() and "Z (zombie)" not in (flow / "status").read_text():
        assert time.monotonic() < until, "the flow lives on"
        time.sleep(0.05)
