"""A finished workspace copied elsewhere, or on a disk that cannot be written: every command as a person runs it."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from headstart.artifacts import read_json
from tests.conftest import HEADSTART

pytestmark = pytest.mark.slow
TEXT = "the baban came with deden 12"
NOWHERE = "http://127.0.0.1:9/api"  # a Prefect server that does not answer: a flow that is started fails


def test_a_copied_workspace_works_as_the_original_does(finished, headstart, tmp_path):
    copy = tmp_path / "50% off #1 it's ü" / "copy"
    shutil.copytree(finished, copy, symlinks=True)
    status = headstart(copy, "status", "--json")
    assert status.document == headstart(finished, "status", "--json").document
    assert "the registry follows the workspace" in status.err
    assert headstart(copy, "predict", "topics", TEXT, "--json").document[0]["label"] == "weather"
    run = headstart(copy, "run", "--json", PREFECT_API_URL=NOWHERE)
    assert (run.status, run.document) == (0, read_json(finished / "run.json")), run.err
    doctor = headstart(copy, "doctor", "--json")
    assert doctor.status == 0, doctor.out
    assert str(finished) not in doctor.out


@pytest.fixture(scope="module")
def read_only(finished, tmp_path_factory) -> Iterator[Path]:
    """The finished workspace, mounted elsewhere to be read only: permissions alone do not bind root."""
    there = tmp_path_factory.mktemp("read-only")
    mount = subprocess.run(["mount", "--bind", finished, there], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("a read-only mount needs root and the right to mount")
    subprocess.run(["mount", "-o", "remount,bind,ro", there], check=True)
    yield there
    subprocess.run(["umount", "--lazy", there], check=True)


@pytest.mark.parametrize("words", [["status"], ["predict", "topics", TEXT], ["doctor"]], ids=lambda words: words[0])
def test_what_only_reads_works_in_a_read_only_workspace(read_only, headstart, words):
    answer = headstart(read_only, *words, "--json")
    assert answer.status == 0, answer.err
    assert answer.document
    assert "Traceback" not in answer.err


def test_a_file_is_scored_in_a_read_only_workspace_and_known_to_be_done(read_only, headstart, tmp_path):
    (tmp_path / "in.csv").write_text(f"text\n{TEXT}\n")
    words = ["score", "topics", str(tmp_path / "in.csv"), "--output", str(tmp_path / "out.csv"), "--json"]
    first, again = headstart(read_only, *words), headstart(read_only, *words)
    assert (first.status, first.document["already"]) == (0, False), first.err
    assert (again.status, again.document["already"]) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["plan", "topics"],
        ["monitor"],
        ["promote", "topics", "1"],
        ["add", "x", "--data", "sources/topics.csv"],
    ],
    ids=lambda words: words[0],
)
def test_what_writes_says_which_folder_has_to_be_writable(read_only, headstart, words):
    answer = headstart(read_only, *words, "--json")
    assert answer.status == 3, answer.err
    message = answer.document["error"]["message"]
    assert str(read_only) in message and "cannot be written" in message
    assert "Make it writable" in answer.document["error"]["action"]
    assert "Traceback" not in answer.err


def test_a_read_only_workspace_is_served_where_its_journal_can_be_written(read_only, headstart, tmp_path):
    refused = headstart(read_only, "serve", "topics", "--port", "0", "--json")
    assert refused.status == 3
    assert str(read_only / "state/journal/topics") in refused.document["error"]["message"]
    assert "set HEADSTART_JOURNAL" in refused.document["error"]["action"]
    process = subprocess.Popen(
        [str(HEADSTART), "serve", "topics", "--port", "0", "--json"],
        cwd=read_only,
        env={**os.environ, "HEADSTART_JOURNAL": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    answer = httpx.post(f"{url}/predict/topics", json={"inputs": [TEXT]}).json()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    process.stdout.close()
    assert answer["predictions"][0]["label"] == "weather"
    assert list((tmp_path / "topics").rglob("*.parquet"))
