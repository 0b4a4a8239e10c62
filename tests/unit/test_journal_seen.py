"""Which request ids were answered: in this process, before its last start, and by other servers."""

from pathlib import Path

import pytest

from headstart.journal import deletion, seen
from headstart.journal.seen import Seen
from headstart.journal.writer import Journal
from tests.fakes import Clock
from tests.unit.test_journal_writer import NOON, answer, params


@pytest.fixture(autouse=True)
def always_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at the disk is saved because one came shortly before."""
    monkeypatch.setattr(seen, "LOOK_S", 0.0)


def unknown(ids: Seen, asked: list[str]) -> list[str]:
    """Those of the ids that were never answered."""
    return [one for one, count in ids.counts(dict.fromkeys(asked, 1)).items() if not count]


def test_ids_added_are_known_and_others_are_not_each_said_once_in_order(tmp_path: Path) -> None:
    ids = Seen(tmp_path)
    ids.add({"a": 1, "b": 1})
    assert unknown(ids, ["z", "a", "y", "z"]) == ["z", "y"]


def test_answers_written_before_this_start_are_known(tmp_path: Path) -> None:
    before = Journal(tmp_path, params(), clock=Clock())
    before.record([answer("old")])
    before.close()
    assert unknown(Seen(tmp_path), ["old", "new"]) == ["new"]


def test_how_many_inputs_a_request_had_is_known_here_and_from_the_disk(tmp_path: Path) -> None:
    before = Journal(tmp_path, params(), clock=Clock())
    before.record([answer("old", index=0), answer("old", index=1), answer("older")])
    before.close()
    ids = Seen(tmp_path)
    ids.add({"new": 3})
    ids.add({"new": 2})  # an id may be used again
    assert ids.counts({"old": 1, "older": 1, "new": 1, "none": 1}) == {"old": 2, "older": 1, "new": 3, "none": 0}


def test_inputs_that_another_server_writes_later_are_counted(tmp_path: Path) -> None:
    other, ids = Journal(tmp_path, params(), clock=Clock()), Seen(tmp_path)
    for index in (0, 1):
        other.record([answer("theirs", index=index)])
        other.flush()
        assert ids.counts({"theirs": index + 1}) == {"theirs": index + 1}
    other.close()


def test_answers_of_another_server_are_known_once_it_has_written_them(tmp_path: Path) -> None:
    other, ids = Journal(tmp_path, params(), clock=Clock()), Seen(tmp_path)
    for name in ("first", "second"):
        other.record([answer(name)])
        assert unknown(ids, [name]) == [name]
        other.flush()
        assert unknown(ids, [name]) == []
    other.close()


def test_answers_are_known_after_their_days_were_joined(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer("old")])
    journal.close()
    deletion.compact(tmp_path, now=NOON.replace(day=9), raw_days=30)
    assert unknown(Seen(tmp_path), ["old"]) == []


def test_the_newest_are_kept_and_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "BLOCK", 10)
    monkeypatch.setattr(seen, "MOST", 50)
    ids = Seen(tmp_path)
    for number in range(1000):
        ids.add({str(number): 1})
    assert unknown(ids, [str(number) for number in range(950, 1000)]) == []
    assert unknown(ids, ["0", "900"]) == ["0", "900"]
    assert sum(len(hashes) for hashes, _ in ids._blocks) == 50


def test_looking_again_never_trades_the_newest_for_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "BLOCK", 10)
    monkeypatch.setattr(seen, "MOST", 20)
    clock = Clock()
    for number in range(6):  # six files of ten ids
        journal = Journal(tmp_path, params(), clock=clock)
        journal.record([answer(f"{number}-{place}") for place in range(10)])
        journal.close()
        clock.advance(hours=1)
    ids = Seen(tmp_path)
    for _ in range(5):  # each looks at the disk
        assert unknown(ids, ["nobody"]) == ["nobody"]
    assert unknown(ids, [f"5-{place}" for place in range(10)]) == []


def test_a_past_day_pushes_out_none_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "BLOCK", 10)
    monkeypatch.setattr(seen, "MOST", 20)
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer(f"old {number}") for number in range(40)])
    journal.close()
    deletion.compact(tmp_path, now=NOON.replace(day=9), raw_days=30)
    ids = Seen(tmp_path)
    ids.add(dict.fromkeys([f"new {number}" for number in range(10)], 1))
    assert unknown(ids, ["nobody"]) == ["nobody"]
    assert unknown(ids, [f"new {number}" for number in range(10)]) == []


def test_an_open_log_that_is_read_again_and_again_takes_the_room_of_its_ids_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "BLOCK", 10)
    monkeypatch.setattr(seen, "MOST", 50)
    other, ids = Journal(tmp_path, params(), clock=Clock()), Seen(tmp_path)
    ids.add(dict.fromkeys([f"own {number}" for number in range(10)], 1))
    other.record([answer(f"other {number}") for number in range(10)])
    other.flush()
    for _ in range(10):
        unknown(ids, ["nobody"])
    assert unknown(ids, [f"own {number}" for number in range(10)]) == []
    other.close()


def test_a_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path, params(), clock=Clock())
    journal.record([answer("good")])
    journal.close()
    (tmp_path / "answers" / "29990101T000000000000-1-0.parquet").write_bytes(b"no parquet")
    assert unknown(Seen(tmp_path), ["good", "bad"]) == ["bad"]


def test_the_disk_is_looked_at_no_more_than_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "LOOK_S", 1.0)
    ids = Seen(tmp_path)
    looks = []
    monkeypatch.setattr(seen.reader, "segments", lambda folder: looks.append(folder) or [])
    for _ in range(50):
        assert unknown(ids, ["nobody"]) == ["nobody"]
    assert len(looks) == 1
