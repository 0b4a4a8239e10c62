"""Faults inside texts: planted ones are named, sound texts in many languages are not."""

import numpy as np
import pytest

from headstart.data.checks import outliers
from headstart.data.checks.text import TextFaults
from headstart.data.checks.truncation import Truncation
from headstart.report.finding_words import told
from tests.unit.checked_rows import LEVEL, every, examples, findings, real, real_rows

SOUND = [
    "Le café est près de la forêt, où l'été fut très long.",
    "Größe, Übermut und Straße: überall schöne Äpfel für 3 €.",
    "Señor, ¿dónde está el baño? ¡Allí, a la derecha!",
    "Weather is great today 😀👍🏽 👨‍👩‍👧‍👦 see you “soon” — maybe…",
    "5 °C to 10 °C, ±2 µm, 30 % of £20 is £6; AT&T & Co. © 2020",
    "x < y and y > z, so a<b; write to me <me> at A&B; R&D;",
    "Привет, как дела? Всё хорошо.",
    "これは日本語の文章です。漢字とひらがな。",
    "שלום עולם, זה טקסט בעברית",
    "می‌خواهم کتاب بخوانم",
    "line one\nline two\ttabbed\r\n",
]


def said(texts, check):
    return findings(TextFaults(LEVEL), texts)[check]


@pytest.mark.parametrize("check", ["mojibake", "control_characters", "markup", "lengths"])
def test_sound_texts_in_many_languages_are_left_alone(check):
    reasons, finding = said(SOUND * 20, check)
    assert (finding.verdict, finding.statistic, reasons) == ("pass", 0.0, {})


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_utf_8_read_with_another_encoding_is_mojibake(encoding):
    broken = SOUND[1].encode().decode(encoding, "replace")
    reasons, finding = said([*SOUND, broken], "mojibake")
    assert (finding.verdict, finding.statistic, set(reasons)) == ("unsure", 1.0, {len(SOUND)})
    assert "source row 12 (train)" in told(finding)["reason"]


@pytest.mark.parametrize(
    ("broken", "shown"),
    [("see \xe2\x80\xa2 On the left", r"'â\x80¢ On' for '• On'"), ("25 Â° The end", "'Â° T' for '° T'")],
)
def test_what_the_right_encoding_mends_is_shown_in_step_and_is_no_fault_of_its_own(broken, shown):
    """Controls of such a text were to be taken out, which destroys what ftfy would have mended."""
    assert shown in told(said([broken], "mojibake")[1])["reason"]
    assert said([broken], "control_characters")[1].verdict == "pass"
    assert said([broken + " \u200b"], "control_characters")[1].verdict == "unsure"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("a\x00b", "U+0000", id="NUL"),
        pytest.param("a\x1bb", "U+001B", id="escape"),
        pytest.param("a\x81b", "U+0081", id="C1"),
        pytest.param("pass\u200bword", "U+200B", id="zero width"),
        pytest.param("file\u202egnp.exe", "U+202E", id="direction override"),
        pytest.param("caf\ufffd", "U+FFFD", id="replacement"),
        pytest.param("\ufeffid", "U+FEFF", id="byte order mark"),
    ],
)
def test_characters_that_nobody_sees_are_named_by_code(text, code):
    reasons, finding = said(["fine", text], "control_characters")
    assert set(reasons) == {1}
    assert code in told(finding)["reason"]


@pytest.mark.parametrize("text", ["a <br/> b", "<p class='x'>hello</p>", "fish &amp; chips", "it&#39;s", "<!-- x -->"])
def test_tags_and_entities_are_markup(text):
    assert set(said([*SOUND, text], "markup")[0]) == {len(SOUND)}


@pytest.mark.parametrize("text", ["mail <bob@example.com> now", "i < 3 and 4 > 2", "List<int> xs", "Q&A; yes"])
def test_angle_brackets_alone_are_no_markup(text):
    assert said([text], "markup")[1].verdict == "pass"


def test_texts_far_outside_the_sets_own_lengths_are_absurd():
    random = np.random.default_rng(5)
    texts = ["x" * int(length) for length in np.exp(random.normal(4.5, 0.5, 3000))]
    texts[7], texts[8] = "x", "x" * 40_000
    _, finding = said(texts, "lengths")
    assert (finding.verdict, finding.statistic) == ("unsure", 2.0)
    assert "source row 8 (train)" in told(finding)["reason"] and "40,000 characters" in told(finding)["reason"]


def test_of_sound_sets_at_most_the_level_has_an_absurd_length():
    # 400 sets at level 0.01: 4 expected; 12 or more come with chance 0.001 (binomial)
    random = np.random.default_rng(6)
    named = 0
    for _ in range(400):
        values = np.exp(random.normal(4.0, 0.8, 1000))
        low, high = outliers.bounds(values, 0.01)
        named += bool(((values < low) | (values > high)).any())
    assert named < 12


def test_absurd_lengths_are_named_also_where_they_are_many():
    """Quantiles take a tenth of the rows for a heavy tail; that nothing lies between gives them away."""
    random = np.random.default_rng(7)
    texts = ["x" * int(length) for length in np.exp(random.normal(4.5, 0.5, 900))]
    _, finding = said([*texts, *["x" * 15_000] * 100], "lengths")
    assert (finding.verdict, finding.statistic) == ("unsure", 100.0)
    _, finding = said([*[text * 40 for text in texts], *["x"] * 100], "lengths")
    assert (finding.verdict, finding.statistic) == ("unsure", 100.0)


def test_a_heavy_tail_has_a_gap_no_more_often_than_the_level_says():
    # 400 tails of Pareto with index 1, the heaviest there is a promise for, at level 0.05: 20 expected at most; 34 or
    # more come with chance 0.002 (binomial)
    random = np.random.default_rng(8)
    named = 0
    for _ in range(400):
        values = 10 * (1 + random.pareto(1.0, 1000))
        named += outliers.gap(values, 0.05) != (0.0, float("inf"))
    assert named < 34


def test_a_rare_script_is_named_and_a_common_one_is_not():
    latin = ["A plain sentence of words."] * 80
    assert said([*latin, SOUND[6]], "scripts")[1].statistic == 1.0
    assert "Cyrillic 20.0%" in told(said([*latin, *[SOUND[6]] * 20], "scripts")[1])["reason"]
    assert said([*latin, *[SOUND[6]] * 20], "scripts")[1].verdict == "pass"


def test_rows_already_put_aside_are_not_counted_again():
    texts = ["fine", "a\x00b"]
    rows = examples(texts).without({1: "for another reason"})
    assert findings(TextFaults(LEVEL), texts, rows)["control_characters"][1].verdict == "pass"


def truncation(lengths, chosen, share=0.05, most=10):
    texts = ["w " * length for length in lengths]
    inspector = Truncation(
        lambda batch: [len(text.split()) for text in batch], 10, most=most, chosen=chosen, share=share, level=LEVEL
    )
    return findings(inspector, texts)["truncation"][1]


def test_many_texts_longer_than_the_contract_are_said_with_their_share():
    finding = truncation([20] * 40 + [5] * 160, np.ones(200, np.bool_))
    assert (finding.verdict, finding.statistic) == ("unsure", 40.0)
    assert "20.0%" in told(finding)["reason"]


def test_the_limit_that_would_keep_most_texts_whole_is_proposed_with_its_cost():
    # 160 texts of 5, 30 of 20, 10 of 90: 5% may be cut, so 20 has to fit: the next multiple of 32
    finding = truncation([5] * 160 + [20] * 30 + [90] * 10, np.ones(200, np.bool_), most=512)
    # now 160 * 5 + 40 * 10 tokens, then 160 * 5 + 30 * 20 + 10 * 32
    assert "tokens: 32 would cut 5.0% of the texts instead of 20.0%, at 1.4 times the tokens" in told(finding)["action"]
    assert finding.evidence["tokens"] == 32


def test_no_limit_above_what_the_backbone_takes_is_proposed():
    lengths = [90] * 100 + [5] * 100
    assert truncation(lengths, np.ones(200, np.bool_), most=24).evidence["tokens"] == 24
    finding = truncation(lengths, np.ones(200, np.bool_), most=10)
    assert (finding.verdict, finding.evidence["tokens"]) == ("unsure", None)
    assert told(finding)["action"].startswith("The backbone takes no more")


def test_a_few_long_texts_and_rows_not_chosen_are_no_finding():
    chosen = np.ones(200, np.bool_)
    chosen[:100] = False
    finding = truncation([20] * 104 + [5] * 96, chosen)
    assert (finding.verdict, finding.statistic, finding.evidence["looked_at"]) == ("pass", 4.0, 100)


def test_rows_without_text_are_passed_over():
    payloads = [None, "", "   ", "fine"]
    assert all(finding.verdict == "pass" for _, finding in findings(TextFaults(LEVEL), payloads).values())
    inspector = Truncation(lambda batch: [1] * len(batch), 1, most=1, chosen=every(payloads), share=0.1, level=LEVEL)
    assert findings(inspector, payloads)["truncation"][1].evidence["looked_at"] == 3


@real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trec6", set()),
        ("banking77", set()),
        ("chemprot", set()),
        # U+0091, U+0096 and U+0097 of Windows-1252 in 24 rows, which ftfy mends; tags of scraped pages in 4, by eye
        ("subj", {"mojibake", "markup"}),
        # "‚Äôs" for "’s" in the first of 279, and one U+0002
        ("sci_cite", {"mojibake", "control_characters"}),
    ],
)
def test_real_sets_have_the_faults_they_were_seen_to_have(name, expected):
    payloads, rows = real_rows(name)
    said = findings(TextFaults(LEVEL), payloads, rows)
    assert {check for check, (_, finding) in said.items() if finding.verdict != "pass"} == expected
