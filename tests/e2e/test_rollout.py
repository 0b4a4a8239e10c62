"""A challenger on its way to champion, behind a real server that follows the registry."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import HEADSTART
from tests.tiny.workspace import FRAMES, TOPICS

pytestmark = pytest.mark.slow
REQUESTS = 560  # with none failed, enough to show that fewer than one in a hundred fails
STEPS = [
    {"shadow": {"requests": 500, "hours": 0.0}},
    {"canary": {"share": 0.5, "requests": 500, "hours": 0.0}},
]


@pytest.fixture(scope="module")
def released(finished: Path, tmp_path_factory: pytest.TempPathFactory, headstart: Callable[..., Any]) -> Path:
    """A workspace whose champion of `topics` is version 1; version 2, a smaller profile apart the same, passed."""
    workspace = Path(shutil.copytree(finished, tmp_path_factory.mktemp("rollout") / "workspace", symlinks=True))
    path = workspace / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document["models"]["topics"] |= {"seal": {"profile": 100}, "rollout": {"steps": STEPS}}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    answer = headstart(workspace, "run", "topics", "--json")
    assert answer.status == 0, answer.err
    result = answer.document["topics"]
    assert (result["version"], result["alias"], result["live"]["version"]) == (2, "challenger", 1)
    assert (result["rollout"]["step"], result["rollout"]["steps"]) == ("shadow", 2)
    return workspace


@pytest.fixture(scope="module")
def server(released: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [str(HEADSTART), "serve", "topics", "--port", "0", "--json"],
        cwd=released,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    process.stdout.close()


def texts(count: int) -> Iterator[str]:
    words = [word for topic in TOPICS.values() for word in topic]
    for number in range(count):
        yield FRAMES[number % 4].format(words[number % 432], words[(7 * number + 1) % 432]) + f" {number}"


def send(url: str, count: int, prefix: str) -> list[str]:
    """Who answers `count` clients."""

    def one(numbered: tuple[int, str]) -> str:
        number, text = numbered
        body = {"inputs": [text], "id": f"{prefix}{number}", "client": f"{prefix}{number}"}
        answer = client.post(f"{url}/predict/topics", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, enumerate(texts(count))))


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def verdict(url: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/rollout/topics/verdict", timeout=30).json())


def test_a_challenger_goes_from_shadow_to_canary_to_champion(released, server, headstart):
    until(lambda: verdict(server).get("step") == "shadow" and 'step="shadow"' in httpx.get(f"{server}/metrics").text)
    assert set(send(server, REQUESTS, "s")) == {"1"}  # a shadow answers nobody
    until(lambda: verdict(server)["requests"] >= 500)
    assert verdict(server)["verdict"] == "pass", verdict(server)["findings"]

    look = headstart(released, "monitor", "topics", "--json").document["topics"]["rollout"]
    assert (look["verdict"], look["outcome"]) == ("pass", "The step canary began.")
    until(lambda: verdict(server)["step"] == "canary" and 'step="canary"' in httpx.get(f"{server}/metrics").text)
    answered = send(server, 2 * REQUESTS, "c")
    assert 0.4 < answered.count("2") / len(answered) < 0.6
    until(lambda: verdict(server)["requests"] >= 500)
    shown = headstart(released, "rollout", "topics", "--json")
    assert (shown.status, shown.document["step"], shown.document["verdict"]) == (0, "canary", "pass"), shown.document

    look = headstart(released, "monitor", "topics", "--json").document["topics"]["rollout"]
    assert look["outcome"] == "Every step has passed: version 2 is champion."
    until(lambda: httpx.get(f"{server}/health").json()["versions"] == {"topics": 2})
    until(lambda: verdict(server)["step"] == "passed")
    status = headstart(released, "status", "topics", "--json").document["topics"]
    assert (status["champion"]["version"], status["previous"]["version"]) == (2, 1)
    assert (status["challenger"], status["rollout"]) == (None, None)
