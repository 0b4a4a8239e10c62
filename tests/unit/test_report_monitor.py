"""The monitor's page: what happened, how sure, and what to do come first, in words and as something to type or send."""

import re
from html import unescape

import pytest

from headstart.errors import UsageError
from headstart.faults.table import CAUSES, FAULTS
from headstart.findings import Finding
from headstart.monitoring import watch
from headstart.report import monitor, monitor_words
from tests.unit.made_traffic import NOON
from tests.unit.test_report_page import HOSTILE

START, END = "2026-03-02T11:00:00+00:00", "2026-03-02T12:00:00+00:00"
CLIENT = {"name": "app/2.1", "inputs": 60, "share": 0.97}
SWAPPED = {
    "checks": ["property/channel_order"],
    "fault": "channels_swapped",
    "share": 0.31,
    "meaning": "It looks as if red and blue are swapped in 31% of the inputs.",
    "looks_like": [{"fault": "channels_swapped", "share": 0.31, "explained": 0.98}],
}


def document_of(verdict="alert", cause="label_shift", evidence=None, findings=(), score=0.98, **changes):
    named = {"alert": [{"cause": cause, "score": score, "evidence": {"checks": [], **(evidence or {})}}]}
    none = {"ok": [{"cause": "none", "score": 1.0, "evidence": {"checks": []}}]}
    return {
        "format": 3,
        "verdict": verdict,
        "causes": {**named, **none}.get(verdict, []),
        "remedy": CAUSES[cause].remedy if verdict == "alert" else "none",
        "window": {
            "start": START, "end": END, "rows": 500, "distinct": 480, "labelled": 60, "refused": 3, "later": 0,
            "versions": {"2": 500}, "version": 2, "minutes": 60,
        },
        "findings": [finding.document() for finding in findings],
        "estimates": {"accuracy": None, "shares": None, "shares_reason": "two estimators differ."},
        "retraining": {"started": False, "reason": "training is not the remedy"},
        **changes,
    }  # fmt: skip


def text_of(html):
    """What a reader sees, in one line."""
    body = re.sub(r'srcdoc="[^"]*"', "", html).split("<body>")[1]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def shown(document, model="digits", **about):
    return text_of(monitor.render(model, document, **about))


def first_screen(document, **about):
    return shown(document, **about).split("What was found")[0]


def test_a_quiet_window_whose_classes_seem_to_have_moved_says_so():
    share = {"reference": 0.159, "value": 0.398, "low": 0.359, "high": 0.45}
    same = {"reference": 0.5, "value": 0.48, "low": 0.4, "high": 0.55}
    estimates = {"accuracy": None, "shares": {"billing": same, "access": share}, "shares_reason": None}
    page = first_screen(document_of("ok", estimates=estimates))
    assert (
        "No test alarms, but classes may come in other shares: 'access' is estimated at 39.8% of inputs (35.9% to "
        "45.0%), 15.9% in the reference." in page
    )
    assert "look as they did when the model was judged" not in page


def p_value(check="confidence", verdict="fail", statistic=1e-9, bar=1e-4, action="Look at them."):
    return Finding(check, verdict, statistic, bar, "it moved.", action)


@pytest.mark.parametrize(
    ("verdict", "words"), [("ok", "No change seen"), ("alert", "Something changed"), ("unsure", "Too little to tell")]
)
def test_the_verdict_is_said_in_words(verdict, words):
    assert f"digits {words}" in first_screen(document_of(verdict))


def test_the_first_screen_holds_cause_evidence_remedy_and_window():
    text = first_screen(document_of(cause="preprocessing_mismatch", evidence=SWAPPED, findings=[p_value()]))
    assert "It looks as if red and blue are swapped in 31% of the inputs." in text
    assert "preprocessing_mismatch" in text
    assert "This fault explains 98.0% of the change in input properties" in text
    assert "1 of 1 statistical test alarmed; the smallest p-value is 1 × 10⁻⁹, its alarm threshold 1 × 10⁻⁴." in text
    assert "fix_client" in text
    assert "2 March 2026, 11:00 to 12:00 UTC" in text
    assert "500 answers, 480 of them distinct 60 of them with the right label 3 inputs were refused" in text


def test_chance_alarms_are_counted_over_all_tests():
    # two tests at 1e-4 and 3e-4 alarm together at most once in 1 / 4e-4 = 2,500 looks
    findings = [p_value(verdict="pass", statistic=0.5), p_value("quality", "pass", 0.4, 3e-4)]
    assert "one look in 2,500 alarms by chance" in first_screen(document_of("ok", findings=findings))


def test_a_client_that_damages_inputs_is_written_to_by_name():
    document = document_of(cause="preprocessing_mismatch", evidence={**SWAPPED, "client": CLIENT})
    text = first_screen(document)
    assert "Contact app/2.1: Red and blue are swapped in about 97% of the 60 distinct inputs you sent to digits" in text
    assert "headstart diff-client digits RAW TENSOR" in text


@pytest.mark.parametrize(
    ("cause", "commands"),
    [
        ("label_shift", ["headstart remedy digits", "headstart remedy digits correct_prior"]),
        ("batchnorm_drift", ["headstart remedy digits recalibrate_batchnorm"]),
        ("model_artifact", ["headstart rollback digits"]),
        ("unknown_shift", ["curl -s localhost:8000/feedback/digits", "headstart add digits --from-feedback"]),
        ("new_class", ["headstart add digits --from-feedback"]),
        ("preprocessing_mismatch", ["headstart diff-client digits"]),
    ],
)
def test_what_to_do_is_a_command_to_type(cause, commands):
    text = first_screen(document_of(cause=cause))
    assert all(command in text for command in commands)


@pytest.mark.parametrize("cause", [name for name in CAUSES if name != "none"])
def test_every_cause_has_a_page_with_every_fault(cause):
    for fault in FAULTS:
        assert "What to do" in first_screen(document_of(cause=cause, evidence={**SWAPPED, "fault": fault}))


def test_refusals_are_sent_back_with_their_reason():
    refused = Finding("refusals", "fail", 0.3, 0.1, "93 of 293.", "Show them.",
                      {"refused": 93, "inputs": 293, "reasons": {"the text is empty.": 90}})  # fmt: skip
    text = first_screen(document_of(cause="input_quality", evidence={"checks": ["refusals"]}, findings=[refused]))
    assert "93 of your inputs to digits were refused" in text
    assert "most because: the text is empty." in text
    assert "the answers that were given look as they did" in text


def test_a_label_shift_says_which_class_moved_most_and_lists_all_of_them():
    shares = {f"class {name}": {"reference": 0.01, "value": 0.01, "low": 0.0, "high": 0.02} for name in range(76)}
    shares["cat & dog"] = {"reference": 0.24, "value": 0.312, "low": 0.284, "high": 0.34}
    document = document_of(estimates={"accuracy": None, "shares": shares, "shares_reason": None})
    assert "The largest change is 'cat & dog': 31.2% of inputs, up from 24.0%." in first_screen(document)
    shares["class 3"] = {"reference": 0.5, "value": 0.1, "low": 0.0, "high": 0.2}
    assert "The largest change is 'class 3': 10.0% of inputs, down from 50.0%." in first_screen(document)
    shares["class 3"] = shares["class 2"]
    text = shown(document)
    assert "cat & dog 24.0% 31.2% 28.4% – 34.0%" in text
    assert "The other 69 classes, which moved less" in text
    assert text.count("0.0% – 2.0%") == 76


def test_accuracy_stands_on_the_page_with_its_interval_where_labels_came():
    estimates = {"accuracy": {"value": 0.5, "low": 0.43, "high": 0.57, "n": 180}, "shares": None, "shares_reason": "."}
    quality = Finding("quality", "fail", 1e-9, 1e-4, "it fell.", "", {"accuracy_reference": 0.717})
    text = shown(document_of(cause="unknown_shift", findings=[quality], estimates=estimates))
    assert "50.0% of 180 labelled answers are right; the 95% interval is 43.0% – 57.0%. test set 71.7%" in text
    assert "No answer of this window has a label yet." in shown(document_of())


def test_failed_findings_come_first_and_passed_ones_are_folded():
    findings = [
        p_value("confidence", "pass", 0.5), p_value("quality", "unsure", None), p_value("property/brightness"),
        Finding("window", "unsure", 40.0, 100.0, "40 answers.", ""),
    ]  # fmt: skip
    html = monitor.render("digits", document_of(cause="unknown_shift", findings=findings))
    body = html.split('<section id="findings">')[1].split("</section>")[0]
    text = text_of(f"<body>{body}")
    places = [text.index(f"{name} :") for name in ("property/brightness", "quality", "window", "confidence")]
    assert places == sorted(places)
    assert "p = 1 × 10⁻⁹ alarms at 1 × 10⁻⁴" in text
    assert re.search(r"<details>.*</details>", body, re.S)[0].count("<li") == 2
    assert "1 check had too little to tell" in text
    assert "1 check raised no alarm" in text


def test_the_last_looks_are_a_strip():
    looks = [{"start": START, "end": f"2026-03-02T{hour:02}:00:00+00:00", "verdict": verdict}
             for hour, verdict in enumerate(["ok", "ok", "unsure", "alert"], start=9)]  # fmt: skip
    html = monitor.render("digits", document_of(), looks=looks)
    assert "Of the last 4 looks 1 raised an alarm, 2 did not, 1 saw too little." in text_of(html)
    assert re.findall(r'<i class="(\w+)" title', html) == ["pass", "pass", "unsure", "fail"]


def test_looks_at_later_windows_are_left_out():
    looks = [{"start": START, "end": f"2026-03-02T{hour}:00:00+00:00", "verdict": "ok"} for hour in (11, 12, 13)]
    assert "Of the last 2 looks" in shown(document_of("ok"), looks=looks)


def test_a_window_that_could_not_be_looked_at_has_a_page_that_says_why():
    text = shown(watch.not_looked(UsageError("digits has no champion.", action="Run it."), NOON))
    assert "digits No verdict" in text
    assert "This window could not be looked at: digits has no champion." in text
    assert "What to do Run it." in text


def test_a_window_too_small_to_judge_says_that_nothing_found_means_nothing():
    text = first_screen(document_of("unsure"))
    assert "no alarm does not mean no change" in text


def test_a_loss_of_accuracy_that_is_likely_but_not_shown_is_what_an_unsure_window_is_about():
    text = first_screen(
        document_of("unsure", findings=[p_value("quality", "unsure", 4e-5, action="Send more labels.")])
    )
    assert "Accuracy has probably dropped, but there are too few labels to be sure." in text
    assert "What to do Send more labels." in text


def test_where_no_chart_can_be_drawn_the_page_says_why():
    text = shown(document_of(page_error="Evidently failed with KeyError: '<7>'"))
    assert "The charts could not be drawn: Evidently failed with KeyError: '<7>'" in text


def test_a_property_that_no_answer_depends_on_has_a_p_value_and_no_alarm_threshold():
    unheard = Finding("property/upper_share", "pass", 1e-9, None, "capitals moved; the model does not see them.")
    assert "raises no alarm" in shown(document_of("ok", findings=[unheard]))


def test_layers_of_a_window_without_hours_are_one_column():
    layers = [{"layer": "first", "apart": 0.1, "moved": False}, {"layer": "last", "apart": 0.4, "moved": True}]
    drift = Finding("batchnorm_drift", "fail", 1e-9, 1e-5, "layers moved.", "", {"layers": layers})
    html = monitor.render("digits", document_of(cause="batchnorm_drift", findings=[drift]))
    assert cells(html) == [
        ("still", 50, "first, this window: 0.1 nats"),
        ("moved", 100, "last, this window: 0.4 nats, moved"),
    ]


def test_the_map_of_a_network_without_batchnorm_is_of_its_first_and_last_block():
    layers = [{"layer": "encoder.layer.0", "apart": 0.1, "moved": False}]
    drift = Finding("layer_drift", "fail", 1e-9, 1e-5, "a block moved.", "", {"layers": layers})
    assert "How far what enters the first and the last block is" in shown(document_of(findings=[drift]))


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        ([True, False], "The first of 2 layers moved, since now."),
        ([False, True], "The last of 2 layers moved, since now."),
        ([True, True], "Both layers moved, since now."),
        ([False, False], "None of 2 layers moved."),
    ],
)
def test_of_two_layers_the_page_says_which_moved(moved, said):
    assert monitor_words.layers_moved([{"when": "now", "beyond": [0.1, 0.1], "moved": moved}]) == said


def cells(html):
    """Tone, shade and title of each cell of the map of layers, row by row."""
    found = re.findall(r'<td class="(\w+)" style="--shade:(\d+)%" title="([^"]*)">', html)
    return [(tone, int(shade), unescape(title)) for tone, shade, title in found]


def test_the_map_of_layers_shows_where_and_since_when_they_moved_and_hours_without_images():
    hours = [
        {"start": "2026-03-02T08:00:00+00:00", "images": 200, "beyond": [0.0, 0.01, 0.0], "moved": [False] * 3},
        {
            "start": "2026-03-02T10:00:00+00:00",
            "images": 200,
            "beyond": [0.09, 0.01, 0.0],
            "moved": [True, False, False],
        },
        {
            "start": "2026-03-02T11:00:00+00:00",
            "images": 200,
            "beyond": [0.16, 0.04, 0.01],
            "moved": [True, True, False],
        },
    ]
    history = {
        "names": ["backbone.embedder", "backbone.middle.normalization", "backbone.encoder.stages.1"],
        "hours": hours,
    }
    drift = Finding("batchnorm_drift", "fail", 1e-9, 1e-5, "layers moved.", "", {"layers": [], "history": history})
    html = monitor.render("digits", document_of(cause="batchnorm_drift", findings=[drift]))
    assert [cell[:2] for cell in cells(html)] == [
        *[("still", 0), ("absent", 0), ("moved", 75), ("moved", 100)],
        *[("still", 25), ("absent", 0), ("still", 25), ("moved", 50)],
        *[("still", 0), ("absent", 0), ("still", 0), ("still", 25)],
    ]
    assert cells(html)[1][2] == "2 Mar 09:00 UTC: too few inputs"
    assert "2 of 3 layers moved, early layers more than late ones, since 2 Mar 10:00 UTC." in text_of(html)
    assert "embedder middle stage 1" in " ".join(re.findall(r"<th title=[^>]*>([^<]*)</th>", html))


def test_what_comes_from_traffic_is_escaped():
    evidence = {**SWAPPED, "meaning": HOSTILE, "client": {**CLIENT, "name": HOSTILE}}
    share = {"reference": 0.1, "value": 0.3, "low": 0.2, "high": 0.4}
    document = document_of(
        cause="preprocessing_mismatch",
        evidence=evidence,
        findings=[Finding("confidence", "fail", 1e-9, 1e-4, HOSTILE, HOSTILE)],
        estimates={"accuracy": None, "shares": {HOSTILE: share}, "shares_reason": None},
    )
    assert HOSTILE not in monitor.render(HOSTILE, document, charts=HOSTILE)
    assert HOSTILE not in monitor.render(HOSTILE, {**document, "page_error": HOSTILE})


def test_where_no_charts_were_drawn_the_page_gives_the_command_that_draws_them():
    assert "headstart monitor digits --charts --now 2026-03-02T12:00:00+00:00" in shown(document_of("ok"))


@pytest.mark.parametrize(
    ("cause", "started", "said"),
    [
        ("label_shift", True, "The cure correct_prior was carried out: it lasted. It ended: digits: pass."),
        ("label_shift", False, "The cure correct_prior was not carried out: it lasted. It ended: digits: pass."),
        ("concept_drift", True, "Training was started: it lasted. It ended: digits: pass."),
    ],
)
def test_the_page_says_whether_a_training_or_a_cure_was_started(cause, started, said):
    decided = {"started": started, "reason": "it lasted. It ended: digits: pass."}
    assert said in shown(document_of(cause=cause, retraining=decided))
