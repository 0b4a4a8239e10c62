"""Bars on standard error: drawn on a terminal, lines in a log."""

import pytest

from headstart import progress


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "LOG_S", 0.0)


def worked(total: int | None) -> None:
    with progress.bar("reading", "rows", total) as shown:
        for _ in range(3):
            shown.update(2)


def test_a_log_gets_lines_that_nothing_is_drawn_over(at_once, capsys):
    worked(6)
    assert capsys.readouterr().err.splitlines()[-1].startswith("    reading: 6 of 6 rows, 00:00 so far")


def test_where_the_total_is_not_known_the_line_holds_a_question_mark(at_once, capsys):
    worked(None)
    out, err = capsys.readouterr()
    assert "reading: 6 of ? rows" in err
    assert "\r" not in err and not out


def test_what_takes_a_moment_says_nothing(capsys):
    worked(6)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    worked(6)
    assert capsys.readouterr().err.endswith("\r")
