"""The journal's writing: what reaches the disk, when, and what happens where the disk refuses or the process dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headstart import settings
from headstart.journal import log, reader
from headstart.journal.schema import Answer, Label
from headstart.journal.writer import Journal
from headstart.params.operation import Journal as JournalParams
from tests.fakes import Clock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FOR_EVER = {"start": NOON - timedelta(days=9999), "end": NOON + timedelta(days=9999)}


def params(**changed: object) -> JournalParams:
    values = {
        "flush_s": 0.02, "seal_minutes": 5.0, "seal_megabytes": 1, "raw": "off", "raw_share": 0.5, "raw_days": 30,
        "features": 0,
    }  # fmt: skip
    return JournalParams.model_validate(values | changed)


def answer(request_id: str = "r", index: int = 0, **changed: object) -> Answer:
    values = {
        "request_id": request_id, "index": index, "time": NOON, "model": "digits", "version": 3, "role": "champion",
        "contract": "a.b", "label": "7", "probability": 0.75, "probabilities": [0.25, 0.75],
        "properties": {"width": 8.0}, "latency_ms": 1.5, "features": [1.0, 2.0], "raw": b"raw",
    }  # fmt: skip
    return Answer(**(values | changed))  # type: ignore[arg-type]


def ids(folder: Path) -> list[str]:
    return reader.read(folder, **FOR_EVER)["request_id"].to_pylist()


def test_a_recorded_answer_is_read_back_with_every_column(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(features=10), clock=Clock())
    journal.record([answer(bundle="b0", client="till/7")])
    journal.close()
    (row,) = reader.read(tmp_path, **FOR_EVER).to_pylist()
    assert row == {
        "format": 3, "request_id": "r", "index": 0, "time": NOON, "model": "digits", "version": 3, "role": "champion",
        "contract": "a.b", "label": "7", "probability": 0.75, "probabilities": [0.25, 0.75], "features": [1.0, 2.0],
        "raw": None, "latency_ms": 1.5, "status": 200, "reason": None, "bundle": "b0", "input_hash": None,
        "client": "till/7", "property/width": 8.0,
    }  # fmt: skip


def test_answers_can_be_read_before_they_are_sealed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer("first")])
    journal.flush()
    journal.record([answer("second")])
    journal.flush()
    assert ids(tmp_path) == ["first", "second"]
    assert not list(tmp_path.glob("answers/*.parquet"))
    journal.close()


@pytest.mark.parametrize(("minutes", "sealed"), [(4.9, 0), (5.0, 1)])
def test_a_log_is_sealed_at_its_age_and_not_before(tmp_path: Path, minutes: float, sealed: int) -> None:
    clock = Clock()
    journal = Journal(tmp_path, params(), clock=clock)
    journal.record([answer()])
    journal.flush()
    clock.advance(minutes=minutes)
    journal.flush()
    assert len(list(tmp_path.glob("answers/*.parquet"))) == sealed
    journal.close()


def test_a_log_is_sealed_at_its_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(raw="sampled", raw_share=1.0), clock=Clock())
    for number in range(3):
        journal.record([answer(str(number), raw=b"x" * 400_000)])
        journal.flush()
    assert len(list(tmp_path.glob("answers/*.parquet"))) == 1
    assert ids(tmp_path) == ["0", "1", "2"]
    journal.close()


def test_answers_with_other_properties_go_to_a_log_of_their_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    for name in ("width", "height"):
        journal.record([answer(name, properties={name: 1.0})])
        journal.flush()
    journal.close()
    table = reader.read(tmp_path, **FOR_EVER).select(["request_id", "property/width", "property/height"])
    assert table.to_pylist() == [
        {"request_id": "height", "property/width": None, "property/height": 1.0},
        {"request_id": "width", "property/width": 1.0, "property/height": None},
    ]


def refusal(request_id: str, **changed: object) -> Answer:
    nothing = {"label": None, "probability": None, "probabilities": None, "properties": {}, "features": None}
    return answer(request_id, status=422, reason="input 0 is empty", **(nothing | changed))


def test_a_refusal_is_read_back_only_by_those_who_ask_for_refusals(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer("good"), refusal("bad")])
    journal.close()
    assert ids(tmp_path) == ["good"]
    bad, good = reader.read(tmp_path, **FOR_EVER, refusals=True).to_pylist()
    assert (good["status"], good["reason"]) == (200, None)
    assert (bad["status"], bad["reason"]) == (422, "input 0 is empty")
    empty = ("label", "probability", "probabilities", "features", "property/width")
    assert {bad[name] for name in empty} == {None}


@pytest.mark.parametrize("raw", ["off", "hashed"])  # `hashed` stands in older params.yaml files
def test_raw_inputs_are_kept_only_as_allowed(tmp_path: Path, raw: str) -> None:
    journal = Journal(tmp_path, params(raw=raw), clock=Clock())
    journal.record([answer(raw=b"abc")])
    journal.close()
    (row,) = reader.read(tmp_path, **FOR_EVER).to_pylist()
    assert (row["raw"], row["features"]) == (None, None)


def test_inputs_are_hashed_with_the_key_whether_or_not_they_are_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(), clock=Clock(), key=b"key")
    fox = b"The quick brown fox jumps over the lazy dog"
    journal.record([answer("a", raw=fox), refusal("b", raw=fox), answer("c", raw=None), answer("d", input_hash="own")])
    journal.close()
    rows = reader.read(tmp_path, **FOR_EVER, refusals=True).to_pylist()
    # HMAC_SHA256("key", "The quick brown fox jumps over the lazy dog"), as Wikipedia's article on HMAC gives it
    known = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    assert [row["input_hash"] for row in rows] == [known, known, None, "own"]


def test_the_key_is_made_once_and_kept_private_and_the_environment_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADSTART_JOURNAL_KEY", raising=False)
    space = settings.Workspace(tmp_path)
    key = settings.journal_key(space)
    assert len(key) == 64
    assert settings.journal_key(space) == key
    assert [path.name for path in space.state.iterdir()] == ["journal.key"]
    assert space.journal_key_file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("HEADSTART_JOURNAL_KEY", "shared")
    assert settings.journal_key(space) == b"shared"


def test_a_workspace_that_cannot_be_written_gets_a_key_for_the_process_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HEADSTART_JOURNAL_KEY", raising=False)
    (tmp_path / "state").write_text("a file where the folder should be")
    assert len(settings.journal_key(settings.Workspace(tmp_path))) == 64
    assert "within this process only. Set HEADSTART_JOURNAL_KEY" in caplog.text


def test_a_key_file_that_a_crash_left_empty_never_switches_hashing_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HEADSTART_JOURNAL_KEY", raising=False)
    space = settings.Workspace(tmp_path)
    space.state.mkdir()
    space.journal_key_file.touch()
    assert len(settings.journal_key(space)) == 64
    assert "it is empty" in caplog.text


def test_a_disk_without_hard_links_gets_a_key_for_the_process_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.delenv("HEADSTART_JOURNAL_KEY", raising=False)
    monkeypatch.setattr(Path, "hardlink_to", refused)
    space = settings.Workspace(tmp_path)
    assert len(settings.journal_key(space)) == 64
    assert list(space.state.iterdir()) == []


def test_about_the_stated_share_of_raw_inputs_is_sampled_the_same_each_time(tmp_path: Path) -> None:
    kept = []
    for attempt in ("a", "b"):
        journal = Journal(tmp_path / attempt, params(raw="sampled", raw_share=0.25), clock=Clock())
        journal.record([answer(str(number)) for number in range(400)])
        journal.close()
        rows = reader.read(tmp_path / attempt, **FOR_EVER).to_pylist()
        kept.append({row["request_id"] for row in rows if row["raw"] is not None})
    assert kept[0] == kept[1]
    assert 65 < len(kept[0]) < 135  # binomial(400, 0.25): 100, four standard deviations of 8.7 either way


def featured(folder: Path) -> dict[str, list[float] | None]:
    table = reader.read(folder, **FOR_EVER)
    return dict(zip(table["request_id"].to_pylist(), table["features"].to_pylist(), strict=True))


def hour_of(journal: Journal, rows: int, hour: int) -> None:
    """So many answers, evenly over an hour."""
    start = NOON + timedelta(hours=hour)
    journal.record([answer(f"{hour}-{row}", time=start + timedelta(hours=row / rows)) for row in range(rows)])


def test_features_are_kept_in_half_precision_and_too_large_ones_at_its_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(features=10), clock=Clock())
    journal.record([answer("a", features=[0.1, 1e9]), answer("b", features=None)])
    journal.close()
    assert featured(tmp_path) == {"a": [0.0999755859375, 65504.0], "b": None}  # 0.1 is 1638 / 2**14 in half precision


def test_no_features_are_kept_where_none_are_asked_for(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(features=0), clock=Clock())
    hour_of(journal, 5, 0)
    journal.close()
    assert set(featured(tmp_path).values()) == {None}


def test_all_answers_of_a_quiet_hour_keep_their_features(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(features=50), clock=Clock())
    for hour in range(3):
        hour_of(journal, 50, hour)
    journal.close()
    assert None not in featured(tmp_path).values()


def test_no_hour_keeps_more_features_than_it_may_and_busy_ones_keep_them_evenly(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(features=50), clock=Clock())
    for hour in range(3):
        hour_of(journal, 500, hour)
    journal.close()
    kept = [name for name, features in featured(tmp_path).items() if features]
    of_hour = [[int(name.split("-")[1]) for name in kept if name.startswith(f"{hour}-")] for hour in range(3)]
    for rows in of_hour:
        assert 25 < len(rows) <= 50  # binomial(500, 0.1): 50, standard deviation 6.7
        assert max(rows) > 300


@pytest.mark.parametrize("before", [0, 30], ids=["after a silent hour", "after a quiet hour"])
def test_an_hour_that_nobody_foresaw_keeps_features_from_beginning_to_end(tmp_path: Path, before: int) -> None:
    journal = Journal(tmp_path, params(features=600), clock=Clock())
    hour_of(journal, before, 0)
    for minute in range(60):
        moments = [NOON + timedelta(hours=1, minutes=minute, seconds=second * 0.18) for second in range(333)]
        journal.record([answer(f"1-{minute}-{row}", time=moment) for row, moment in enumerate(moments)])
        journal.flush()
    journal.close()
    kept = [name.split("-") for name, features in featured(tmp_path).items() if features and name.startswith("1-")]
    tenths = [sum(int(minute) // 6 == tenth for _, minute, _ in kept) for tenth in range(10)]
    assert tenths == [60] * 10  # 600 in all, as many as an hour may keep


def test_of_one_large_request_features_are_kept_of_inputs_anywhere_in_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(features=600), clock=Clock())
    journal.record([answer("batch", row) for row in range(1000)])
    journal.close()
    table = reader.read(tmp_path, **FOR_EVER)
    kept = [row["index"] for row in table.select(["index", "features"]).to_pylist() if row["features"]]
    assert len(kept) == 60  # a tenth of the hour's may be spent at once
    assert 400 < sum(kept) / 60 < 600  # 500 and 2.7 standard errors of 37


def test_the_features_that_are_kept_follow_from_request_ids_alone(tmp_path: Path) -> None:
    kept = []
    for attempt in ("a", "b"):
        journal = Journal(tmp_path / attempt, params(features=50), clock=Clock())
        for hour in range(2):
            hour_of(journal, 400, hour)
        journal.close()
        kept.append({name for name, features in featured(tmp_path / attempt).items() if features})
    assert kept[0] == kept[1]


def test_after_a_quiet_night_the_first_answers_keep_their_features(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(features=20), clock=Clock())
    hour_of(journal, 400, 0)
    hour_of(journal, 20, 9)
    journal.close()
    assert sum(features is not None for name, features in featured(tmp_path).items() if name.startswith("9-")) == 20


def test_the_thread_writes_without_being_asked(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.start()
    journal.record([answer()])
    _until(lambda: journal.health.written == 1)
    assert ids(tmp_path) == ["r"]
    journal.close()


def test_closing_flushes_and_seals(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(flush_s=60.0), clock=Clock())
    journal.start()
    journal.record([answer()])
    journal.feedback([Label("r", 0, "8", NOON)])
    journal.close()
    assert not list(tmp_path.glob("*/*.arrow"))
    assert len(list(tmp_path.glob("*/*.parquet"))) == 2
    assert journal.health.written == 2


def test_a_disk_that_refuses_stops_nothing_and_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "answers").write_text("a file where the folder should be")
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer("early")])
    journal.flush()
    assert "the disk refuses" in (journal.health.trouble or "")
    assert (journal.health.waiting, journal.health.lost) == (1, 0)
    assert "rows wait in memory" in caplog.text
    (tmp_path / "answers").unlink()
    journal.flush()
    assert journal.health.trouble is None
    assert ids(tmp_path) == ["early"]
    assert "the journal is written again; 0 rows were lost" in caplog.text
    journal.close()


def test_while_the_disk_refuses_memory_is_bounded_and_what_is_lost_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "answers").write_text("")
    journal = Journal(tmp_path, params(raw="sampled", raw_share=1.0), clock=Clock())
    for number in range(5):
        journal.record([answer(str(number), raw=b"x" * 300_000)])  # one megabyte may wait: three of them
    journal.flush()
    assert (journal.health.waiting, journal.health.lost) == (3, 2)
    journal.close()
    assert (journal.health.waiting, journal.health.lost) == (0, 5)
    assert "no room for more rows" in caplog.text
    assert "5 rows were lost in all" in caplog.text


def test_a_row_that_no_column_can_hold_is_lost_alone_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer("before"), answer("odd", client="\ud800"), answer("after")])
    journal.flush()
    journal.record([answer("later")])
    journal.close()
    assert ids(tmp_path) == ["after", "before", "later"]
    assert (journal.health.lost, "1 rows cannot be written" in caplog.text) == (1, True)


def test_half_a_write_is_cut_off_and_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer("first")])
    journal.flush()
    write = os.write

    def full_disk(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    journal.record([answer("second")])
    journal.flush()
    monkeypatch.undo()
    assert journal.health.trouble == "the disk refuses: [Errno 28] No space left on device"
    assert ids(tmp_path) == ["first"]
    journal.flush()
    assert ids(tmp_path) == ["first", "second"]
    assert log.read(next(tmp_path.glob("answers/*.arrow"))).torn_bytes == 0
    journal.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    monkeypatch.setattr(journal, "flush", lambda: 1 / 0)
    journal.start()
    _until(lambda: journal.health.trouble is not None)
    assert "has died" in str(journal.health.trouble)
    journal.close()


WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.unit.test_journal_writer import answer, params
from headstart.journal.writer import Journal
journal = Journal(Path(sys.argv[1]), params(flush_s=float(sys.argv[2])), clock=lambda: datetime.now(UTC))
journal.start()
for number in range(10**9):
    journal.record([answer(f"{number:09d}")])
    print(number, time.time(), flush=True)
    time.sleep(0.005)
"""


@pytest.mark.slow
def test_a_killed_writer_loses_at_most_its_last_flush_interval_and_the_next_start_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flush_s = 0.2
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(flush_s), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline().split() for _ in range(200)]
        child.send_signal(signal.SIGKILL)
        said += [line.split() for line in child.stdout.read().splitlines()]
    recorded = {int(number): float(when) for number, when in (line for line in said if len(line) == 2)}
    journal = Journal(tmp_path, params(flush_s=flush_s), clock=Clock())
    journal.start()
    journal.close()
    found = ids(tmp_path)
    assert found == [f"{number:09d}" for number in range(len(found))]
    lost = [when for number, when in recorded.items() if number >= len(found)]
    slack = 0.5  # a flush itself takes a moment on a busy machine
    assert not lost or max(recorded.values()) - min(lost) < flush_s + slack
    assert len(found) > 50
    assert f"{len(found)} rows were recovered" in caplog.text
    assert "answered in the 0.2 s before its end may be missing" in caplog.text
    assert not list(tmp_path.glob("answers/*.arrow"))


def test_the_log_of_a_living_writer_is_not_taken_over(tmp_path: Path) -> None:
    living = Journal(tmp_path, params(), clock=Clock())
    living.record([answer("living")])
    living.flush()
    second = Journal(tmp_path, params(), clock=Clock())
    second.start()
    second.close()
    assert second.recovered == []
    assert ids(tmp_path) == ["living"]
    living.close()
    assert ids(tmp_path) == ["living"]


def _until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
