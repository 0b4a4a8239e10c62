"""The model card, as Markdown and as a page, from one run's documents."""

import re
from importlib import metadata

import pytest

from headstart.report import card
from tests.unit import report_evidence


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report_evidence.write("digits", "image", report_evidence.DIGITS)
    return tmp_path


def written(**options):
    return [path.read_text() for path in card.write("digits", revision="df3c38e0" * 4, **options)]


def test_both_forms_say_the_same_nine_things(run):
    markdown, page = written()
    titles = re.findall(r"^## (.*)$", markdown, re.MULTILINE)
    assert titles == re.findall(r"<h2>(.*)</h2>", page)
    assert titles == [
        "Model", "Intended use", "Data", "Training", "Metrics", "Slices", "Limits", "Backbone", "Identity",
    ]  # fmt: skip
    assert "df3c38e0" in markdown and "df3c38e0" in page


def test_metrics_stand_with_intervals_and_counts(run):
    accuracy = report_evidence.artifacts.read_json(
        report_evidence.artifacts.stage_output("digits", "evaluate") / "evaluation.json"
    )["metrics"]["accuracy"]
    value, low, high = (f"{accuracy[key]:.3f}" for key in ("value", "low", "high"))
    assert f"| accuracy | {value} | {low} to {high} | {accuracy['n']:,} |" in written()[0]


def test_every_class_is_a_slice_weakest_first(run):
    section = written()[0].partition("## Slices")[2].partition("## Limits")[0]
    f1 = [float(row.split(" | ")[4]) for row in re.findall(r"^\| \d .*$", section, re.MULTILINE)]
    assert len(f1) == 10
    assert f1 == sorted(f1)


def test_what_the_user_says_it_is_for_stands_in_it_and_else_where_to_say_it(run):
    assert "Sorting of post" in written(intended_use="Sorting of post.")[0]
    assert "release.intended\\_use in params.yaml is empty" in written()[0]


def test_text_from_outside_becomes_neither_markup_nor_a_new_column(run):
    markdown, page = written(intended_use="<script>alert(1)</script> | [x](http://y) `z`\n# heading")
    assert "<script>" not in markdown.replace("\\<script\\>", "")
    assert "<script>alert" not in page
    assert "\n# heading" not in markdown


def test_no_row_of_the_data_is_quoted(run):
    worth = [one for one in card.gather("digits").findings if one["verdict"] != "pass"]
    assert worth
    section = written()[0].partition("## Data")[2].partition("## Training")[0]
    assert "Checks that did not pass" in section
    assert not [one for one in worth if one["reason"] in section]


def test_the_same_run_gives_the_same_card(run):
    assert written() == written()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"README.md": "---\nlicense: apache-2.0\n---\n# A model"}, "apache-2.0", id="front matter"),
        pytest.param({"LICENSE": "\n  MIT License\n\nCopyright"}, "  MIT License".strip(), id="licence file"),
        pytest.param({"README.md": "---\n: [\n---", "LICENSE": "BSD"}, "BSD", id="front matter that is no YAML"),
        pytest.param({"README.md": "# A model"}, "not stated", id="none"),
    ],
)
def test_the_licence_of_a_folder_is_read_from_what_it_brings(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert card.licence({"source": str(tmp_path)}) == expected


def test_the_licence_of_a_package_is_its_metadatas():
    assert card.licence({"source": "package:ruff"}) == metadata.metadata("ruff")["License-Expression"]


def test_a_backbone_without_a_known_licence_is_said_to_have_none_stated():
    assert card.licence({"source": "package:no-such-package"}) == "not stated"
    assert card.licence(None) == "not stated"
    assert card.licence({"source": "hub:org/model@abc"}).startswith("not stated")
