"""What a terminal's encoding cannot show is escaped; no command ends because of it."""

import io
import json
import sys

import pytest

from headstart.cli import main

LABELS = ("caf\u00e9", "\u4f60\u597d \U0001f600")
ROWS = "".join(f"thing {place},{LABELS[place % 2]}\n" for place in range(12))


def ended(monkeypatch, encoding, *arguments):
    """Exit status and standard output of a command on a terminal of that encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "argv", ["headstart", *arguments])
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as caught:
        main()
    out.flush()
    err.flush()
    return caught.value.code, out.buffer.getvalue().decode(encoding), err.buffer.getvalue().decode(encoding)


@pytest.fixture
def workspace(initialised):
    (initialised / "t.csv").write_text("text,label\n" + ROWS, encoding="utf-8")
    return initialised


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        pytest.param("ascii", r"caf\xe9, \u4f60\u597d \U0001f600", id="ascii"),
        pytest.param("latin-1", "caf\u00e9, \\u4f60\\u597d \\U0001f600", id="latin-1"),
        pytest.param("cp1252", "caf\u00e9, \\u4f60\\u597d \\U0001f600", id="cp1252"),
        pytest.param("utf-8", "caf\u00e9, \u4f60\u597d \U0001f600", id="utf-8"),
    ],
)
def test_labels_that_a_terminal_cannot_show_are_escaped(workspace, monkeypatch, encoding, shown):
    status, out, _ = ended(monkeypatch, encoding, "add", "t", "--data", "t.csv")
    assert status == 0
    assert f"2 classes: {shown}" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_json_stays_json_in_every_encoding(workspace, monkeypatch, encoding):
    (workspace / "caf\u00e9 \u4f60.csv").write_text("text,label\n" + ROWS, encoding="utf-8")
    status, out, _ = ended(monkeypatch, encoding, "add", "t", "--data", "caf\u00e9 \u4f60.csv", "--json")
    assert (status, json.loads(out)["data"]["source"]) == (0, "caf\u00e9 \u4f60.csv")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_refusal_about_such_a_name_is_json_too(workspace, monkeypatch, encoding):
    status, out, err = ended(monkeypatch, encoding, "add", "t", "--data", "\u4f60.csv", "--json")
    assert status == 2
    assert "\u4f60.csv does not exist" in json.loads(out)["error"]["message"]
    assert r"\u4f60.csv does not exist" in err
