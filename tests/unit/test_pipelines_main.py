"""`python -m pipelines`: what its exit status says."""

import sys
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import OutsideError
from pipelines import __main__ as program
from pipelines.states import ALERT


def ended(monkeypatch: pytest.MonkeyPatch, outcome: Any, *flags: str) -> int:
    def run(*arguments: Any) -> tuple[str, str]:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome, "as it was said"

    monkeypatch.chdir(Path.cwd())  # main changes it; put back after the test
    monkeypatch.setattr(program, "run", run)
    monkeypatch.setattr(program, "look", run)
    monkeypatch.setattr(sys, "argv", ["pipelines", "monitoring", *flags])
    return program.main()


@pytest.mark.parametrize(
    ("outcome", "by_hand", "as_job"),
    [
        pytest.param("Completed", 0, 0, id="nothing found"),
        pytest.param(ALERT, 1, 0, id="an alarm is a result"),
        pytest.param(OutsideError("a server is away."), 3, 3, id="something outside failed"),
        pytest.param(RuntimeError("a bug"), 3, 3, id="a crash"),
    ],
)
def test_as_a_job_a_no_is_a_success_and_a_failure_stays_one(monkeypatch, outcome, by_hand, as_job):
    assert ended(monkeypatch, outcome) == by_hand
    assert ended(monkeypatch, outcome, "--as-job") == as_job
