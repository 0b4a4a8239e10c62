"""A scoring job that is killed, started again, or finds something in its place; through a tiny bundle."""

import csv
import json
import subprocess
import sys

import pytest
from filelock import FileLock

from headstart.errors import UsageError
from headstart.scoring import job
from tests.unit.tiny_bundle import text_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return text_bundle(tmp_path_factory.mktemp("text") / "bundle")


def score(bundle, source, output, **options):
    fixed = {"version": 3, "records": bundle.parent / "records"}
    return job.score(bundle, source, output, model="moods", **{**fixed, **options})


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def lines(path, *values):
    path.write_text("".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values))
    return path


def folder_of(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


KILLED_EVERYWHERE = """
import os, signal, sys, pathlib
import pyarrow.dataset  # before the forks: each child would import them
from headstart.scoring import job

bundle, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])

def run(output, fatal):
    "Score in a process of its own that is killed when it is about to change its fatal-th file; 0 if it came through."
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    changes = 0
    def deadly(change):
        def wrapped(*arguments, **options):
            nonlocal changes
            changes += 1
            if changes == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*arguments, **options)
        return wrapped
    for name in ("replace", "unlink", "mkdir"):
        setattr(pathlib.Path, name, deadly(getattr(pathlib.Path, name)))
    records = folder / "records"
    done = job.score(bundle, folder / "in.jsonl", output, model="moods", version=3, part_rows=4, records=records)
    assert done.rows == {"in": 18, "out": 18, "errors": 1}, done
    os._exit(0)

assert run(folder / "whole.parquet", 0) == 0
fatal = 1
while True:
    output = folder / f"killed{fatal}.parquet"
    if run(output, fatal) == 0:
        break
    assert run(output, 0) == 0
    assert not output.with_name(output.name + ".parts").exists()
    assert output.read_bytes() == (folder / "whole.parquet").read_bytes(), fatal
    fatal += 1
print(fatal)
"""


@pytest.mark.slow
def test_killed_before_any_change_of_a_file_and_started_again_it_ends_in_the_same_bytes(bundle, tmp_path):
    lines(tmp_path / "in.jsonl", *({"id": place, "text": "good " * (place % 5)} for place in range(17)), "nonsense")
    (tmp_path / "in.jsonl").write_text((tmp_path / "in.jsonl").read_text().replace('"text": ""', '"text": "bad"'))
    program = [sys.executable, "-c", KILLED_EVERYWHERE, str(bundle), str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 15  # five parts, the job twice, the join, the name, and as many removals


def stopped(bundle, source, output, monkeypatch, *, after, **options):
    """Begin a job and break it off when `after` parts are there."""

    class Stop(Exception):  # noqa: N818 - not an error
        pass

    answer, seen = job.answers.answer, []

    def counted(*arguments, **named):
        if len(seen) == after:
            raise Stop
        seen.append(1)
        return answer(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(job.answers, "answer", counted)
        with pytest.raises(Stop):
            score(bundle, source, output, **options)


def test_going_on_answers_only_what_is_missing_and_says_from_where(bundle, tmp_path, monkeypatch):
    source = lines(tmp_path / "in.jsonl", *({"text": "good"} for _ in range(10)))
    stopped(bundle, source, tmp_path / "out.csv", monkeypatch, after=2, part_rows=3)
    assert score(bundle, source, tmp_path / "out.csv", part_rows=3).resumed_from == 6
    assert len(rows(tmp_path / "out.csv")) == 10


def test_a_part_that_a_power_failure_cut_short_is_made_again(bundle, tmp_path, monkeypatch):
    source = lines(tmp_path / "in.jsonl", *({"text": "good"} for _ in range(10)))
    stopped(bundle, source, tmp_path / "out.csv", monkeypatch, after=3, part_rows=3)
    (tmp_path / "out.csv.parts/part-00001.parquet").write_bytes(b"PAR1")
    assert score(bundle, source, tmp_path / "out.csv", part_rows=3).resumed_from == 3


@pytest.mark.parametrize("change", ["version", "input", "column"])
def test_another_version_input_or_column_starts_anew_and_says_so(bundle, tmp_path, monkeypatch, capsys, change):
    source = lines(tmp_path / "in.jsonl", *({"text": "good", "title": "bad"} for _ in range(10)))
    stopped(bundle, source, tmp_path / "out.csv", monkeypatch, after=2, part_rows=3)
    if change == "input":
        lines(source, *({"text": "bad", "title": "bad"} for _ in range(10)))
    options = {"version": {"version": 4}, "column": {"column": "title"}, "input": {}}[change]
    capsys.readouterr()
    assert score(bundle, source, tmp_path / "out.csv", part_rows=3, **options).resumed_from is None
    assert f"parts of another job ({change} was " in capsys.readouterr().err
    expected = ("positive", "4") if change == "version" else ("negative", "3")
    assert {(row["predicted_label"], row["model_version"]) for row in rows(tmp_path / "out.csv")} == {expected}


def test_an_output_that_exists_is_kept_unless_told_otherwise(bundle, tmp_path):
    source = lines(tmp_path / "in.jsonl", {"text": "good"})
    output = tmp_path / "out.csv"
    output.write_text("precious")
    with pytest.raises(UsageError, match=r"out.csv exists already. Choose another --output, or add --overwrite"):
        score(bundle, source, output)
    assert output.read_text() == "precious" and not list(tmp_path.glob("*.parts"))
    score(bundle, source, output, overwrite=True)
    assert rows(output)[0]["predicted_label"] == "positive"


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_the_same_call_again_says_that_all_is_done_and_touches_nothing(bundle, tmp_path, ending):
    source, output = lines(tmp_path / "in.jsonl", {"text": "good"}, "nonsense"), tmp_path / f"out.{ending}"
    first, written = score(bundle, source, output), output.stat().st_mtime_ns
    again = score(bundle, source, output)
    assert (first.already, again.already) == (False, True)
    assert again.rows == first.rows == {"in": 2, "out": 2, "errors": 1}
    assert (output.stat().st_mtime_ns, folder_of(tmp_path)) == (written, ["in.jsonl", f"out.{ending}"])
    assert not score(bundle, source, output, overwrite=True).already


@pytest.mark.parametrize("change", ["output", "input", "version"])
def test_a_finished_output_is_no_other_jobs_and_not_what_somebody_made_of_it(bundle, tmp_path, change):
    source, output = lines(tmp_path / "in.jsonl", {"text": "good"}), tmp_path / "out.csv"
    score(bundle, source, output)
    if change == "output":
        output.write_text(output.read_text() + "a note\n")
    if change == "input":
        lines(source, {"text": "bad"})
    before = output.read_text()
    with pytest.raises(UsageError, match=r"out.csv exists already"):
        score(bundle, source, output, version=4 if change == "version" else 3)
    assert output.read_text() == before and folder_of(tmp_path) == ["in.jsonl", "out.csv"]


def test_a_folder_of_somebody_elses_is_not_touched(bundle, tmp_path):
    source = lines(tmp_path / "in.jsonl", {"text": "good"})
    (tmp_path / "out.csv.parts").mkdir()
    (tmp_path / "out.csv.parts/thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match=r"holds 'thesis.tex', which is no part"):
        score(bundle, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv.parts/thesis.tex").read_text() == "precious"


def test_the_input_is_never_overwritten(bundle, tmp_path):
    source = lines(tmp_path / "in.jsonl", {"text": "good"})
    with pytest.raises(UsageError, match=r"is the input itself"):
        score(bundle, source, source, overwrite=True)


def test_two_processes_do_not_write_one_output(bundle, tmp_path):
    source = lines(tmp_path / "in.jsonl", {"text": "good"})
    (tmp_path / "out.csv.parts").mkdir()
    with (
        FileLock(tmp_path / "out.csv.parts/lock"),
        pytest.raises(UsageError, match=r"another process is writing .*out.csv"),
    ):
        score(bundle, source, tmp_path / "out.csv")
