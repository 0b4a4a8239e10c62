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
