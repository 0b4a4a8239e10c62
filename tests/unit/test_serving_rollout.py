"""A challenger beside the champion, through the real application: who answers whom, and when it has to go."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from headstart.errors import OutsideError
from headstart.journal import reader
from headstart.journal.writer import Journal
from headstart.params.operation import Canary, Shadow, Step
from headstart.registry.rollouts import Rollout
from headstart.serving import candidates
from headstart.serving.app import create_app
from headstart.serving.fleet import Fleet, Slot
from headstart.serving.models import LoadedModel
from headstart.serving.watcher import ReloadWatcher, Rollouts
from tests.fakes import TEXT, Clock, FakePredictor, golden_of
from tests.unit.test_serving_app import EVER, JOURNAL, SERVE, ask

SHADOW = Step(shadow=Shadow(requests=5, hours=0.0))
CANARY = Step(canary=Canary(share=0.5, requests=5, hours=0.0))


class Registry:
    """What the servers of one model share: its rollout, and who is champion."""

    def __init__(self) -> None:
        self.rollout: Rollout | None = None
        self.taken_back: list[str] = []
        self.away = self.damaged = False
        self.predictor = FakePredictor(TEXT)

    def current(self, name: str) -> Rollout | None:
        if self.away:
            raise OutsideError("the registry is away.")
        return self.rollout

    def take_back(self, name: str, rollout: Rollout, reason: str) -> None:
        if self.away:
            raise OutsideError("the registry is away.")
        self.taken_back.append(reason)
        self.rollout = None

    def last(self, name: str) -> Rollout | None:
        return replace(BEGUN, failed=self.taken_back[-1]) if self.taken_back else None

    def load(self, name: str, version: int) -> LoadedModel:
        golden = golden_of(self.predictor, "golden", "gold")
        if self.damaged:
            golden = replace(golden, probabilities=golden.probabilities[:, ::-1])
        return LoadedModel(name, version, self.predictor, golden, 1e-4, "v4")


BEGUN = Rollout(
    4, 3, [SHADOW], 0, Clock().now, Clock().now, None, margin=0.02, level=0.05, disagreement=0.02, latency=1.5,
    champion_now=3,
)  # fmt: skip


class Server:
    """One server of the model `texts`, champion version 3; its watcher looks when it is told to."""

    def __init__(self, folder: Path, registry: Registry, timeout_s: float = 30.0) -> None:
        self.clock, self.folder, self.registry = Clock(), folder, registry
        self.predictor = FakePredictor(TEXT)
        golden = golden_of(self.predictor, "golden")
        champion = LoadedModel("texts", 3, self.predictor, golden, 1e-4, "v3")
        self.journal = Journal(folder, JOURNAL, clock=self.clock, key=b"key")
        self.fleet = Fleet(
            {"texts": champion},
            {"texts": Slot(SERVE.model_copy(update={"timeout_s": timeout_s}), self.journal)},
            workers=2,
        )
        self.app = create_app(self.fleet, clock=self.clock)
        rollouts = Rollouts(registry.current, registry.last, registry.load, registry.take_back)
        self.watcher = ReloadWatcher(
            self.fleet, champion=lambda name: 3, load=lambda name: champion, every_s=0.05, rollouts=rollouts
        )

    def post(self, *inputs: str, **more: Any) -> dict[str, Any]:
        answer = ask(self.app, "POST", "/predict/texts", json={"inputs": list(inputs), **more})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def rows(self, request_id: str) -> list[tuple[str, int, int, str | None]]:
        """Role, version, status and label of what is journalled of a request, in any order."""
        table = reader.read(self.folder, **EVER, refusals=True, unseen=True)
        return sorted(
            (row["role"], row["version"], row["status"], row["label"])
            for row in table.to_pylist()
            if row["request_id"] == request_id
        )

    def metrics(self) -> str:
        return ask(self.app, "GET", "/metrics").text

    def versions(self, count: int, prefix: str = "c") -> list[str]:
        """Who answers `count` clients."""
        return [self.post("abc", client=f"{prefix}{number}")["model_version"] for number in range(count)]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def server(tmp_path: Path, registry: Registry) -> Iterator[Server]:
    server = Server(tmp_path, registry)
    server.fleet.start()
    yield server
    server.fleet.close()


def began(step: Step, **changes: Any) -> Rollout:
    return replace(BEGUN, steps=[step], **changes)


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_shadow_answers_nobody_and_what_it_says_is_journalled_beside_the_champions_answer(server, registry):
    registry.rollout = began(SHADOW)
    server.watcher.refresh()
    assert server.post("abc", "a", "", id="one")["model_version"] == "3"
    eventually(lambda: len(server.rows("one")) == 6)
    said = [(200, "one"), (200, "zero"), (422, None)]
    assert server.rows("one") == [("champion", 3, *each) for each in said] + [("shadow", 4, *each) for each in said]
    assert reader.read(server.folder, **EVER).num_rows == 2  # monitors and feedback see what clients saw


def test_a_slow_or_failing_shadow_does_not_touch_the_answer(server, registry):
    registry.predictor.seconds = 0.0
    registry.rollout = began(SHADOW)
    server.watcher.refresh()
    registry.predictor.broken = RuntimeError("broken")
    assert server.post("abc", id="one")["model_version"] == "3"
    eventually(lambda: ("shadow", 4, 500, None) in server.rows("one"))
    registry.predictor.broken, registry.predictor.seconds = None, 0.5
    started = time.monotonic()
    for _ in range(5):
        server.post("abc")
    assert time.monotonic() - started < 0.5


def test_copies_that_find_no_room_are_dropped_and_counted(server, registry, monkeypatch):
    monkeypatch.setattr(candidates, "WAITING", 4)
    registry.rollout = began(SHADOW)
    server.watcher.refresh()
    registry.predictor.seconds = 0.5
    for _ in range(3):  # one at work, one waiting, one too many
        server.post(*["abc"] * 4)
    eventually(lambda: 'headstart_rollout_copies_total{model="texts",outcome="dropped"} 4.0' in server.metrics())


def test_a_canary_answers_its_share_of_clients_and_always_the_same_ones(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    first = server.versions(60)
    assert first == server.versions(60)
    assert 15 < first.count("4") < 45  # of 60, half: 5 standard deviations either way


def test_two_servers_choose_the_same_clients(server, registry, tmp_path):
    other = Server(tmp_path / "other", registry)
    other.fleet.start()
    registry.rollout = began(CANARY)
    for one in (server, other):
        one.watcher.refresh()
    assert server.versions(20) == other.versions(20)
    other.fleet.close()


def test_a_header_keeps_a_user_on_one_version_whatever_is_sent(server, registry):
    registry.rollout = began(CANARY, key="X-User-Id")
    server.watcher.refresh()

    def version(user: str, text: str) -> str:
        body, headers = {"inputs": [text], "client": text}, {"x-user-id": user}
        return str(ask(server.app, "POST", "/predict/texts", json=body, headers=headers).json()["model_version"])

    answers = {
        user: {version(user, text) for text in ("a", "ab", "abc", "abcd", "abcde")} for user in map(str, range(12))
    }
    assert {len(seen) for seen in answers.values()} == {1}
    assert {version for seen in answers.values() for version in seen} == {"3", "4"}


def test_without_a_client_the_input_decides(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    texts = ["a" * length for length in range(1, 20)]
    assert len({server.post(text)["model_version"] for text in texts}) == 2
    assert len({server.post("same")["model_version"] for _ in range(5)}) == 1


def canary_client(server: Server) -> str:
    """A client that the canary answers."""
    return next(name for name in map(str, range(100)) if server.fleet.canary("texts", lambda name=name: name))


def test_the_champion_gets_copies_of_what_the_canary_answers(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    assert server.post("abc", id="one", client=canary_client(server))["model_version"] == "4"
    eventually(lambda: len(server.rows("one")) == 2)
    assert server.rows("one") == [("canary", 4, 200, "zero"), ("shadow", 3, 200, "zero")]


def test_where_a_canary_errs_the_champion_answers_and_it_is_counted(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    registry.predictor.broken = RuntimeError("broken")
    assert server.post("abc", id="one", client=canary_client(server))["model_version"] == "3"
    eventually(lambda: len(server.rows("one")) == 2)
    assert server.rows("one") == [("canary", 4, 500, None), ("champion", 3, 200, "zero")]
    assert 'headstart_rollout_canary_requests_total{model="texts",outcome="failed"} 1.0' in server.metrics()


def test_a_canary_that_errs_is_taken_back_within_seconds_and_no_request_fails(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.start()
    eventually(lambda: server.fleet.candidate("texts") is not None)
    registry.predictor.broken = RuntimeError("broken")
    eventually(lambda: set(server.versions(4)) == {"3"} and server.fleet.candidate("texts") is None, 10.0)
    eventually(lambda: bool(registry.taken_back))
    assert "broken" in registry.taken_back[0]
    server.watcher.close()


def test_a_canary_that_hangs_is_taken_back_within_ten_seconds_and_no_request_fails(tmp_path, registry):
    server = Server(tmp_path, registry, timeout_s=3.0)
    server.fleet.start()
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    registry.predictor.seconds = 1.0
    started = time.monotonic()
    while server.fleet.candidate("texts").guard.trouble is None:
        assert server.post("abc", client=canary_client(server))["model_version"] == "3"  # in a tenth of the limit
    server.watcher.refresh()
    assert time.monotonic() - started < 10.0
    assert server.fleet.candidate("texts") is None
    assert registry.taken_back[0].startswith("It is slow: 4 of 4 answers took longer than 0.3 s")
    server.fleet.close()


def test_a_canary_that_is_slow_is_taken_back_though_it_answers_in_time(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    for _ in range(25):  # how long the champion takes
        server.post(
            "abc", client=next(n for n in map(str, range(99)) if not server.fleet.canary("texts", lambda n=n: n))
        )
    registry.predictor.seconds = 0.3
    who = canary_client(server)
    for _ in range(8):
        if server.fleet.candidate("texts").guard.trouble:
            break
        assert server.post("abc", client=who)["model_version"] == "4"
    server.watcher.refresh()
    assert registry.taken_back and registry.taken_back[0].startswith("It is slow")


def test_a_canary_that_answers_golden_inputs_wrongly_is_taken_back_without_traffic(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    registry.predictor.predictions = lambda logits: FakePredictor.predictions(registry.predictor, -np.asarray(logits))
    server.watcher.refresh()
    assert "golden" in registry.taken_back[0]
    assert server.fleet.candidate("texts") is None


def test_a_challenger_that_is_damaged_is_taken_back_before_it_sees_a_request(server, registry):
    registry.damaged = True
    registry.rollout = began(SHADOW)
    server.watcher.refresh()
    server.watcher.refresh()
    assert registry.taken_back[0].startswith("It cannot be served")


def test_while_the_registry_is_away_a_condemned_canary_stays_out_of_work_here(server, registry):
    registry.rollout = began(CANARY)
    server.watcher.refresh()
    server.fleet.candidate("texts").guard.condemn("It errs.")
    registry.away = True
    server.watcher.refresh()
    assert set(server.versions(10)) == {"3"}
    registry.away = False
    server.watcher.refresh()
    assert registry.taken_back == ["It errs."]


def test_another_champion_than_the_one_it_is_compared_with_stops_it(server, registry):
    registry.rollout = began(SHADOW)
    server.watcher.refresh()
    registry.rollout = began(SHADOW, champion_now=5)
    server.watcher.refresh()
    assert server.fleet.candidate("texts") is None


def test_a_client_of_another_contract_than_the_canarys_is_answered_by_the_champion(server, registry):
    registry.rollout = began(CANARY)
    registry.predictor.contract = replace(TEXT, labels=("two", "one", "zero"))
    server.watcher.refresh()
    who = canary_client(server)
    assert server.post("abc", client=who, contract=TEXT.hash)["model_version"] == "3"


def test_the_verdict_is_read_by_get_and_its_status_by_post(server, registry):
    def verdict(method: str, query: str = "") -> httpx.Response:
        return ask(server.app, method, f"/rollout/texts/verdict{query}")

    assert (verdict("GET").status_code, ask(server.app, "GET", "/rollout/nobody/verdict").status_code) == (404, 404)
    assert verdict("GET").json()["error"]["message"] == "No rollout of texts is known here."
    registry.rollout = began(SHADOW)
    server.watcher.refresh()
    document = verdict("GET").json()
    assert (document["verdict"], document["step"], document["version"], document["champion"]) == (
        "unsure", "shadow", 4, 3,
    )  # fmt: skip
    assert [verdict("POST", query).status_code for query in ("", "?is=unsure", "?is=fail", "?is=x")] == [
        503, 200, 503, 422,
    ]  # fmt: skip
    registry.take_back("texts", registry.rollout, "It erred.")
    server.watcher.refresh()
    document = verdict("GET").json()
    assert (document["verdict"], document["step"], document["findings"][0]["reason"]) == ("fail", "failed", "It erred.")


def test_requests_are_answered_at_once_while_many_are_copied(server, registry):
    """Twenty clients at a time, each answered once, by the champion."""
    registry.rollout = began(SHADOW)
    server.watcher.refresh()

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            posts = [client.post("/predict/texts", json={"inputs": ["abc"], "id": f"r{n}"}) for n in range(20)]
            return list(await asyncio.gather(*posts))

    assert {answer.json()["model_version"] for answer in asyncio.run(send())} == {"3"}
    eventually(lambda: all(len(server.rows(f"r{n}")) == 2 for n in range(20)))
