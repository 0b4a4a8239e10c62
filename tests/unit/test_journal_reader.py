"""Reading the journal while it is written, sealed, torn, compacted and deleted from."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import DataError
from headstart.journal import deletion, log, reader, recovery
from headstart.journal import schema as rows
from headstart.journal.writer import Journal
from headstart.params.operation import Journal as JournalParams

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FOR_EVER = {"start": NOON - 9999 * DAY, "end": NOON + 9999 * DAY}
PARAMS = JournalParams(
    flush_s=1.0, seal_minutes=5.0, seal_megabytes=64, raw="sampled", raw_share=1.0, raw_days=30, features=10
)


def answer(request_id: str, time: datetime = NOON, index: int = 0) -> rows.Answer:
    return rows.Answer(
        request_id, index, time, "digits", 3, "champion", "a.b", "7", 0.75, (0.25, 0.75), {"width": 8.0}, 1.5,
        features=[0.5], raw=b"x",
    )  # fmt: skip


def write(folder: Path, *ids: str, time: datetime = NOON) -> None:
    """One sealed segment."""
    journal = Journal(folder, PARAMS, clock=lambda: time)
    journal.record([answer(name, time) for name in ids])
    journal.close()


def ids(folder: Path) -> list[str]:
    return reader.read(folder, **FOR_EVER)["request_id"].to_pylist()


def test_a_journal_without_a_folder_has_no_answers_and_all_columns(tmp_path: Path) -> None:
    table = reader.read(tmp_path / "absent", **FOR_EVER)
    assert table.num_rows == 0
    assert table.column_names == [name for name, _ in rows.FIXED]
    assert reader.labels(tmp_path / "absent").column_names == ["request_id", "index", "label", "time"]


def test_the_start_is_inside_the_window_and_the_end_is_not(tmp_path: Path) -> None:
    for minute in range(3):
        write(tmp_path, str(minute), time=NOON + timedelta(minutes=minute))
    table = reader.read(tmp_path, start=NOON, end=NOON + timedelta(minutes=2), columns=["request_id", "label"])
    assert table.to_pydict() == {"request_id": ["0", "1"], "label": ["7", "7"]}


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no time zone, the journal is in UTC"):
        reader.read(tmp_path, start=datetime(2026, 3, 2), end=NOON)  # noqa: DTZ001


def test_the_last_label_of_an_answer_counts_and_joins_by_request_and_index(tmp_path: Path) -> None:
    journal = Journal(tmp_path, PARAMS, clock=lambda: NOON)
    journal.record([answer("a", index=0), answer("a", index=1), answer("b")])
    journal.feedback([rows.Label("a", 1, "8", NOON), rows.Label("c", 0, "1", NOON)])
    journal.flush()
    journal.feedback([rows.Label("a", 1, "9", NOON)])
    journal.close()
    truth = reader.labels(tmp_path)
    assert truth.select(["request_id", "index", "label"]).to_pylist() == [
        {"request_id": "a", "index": 1, "label": "9"},
        {"request_id": "c", "index": 0, "label": "1"},
    ]
    joined = reader.with_truth(reader.read(tmp_path, **FOR_EVER), truth)
    assert joined["truth"].to_pylist() == [None, "9", None]


def test_a_segment_beside_its_log_is_read_once(tmp_path: Path) -> None:
    """A writer killed between the segment's rename and the log's removal leaves both."""
    journal = Journal(tmp_path, PARAMS, clock=lambda: NOON)
    journal.record([answer("a")])
    journal.flush()
    (path,) = tmp_path.glob("answers/*.arrow")
    log.write_segment(log.sealed(path), log.read(path).table)
    assert ids(tmp_path) == ["a"]
    journal.close()
    assert ids(tmp_path) == ["a"]


@settings(deadline=None, max_examples=60)
@given(cut=st.floats(0.0, 1.0), junk=st.binary(max_size=40))
def test_wherever_a_log_is_torn_its_complete_batches_are_read(
    tmp_path_factory: pytest.TempPathFactory, cut: float, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    batches = [rows.answers_batch([answer(str(number))]) for number in range(3)]
    parts = [log.header(batches[0].schema), *(log.message(batch) for batch in batches)]
    whole = b"".join(parts)
    length = round(cut * len(whole))
    path = folder / "torn.arrow"
    written = whole[:length] + junk  # junk that happens to be the very bytes cut off completes a batch
    path.write_bytes(written)
    ends = [0, *(sum(map(len, parts[:count])) for count in range(1, 5))]
    last = max(end for end in ends if written[:end] == whole[:end])
    contents = log.read(path)
    assert contents.table.num_rows == max(0, ends.index(last) - 1)
    assert contents.torn_bytes >= length - last


def test_a_batch_whose_end_a_crash_left_as_zeros_is_torn(tmp_path: Path) -> None:
    batch = rows.answers_batch([answer("a")])
    path, size = tmp_path / "torn.arrow", len(log.message(batch))
    whole = log.header(batch.schema) + log.message(batch)
    for lost in range(1, size + 1):
        path.write_bytes(whole[:-lost] + bytes(lost))
        contents = log.read(path)
        assert (contents.table.num_rows, contents.torn_bytes) == (0, size), lost


def test_a_hole_of_zeros_anywhere_in_a_batch_is_never_read_as_another_answer(tmp_path: Path) -> None:
    batches = [rows.answers_batch([answer(name)]) for name in "ab"]
    path = tmp_path / "torn.arrow"
    first = log.header(batches[0].schema)
    body = log.message(batches[0]) + log.message(batches[1])
    whole = pa.Table.from_batches(batches)
    for start in range(0, len(body), 8):
        for hole in (1, 8, 64):
            path.write_bytes(first + body[:start] + bytes(len(body[start : start + hole])) + body[start + hole :])
            contents = log.read(path)
            assert contents.table.equals(whole.slice(0, contents.table.num_rows)), (start, hole)
            assert contents.torn_bytes > 0 or contents.table.num_rows == 2, (start, hole)


def test_zeros_after_the_last_batch_are_said_to_be_lost(tmp_path: Path) -> None:
    batch = rows.answers_batch([answer("a")])
    path = tmp_path / "torn.arrow"
    path.write_bytes(log.header(batch.schema) + log.message(batch) + bytes(4096))
    contents = log.read(path)
    assert (contents.table.num_rows, contents.torn_bytes) == (1, 4096)


def test_a_log_of_before_without_checksums_is_still_read(tmp_path: Path) -> None:
    batch = rows.answers_batch([answer("a")])
    path = tmp_path / "old.arrow"
    path.write_bytes(batch.schema.serialize().to_pybytes() + batch.serialize().to_pybytes())
    assert log.read(path).table.num_rows == 1


def test_recovery_says_what_it_found(tmp_path: Path) -> None:
    batch = rows.answers_batch([answer("a"), answer("b", NOON + timedelta(seconds=9))])
    folder = tmp_path / "answers"
    folder.mkdir()
    data = batch.schema.serialize().to_pybytes() + batch.serialize().to_pybytes()
    (folder / "dead.arrow").write_bytes(data + b"\xff\xff\xff\xff\x10")
    (found,) = recovery.recover(tmp_path)
    assert found.sentence(1.0) == (
        f"A server ended without closing its journal {folder / 'dead.arrow'}: 2 rows were recovered, the last of "
        "2026-03-02T12:00:09+00:00 (5 bytes of an unfinished batch were dropped); "
        "what it answered in the 1 s before its end may be missing."
    )
    assert ids(tmp_path) == ["a", "b"]
    assert recovery.recover(tmp_path) == []


def test_a_log_that_ends_in_its_header_is_recovered_as_empty(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "dead.arrow").write_bytes(b"\xff\xff")
    (found,) = recovery.recover(tmp_path)
    assert (found.rows, found.until, found.torn_bytes) == (0, None, 2)
    assert list((tmp_path / "answers").iterdir()) == []


def test_a_segment_of_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (path,) = tmp_path.glob("answers/*.parquet")
    newer = pq.read_table(path).replace_schema_metadata({"format": "4"})
    pq.write_table(newer, path)
    with pytest.raises(DataError, match=r"parquet is a journal segment of format 4, formats 1, 2, 3 can be read"):
        ids(tmp_path)


def old_table(request_id: str, time: datetime) -> pa.Table:
    """Format 1, spelt out: what is on users' disks does not change with the schema."""
    return pa.table(
        {
            "format": pa.array([1], pa.int8()),
            "request_id": [request_id],
            "index": pa.array([0], pa.int32()),
            "time": pa.array([time], pa.timestamp("us", tz="UTC")),
            "model": ["digits"],
            "version": pa.array([3], pa.int64()),
            "role": ["champion"],
            "contract": ["a.b"],
            "label": ["7"],
            "probability": [0.75],
            "probabilities": pa.array([[0.25, 0.75]], pa.list_(pa.float32())),
            "features": pa.array([None], pa.list_(pa.float32())),
            "raw": pa.array([None], pa.binary()),
            "raw_sha256": ["ba78"],
            "latency_ms": pa.array([1.5], pa.float32()),
            "property/width": [8.0],
        }
    ).replace_schema_metadata({"format": "1"})


def format_2(request_id: str, time: datetime) -> pa.Table:
    """A row as format 2 had it: what format 1 had, columns for refusals and clients, and features as floats."""
    table = old_table(request_id, time).drop_columns("raw_sha256")
    table = table.set_column(0, "format", pa.array([2], pa.int8()))
    at = table.column_names.index("features")
    table = table.set_column(at, "features", pa.array([[0.25, 1e9]], pa.list_(pa.float32())))
    more = {"status": pa.array([200], pa.int16())} | {
        name: pa.array([None], pa.string()) for name in ("reason", "bundle", "input_hash", "client")
    }
    for name, column in more.items():
        table = table.append_column(name, column)
    return table.replace_schema_metadata({"format": "2"})


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_features_of_format_2_are_read_in_half_precision_beside_those_of_today(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "answers").mkdir()
    path = tmp_path / "answers" / f"20260302T120000000000-1-0.{suffix}"
    table = format_2("old", NOON)
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        path.write_bytes(log.header(table.schema) + log.message(table.to_batches()[0]))
    write(tmp_path, "new", time=NOON + DAY)
    read = reader.read(tmp_path, **FOR_EVER)
    assert read["features"].to_pylist() == [[0.25, 65504.0], [0.5]]
    assert read["format"].to_pylist() == [2, 3]


def test_a_day_of_format_2_and_today_keeps_its_features(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    pq.write_table(format_2("old", NOON - DAY), tmp_path / "answers" / "20260301T120000000000-1-0.parquet")
    write(tmp_path, "new", time=NOON - DAY + timedelta(hours=1))
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).segments == 2
    assert reader.read(tmp_path, **FOR_EVER)["features"].to_pylist() == [[0.25, 65504.0], [0.5]]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_format_1_of_earlier_versions_is_still_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "answers").mkdir()
    path = tmp_path / "answers" / f"20260302T120000000000-1-0.{suffix}"
    table = old_table("old", NOON)
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        path.write_bytes(log.header(table.schema) + log.message(table.to_batches()[0]))
    write(tmp_path, "new", time=NOON + DAY)
    old, new = reader.read(tmp_path, **FOR_EVER).to_pylist()
    assert (old["format"], old["request_id"], old["label"], old["property/width"]) == (1, "old", "7", 8.0)
    assert (old["status"], new["status"]) == (200, 200)
    assert {old[name] for name in ("reason", "bundle", "input_hash", "client")} == {None}
    assert (old["raw_sha256"], new["raw_sha256"]) == ("ba78", None)


def test_segments_of_both_formats_become_one_day(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    pq.write_table(old_table("old", NOON - DAY), tmp_path / "answers" / "20260301T120000000000-1-0.parquet")
    write(tmp_path, "new", time=NOON - DAY + timedelta(hours=1))
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).segments == 2
    assert len(list((tmp_path / "answers").iterdir())) == 1
    assert [(row["request_id"], row["status"]) for row in reader.read(tmp_path, **FOR_EVER).to_pylist()] == [
        ("old", 200), ("new", 200),
    ]  # fmt: skip


def test_compaction_keeps_refusals_and_deletes_those_that_must_go(tmp_path: Path) -> None:
    refused = {"label": None, "probability": None, "probabilities": None, "status": 422}
    journal = Journal(tmp_path, PARAMS, clock=lambda: NOON - DAY)
    journal.record([replace(answer(name, NOON - DAY), **refused) for name in ("keep", "forget")])
    journal.close()
    deletion.request(tmp_path, ["forget"])
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).deleted == 1
    assert reader.read(tmp_path, **FOR_EVER, refusals=True)["request_id"].to_pylist() == ["keep"]


def test_a_deleted_request_is_not_read_any_more_and_gone_once_compacted(tmp_path: Path) -> None:
    write(tmp_path, "keep", "forget")
    deletion.request(tmp_path, ["forget"])
    assert ids(tmp_path) == ["keep"]
    done = deletion.compact(tmp_path, now=NOON, raw_days=30)
    assert (done.busy, done.deleted) == (False, 1)
    assert list((tmp_path / "deletions").iterdir()) == []
    (path,) = tmp_path.glob("answers/*.parquet")
    assert pq.read_table(path)["request_id"].to_pylist() == ["keep"]
    assert ids(tmp_path) == ["keep"]


def test_a_deletion_waits_for_logs_that_are_still_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path, PARAMS, clock=lambda: NOON)
    journal.record([answer("forget")])
    journal.flush()
    deletion.request(tmp_path, ["forget"])
    deletion.compact(tmp_path, now=NOON, raw_days=30)
    journal.close()
    assert ids(tmp_path) == []
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).deleted == 1
    assert ids(tmp_path) == []


def test_raw_inputs_and_features_expire_and_their_answers_stay(tmp_path: Path) -> None:
    write(tmp_path, "old", time=NOON - 31 * DAY)
    write(tmp_path, "young", time=NOON - 29 * DAY)
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).expired == 1
    kept = reader.read(tmp_path, **FOR_EVER).select(["request_id", "raw", "features"]).to_pylist()
    assert kept == [
        {"request_id": "old", "raw": None, "features": None},
        {"request_id": "young", "raw": b"x", "features": [0.5]},
    ]
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).expired == 0


def test_a_past_day_becomes_one_segment_and_late_segments_join_it(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, str(number), time=NOON - DAY + timedelta(hours=number))
    write(tmp_path, "today")
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).segments == 3
    write(tmp_path, "late", time=NOON - DAY + timedelta(hours=5))
    assert ids(tmp_path) == ["0", "1", "2", "late", "today"]
    assert deletion.compact(tmp_path, now=NOON, raw_days=30).segments == 1
    assert ids(tmp_path) == ["0", "1", "2", "late", "today"]
    names = sorted(path.name for path in tmp_path.glob("answers/*.parquet"))
    assert [name[:12] for name in names] == ["20260302T120", "day-20260301"]


def test_compaction_killed_before_it_removed_the_parts_counts_no_row_twice(tmp_path: Path) -> None:
    write(tmp_path, "a", time=NOON - DAY)
    (part,) = tmp_path.glob("answers/*.parquet")
    saved = part.read_bytes()
    deletion.compact(tmp_path, now=NOON, raw_days=30)
    part.write_bytes(saved)
    assert ids(tmp_path) == ["a"]
    write(tmp_path, "b", time=NOON - DAY)
    deletion.compact(tmp_path, now=NOON, raw_days=30)
    assert ids(tmp_path) == ["a", "b"]
    assert not part.exists()


def test_two_compactions_do_not_run_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a")
    with deletion._alone(tmp_path) as alone:
        assert alone
        assert deletion.compact(tmp_path, now=NOON, raw_days=30).busy
