import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from headstart import artifacts
from headstart.determinism import file_digest
from headstart.errors import DataError
from headstart.report.evidence import gather
from headstart.report.page import render
from tests.unit import report_evidence, report_old_plan, report_plan

VOID = {"meta", "img", "br", "wbr", "link", "input", "hr"}
HOSTILE = "<script>alert('$x$')</script>"


class Document(HTMLParser):
    """Elements with their attributes, and the text; complains where elements are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(tmp_path_factory, "digits", "image", report_evidence.DIGITS)


@pytest.fixture(scope="module")
def intents(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(tmp_path_factory, "intents", "text", report_evidence.INTENTS)


def page(factory: pytest.TempPathFactory, model: str, modality: str, classes: list[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(factory.mktemp(model))
        report_evidence.write(model, modality, classes)
        return render(gather(model))


def test_the_first_screen_tells_verdict_metrics_and_standing_in_this_order(digits):
    text = Document(digits).text
    told = ["digits", "Champion", "passed all 7 gates", "Sorts images into 10 classes", "Accuracy", "Macro F1",
            "Log loss", "Calibration error", "May it go live?"]  # fmt: skip
    places = [text.index(one, text.index("headstart report")) for one in told]
    assert places == sorted(places)


def test_every_section_has_its_evidence_for_images_and_for_texts(digits, intents):
    for html in (digits, intents):
        sections = re.findall(r'<section id="([a-z-]+)"', html)
        assert sections == ["gates", "choice", "layers", "learning", "confusion", "confidence",
                            "classes", "mistakes", "data", "next", "provenance"]  # fmt: skip
        assert 'class="absent"' not in html
        assert html.count("<svg") == 7  # accuracies, layers, rates, loss, confusion and more


def test_the_page_is_well_formed_and_its_ids_are_unique(digits, intents):
    for html in (digits, intents):
        identifiers = Document(html).attributes("id")
        assert sorted(identifiers) == sorted(set(identifiers))


def test_the_page_asks_no_network_and_runs_no_script(digits, intents):
    for html in (digits, intents):
        document = Document(html)
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in document.elements}
        assert all(source.startswith("data:image/") for source in document.attributes("src"))
        assert all(target.startswith("#") for target in document.attributes("href"))
        assert "http" not in html and "@import" not in html


def test_drawings_and_pictures_are_told_to_those_who_cannot_see_them(digits):
    drawn = [attributes for tag, attributes in Document(digits).elements if tag in ("svg", "img")]
    assert all(attributes.get("aria-label") or attributes.get("alt") for attributes in drawn)


def test_drawings_take_every_colour_from_the_theme(digits):
    drawings = "".join(re.findall(r"<svg.*?</svg>", digits, re.DOTALL))
    assert "var(--accent)" in drawings
    assert not re.search(r"#[0-9a-f]{6}\b", drawings)
    assert "prefers-color-scheme: dark" in digits


def test_a_page_of_77_classes_names_each_of_them_and_stays_under_2_megabytes(intents):
    text = Document(intents).text
    assert all(name in text for name in report_evidence.INTENTS)
    assert len(intents.encode()) < 2_000_000


def test_the_same_evidence_gives_the_same_bytes(workspace, digits):
    report_evidence.write("digits", "image", report_evidence.DIGITS)
    assert render(gather("digits")) == digits


@pytest.mark.parametrize("modality", ["text", "image"])
def test_whatever_comes_from_data_is_escaped(workspace, modality):
    model = "m"
    report_evidence.write(model, modality, [HOSTILE, "b", "c"], text=HOSTILE + "{}", verdict="fail")
    source = {"format": 1, "source": HOSTILE, "digest": HOSTILE}
    artifacts.write_json(artifacts.raw(model) / "source.json", source)
    release = artifacts.release(model) / "judgement.json"
    judgement = artifacts.read_json(release)
    for finding in judgement["findings"]:
        finding |= {"check": HOSTILE, "reason": HOSTILE, "action": HOSTILE, "verdict": "fail"}
    artifacts.write_json(release, judgement | {"version": HOSTILE, "champion": HOSTILE + "2"})
    html = render(gather(model))
    assert HOSTILE in Document(html).text
    assert "<script" not in html


def test_labels_with_dollars_foreign_letters_and_broken_characters_are_drawn(workspace):
    classes = ["price $5 to $6", "請求書", "line\nbreak", "nul\x00", "half \ud83d", "_" * 300]
    report_evidence.write("m", "text", ["a", "b", "c", "d", "e", "f"])
    path = artifacts.stage_output("m", "evaluate") / "evaluation.json"
    evaluation = artifacts.read_json(path)
    names = dict(zip(evaluation["classes"], classes, strict=True))
    evaluation["classes"] = classes
    for one in evaluation["per_class"] + evaluation["mistakes"]:
        one["label"] = names[one["label"]]
        one["predicted"] = names.get(one.get("predicted", ""), "")
    path.write_text(json.dumps(evaluation), "utf-8")  # ASCII escapes, as JSON may carry a lone surrogate
    html = render(gather("m"))
    html.encode("utf-8")
    assert "請求書" in html and "price $5 to $6" in html


def test_the_page_shows_what_was_kept_and_the_discarded_training_only_on_request(workspace):
    report_evidence.write("m", "text", ["a", "b"], strategy="linear_probe")
    html = render(gather("m"))
    learning = html[html.index('<section id="learning"') : html.index('<section id="confusion"')]
    served, discarded = learning.split("<details>")
    assert "has no learning curve" in served and "<svg" not in served
    assert "The training of fine-tuning, which was not kept" in discarded and "<svg" in discarded
    layers = html[html.index('<section id="layers"') : html.index('<section id="learning"')]
    assert "Highest learning rate" not in layers


def test_the_candidates_stand_in_one_table_and_the_kept_one_is_marked(workspace):
    report_evidence.write("m", "text", ["a", "b"])
    html = render(gather("m"))
    table = html[html.index('<table class="candidates">') : html.index("</table>", html.index('class="candidates"'))]
    assert table.count("<tr>") == 3 and table.count(">kept<") == 1
    assert table.index("linear probe") < table.index("<b>fine-tuning</b>") < table.index(">kept<")
    assert "significantly better" in Document(html).text


def test_what_compare_found_is_shown_while_it_is_of_this_plan(workspace):
    report_evidence.write("m", "text", ["a", "b"])
    assert "What the head start is worth" not in render(gather("m"))
    history = report_plan.history()
    plan = artifacts.stage_output("m", "plan") / "plan.json"
    found = {**history, "format": 1, "seconds": {}, "plan": file_digest(plan)}
    artifacts.write_json(artifacts.comparison("m") / "compare.json", found)
    assert "What the head start is worth" in render(gather("m"))
    artifacts.write_json(plan, {**artifacts.read_json(plan), "unit": "tokens"})
    assert "What the head start is worth" not in render(gather("m"))


def test_a_run_of_the_version_before_is_still_drawn(workspace):
    """After an upgrade, promotions and rollbacks draw the page of a run that the older version made."""
    report_evidence.write("m", "text", ["a", "b"])
    artifacts.write_json(artifacts.stage_output("m", "plan") / "plan.json", report_old_plan.plan("fine_tune", 2, 36))
    artifacts.write_json(artifacts.stage_output("m", "train") / "history.json", report_old_plan.history("fine_tune"))
    text = Document(render(gather("m"))).text
    assert "Fine-tuning is better than the probe it started from." in text
    assert "Kept: fine-tuning (fine_tune)." in text


def test_what_the_gates_did_not_pass_comes_with_the_command_that_overrides_them(workspace):
    report_evidence.write("m", "text", ["a", "b"], verdict="unsure", version="4", alias=None)
    assert "headstart promote m 4 --reason WHY" in Document(render(gather("m"))).text


def test_log_loss_is_held_against_guessing_by_class_shares(workspace):
    report_evidence.write("m", "text", ["a", "b"])  # format 1: guessing among two classes costs ln 2
    assert "guessing 0.69" in Document(render(gather("m"))).text
    path = artifacts.stage_output("m", "evaluate") / "evaluation.json"
    guessing = {"nll": {"value": 0.33, "low": 0.3, "high": 0.36, "n": 70}}
    artifacts.write_json(path, {**artifacts.read_json(path), "format": 2, "guessing": guessing})
    assert "guessing 0.33" in Document(render(gather("m"))).text


def test_accuracy_without_near_copies_stands_beside_it(workspace):
    report_evidence.write("m", "text", ["a", "b"])
    path = artifacts.stage_output("m", "evaluate") / "evaluation.json"
    assert "near copies" not in Document(render(gather("m"))).text
    near = {"rows": 37, "without": {"accuracy": {"value": 0.871, "low": 0.8, "high": 0.9, "n": 40}}}
    artifacts.write_json(path, {**artifacts.read_json(path), "near_copies": near})
    assert "Without the 37 with near copies in train: 87.1%." in Document(render(gather("m"))).text


def test_a_run_that_stopped_after_the_plan_is_shown_as_far_as_it_went(workspace):
    report_evidence.write("m", "text", ["a", "b"])
    for stage in ("train", "evaluate", "bundle"):
        for path in artifacts.stage_output("m", stage).iterdir():
            path.unlink()
    (artifacts.release("m") / "judgement.json").unlink()
    text = Document(render(gather("m"))).text
    assert "Unfinished" in text
    assert "There is no training history." in text
    assert "artifacts/models/m/evaluate/evaluation.json" in text  # named among what is not there
    assert "Training has not run yet." in text


def test_a_model_without_any_stage_is_refused_with_what_to_do(workspace):
    with pytest.raises(DataError, match=r"no stage of m has run here.*headstart run m"):
        gather("m")


def test_a_document_of_a_newer_format_is_refused(workspace):
    report_evidence.write("m", "text", ["a", "b"])
    artifacts.write_json(artifacts.stage_output("m", "plan") / "plan.json", {"format": 4})
    with pytest.raises(DataError, match=r"plan\.json has format 4, this headstart reads up to 3"):
        gather("m")


def test_a_training_that_broke_leaves_gaps_in_its_curve(workspace):
    report_evidence.write("m", "text", ["a", "b"])
    path = artifacts.stage_output("m", "train") / "history.json"
    history = artifacts.read_json(path)
    for epoch in history["candidates"][1]["training"]["epochs"][5:]:
        epoch |= {"loss": None, "validation/loss": None, "validation/accuracy": None}
    artifacts.write_json(path, history)
    assert "How it learned" in render(gather("m"))


def test_a_linear_probe_has_no_learning_curve_and_says_so(workspace):
    report_evidence.write("m", "text", ["a", "b"], strategy="linear_probe")
    assert "a linear probe is solved" in render(gather("m")).lower()


def test_a_model_without_a_mistake_says_so(workspace):
    report_evidence.write("m", "image", ["a", "b", "c"], errors=0.0)
    text = Document(render(gather("m"))).text
    assert "None of the test examples is wrong." in text
    assert "Most common mix-ups" not in text
