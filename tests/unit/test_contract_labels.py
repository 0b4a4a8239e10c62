"""Labels that look alike are one label."""

import pytest

from headstart.contract.labels import is_blank, normal


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("cafe\u0301", "caf\u00e9", id="decomposed"),
        pytest.param("\ufeffbug", "bug", id="byte order mark"),
        pytest.param("bug\u200b", "bug", id="zero-width space"),
        pytest.param("bu\u00adg", "bug", id="soft hyphen"),
        pytest.param("bug\u200d", "bug", id="joiner at the end"),
        pytest.param("bu\u200cg", "bug", id="joiner between Latin letters"),
        pytest.param("\u202bbug\u202c", "bug", id="direction marks"),
        pytest.param("bug\x00\x07", "bug", id="control characters"),
        pytest.param("bug\u00a0report", "bug report", id="no-break space"),
        pytest.param(" bug \t report\u3000\r\n", "bug report", id="white space around and between"),
        pytest.param("e\u034f\u0301", "\u00e9", id="composed once what stood between is gone"),
        pytest.param("\u200b\u00a0", "", id="nothing to see"),
        pytest.param("Bug", "Bug", id="case stays"),
        pytest.param("C++ / C#", "C++ / C#", id="punctuation stays"),
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", None, id="Persian is spelled with joiners"),
        pytest.param("\U0001f469\u200d\U0001f4bb", None, id="emoji joined"),
        pytest.param("b\u200c\u200c\u093f", "b\u093f", id="a run of joiners behind a Latin letter"),
        pytest.param("\u0915\u200d\u2003\u0915", "\u0915 \u0915", id="joiner beside a wide space"),
        pytest.param("m\u00b2", None, id="a superscript is no digit"),
        pytest.param("\ud800", None, id="half a character"),
    ],
)
def test_a_label_has_one_spelling(written, expected):
    expected = written if expected is None else expected
    assert normal(written) == expected
    assert normal(expected) == expected


@pytest.mark.parametrize(
    ("text", "blank"),
    [("", True), (" \n\t", True), ("\u200b\ufeff\u00a0", True), ("\u200d", True), (".", False), ("\u200ba", False)],
)
def test_a_text_is_blank_where_nothing_of_it_can_be_seen(text, blank):
    assert is_blank(text) is blank
