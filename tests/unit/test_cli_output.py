"""What is printed for people: commands as their shell takes them, everywhere alike."""

import pytest

from headstart.cli import output
from headstart.cli.app import app


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(output, "program", lambda: "/opt/it/bin/headstart")


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        pytest.param(
            "Make one: headstart run bars, or `headstart diff-client bars RAW TENSOR`.",
            "Make one: /opt/it/bin/headstart run bars, or `/opt/it/bin/headstart diff-client bars RAW TENSOR`.",
            id="named",
        ),
        pytest.param("  .venv/bin/headstart run bars", "  .venv/bin/headstart run bars", id="by its path already"),
        pytest.param(
            "headstart: it is a bug in headstart; run", "headstart: it is a bug in headstart; run", id="prose"
        ),
    ],
)
def test_commands_in_a_sentence_are_told_as_this_shell_takes_them(own, sentence, told):
    assert output.typed(sentence) == told


def test_lines_for_people_have_them_so_and_json_as_they_are(own, capsys):
    output.emit({"action": "headstart run bars"}, False, lambda document: [document["action"]])
    assert capsys.readouterr().out == "/opt/it/bin/headstart run bars\n"
    output.emit({"action": "headstart run bars"}, True, lambda document: [document["action"]])
    assert '"headstart run bars"' in capsys.readouterr().out


def test_every_command_of_the_program_is_told_so():
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert sorted(output.COMMANDS) == sorted(names)


def result(**changes):
    live = {"version": 1, "verdict": "unsure", "overridden": "", "provisional": True}
    return {
        "strategy": "linear_probe", "planned": "linear_probe", "reason": "", "metrics": {}, "gates": [],
        "verdict": "unsure", "version": 1, "alias": "champion", "provisional": True, "live": live, "seconds": 60.0,
        "proposed_bars": {"accuracy": 0.46, "macro_f1": 0.4, "calibration_error": 0.2}, **changes,
    }  # fmt: skip


def test_a_run_says_that_its_champion_is_provisional_and_proposes_bars_as_lines_for_params_yaml():
    lines = list(output.run_lines({"tickets": result()}))
    assert lines[0] == "\ntickets: unsure (version 1, provisional champion)"
    assert "  live      version 1, provisionally: too few test rows to be sure that it beats the baseline" in lines
    told = "\n".join(lines)
    assert (
        "add under models.tickets:\n              gates: {accuracy: 0.46, macro_f1: 0.4, calibration_error: 0.2}"
        in told
    )


@pytest.mark.parametrize("changes", [{"proposed_bars": None}, {"alias": None}])
def test_no_bars_are_proposed_where_some_are_set_or_the_version_is_not_served(changes):
    assert "bars" not in "\n".join(output.run_lines({"tickets": result(**changes)}))
