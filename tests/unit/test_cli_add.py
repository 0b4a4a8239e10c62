"""`headstart add`: what is proposed for a source, with reasons; and each way of going wrong, by its sentence."""

import json

import pytest
import yaml
from PIL import Image

from headstart.cli.add import add
from headstart.errors import HeadstartError, UsageError
from headstart.params.loader import load

ROWS = "my card is lost,card\nwhere is my money,money\na card was eaten,card\nthe money came late,money\n" * 3


@pytest.fixture
def workspace(initialised):
    return initialised


def write(workspace, text, name="tickets.csv"):
    path = workspace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def pictures(folder, labels=("ants", "bees"), count=3, size=(8, 6)):
    for label in labels:
        for number in range(count):
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (number, 0, 0)).save(path)


def added(capsys, *arguments, **options):
    capsys.readouterr()
    assert add(*arguments, as_json=True, **options) == 0
    return json.loads(capsys.readouterr().out)


def said(capsys, *arguments, **options):
    capsys.readouterr()
    assert add(*arguments, **options) == 0
    return capsys.readouterr().out


def models(workspace):
    return yaml.safe_load((workspace / "params.yaml").read_text())["models"]


def refused(workspace, *arguments, **options):
    before = (workspace / "params.yaml").read_text()
    with pytest.raises(HeadstartError) as caught:
        add(*arguments, **options)
    assert caught.value.exit_status == 2
    assert (workspace / "params.yaml").read_text() == before
    return str(caught.value)


def test_a_source_is_all_that_has_to_be_said(workspace, capsys):
    entry = added(capsys, "tickets", data=[write(workspace, "body,queue\n" + ROWS.replace("\n", "\n"))], label="queue")
    assert entry == {
        "modality": "text",
        "backbone": "minilm",
        "data": {"source": "tickets.csv", "columns": {"input": "body", "label": "queue"}},
    }
    assert models(workspace) == {"tickets": entry}
    assert load(workspace / "params.yaml").models["tickets"].data.columns.input == "body"


def test_the_first_entry_stands_in_lines_and_every_comment_stays(workspace, capsys):
    before = (workspace / "params.yaml").read_text()
    added(capsys, "tickets", data=[write(workspace, "text,label\n" + ROWS)])
    after = (workspace / "params.yaml").read_text()
    assert after.startswith(before.partition("models:")[0])
    assert after.endswith(
        "models:\n  tickets:\n    modality: text\n    backbone: minilm\n    data:\n      source: tickets.csv\n"
    )


def test_every_choice_is_given_its_reason(workspace, capsys):
    out = said(capsys, "tickets", data=[write(workspace, "text,category\n" + ROWS + "a card\tcame,card\n")])
    for sentence in (
        "modality text, because column 'text' holds texts",
        "column 'category' is the label",
        "13 labelled rows without a split",
        "texts have 16 characters (median), 19 at most",
        "largest class 'card' with 7 rows, smallest 'money' with 6",
        "backbone minilm, because it is the only one for texts",
        "headstart run tickets    makes a champion",
    ):
        assert sentence in out, sentence


def test_images_in_folders_are_seen_and_measured(workspace, capsys):
    pictures(workspace / "photos")
    out = said(capsys, "photos", data=["photos"])
    assert "modality image, because photos holds folders of images, such as ants/0.png" in out
    assert "images are 8 x 6 pixels, 6 of mode RGB" in out
    assert models(workspace)["photos"]["backbone"] == "glyphs"


def test_images_named_in_a_table_are_seen(workspace, capsys):
    pictures(workspace / "shots")
    rows = "".join(f"shots/{label}/{n}.png,{label}\n" for label in ("ants", "bees") for n in range(3))
    out = said(capsys, "shots", data=[write(workspace, "image,label\n" + rows, "shots.csv")])
    assert "modality image, because column 'image' holds images or names their files" in out
    assert "images are 8 x 6 pixels" in out


def test_another_script_is_pointed_out(workspace, capsys):
    out = said(capsys, "t", data=[write(workspace, "text,label\n" + "где моя карта,a\nпоздно пришли деньги,b\n" * 4)])
    assert "100% of letters are not Latin" in out


def test_labels_with_spaces_in_two_cases_or_as_numbers_work_and_are_pointed_out(workspace, capsys):
    rows = "one thing,Billing \ntwo things,billing\nthree things,other\nfour things,Billing\n" * 3
    out = said(capsys, "t", data=[write(workspace, "text,label\n" + rows)])
    assert "surplus spaces in the label were taken off on 3 rows: 'Billing ' (3 rows)" in out
    assert "'Billing' (6 rows) and 'billing' (3 rows) differ in case alone" in out
    assert 'make one class of them: prepare: {labels: {"billing": "Billing"}} under the model' in out
    out = said(capsys, "n", data=[write(workspace, "text,label\n" + "a b,0\nc d,1\n" * 5, "numbers.csv")])
    assert "labels are numbers, and answers will read so" in out


def test_the_same_add_again_changes_nothing_also_when_the_user_wrote_more_into_the_entry(workspace, capsys):
    name = write(workspace, "text,label\n" + ROWS)
    first = added(capsys, "tickets", data=[name])
    path = workspace / "params.yaml"
    path.write_text(path.read_text() + "    gates:\n      accuracy: 0.7  # ours\n")
    before = path.read_text()
    assert added(capsys, "tickets", data=[name]) == first
    assert path.read_text() == before


def test_several_sources_become_a_list_and_feedback_joins_them(workspace, capsys):
    one, two = (write(workspace, "text,label\n" + ROWS, name) for name in ("one.csv", "two.csv"))
    assert added(capsys, "t", data=[one, two])["data"]["source"] == [one, two]
    keep_raw_inputs(workspace)
    assert added(capsys, "t", from_feedback=True)["data"]["source"] == [one, two, "feedback:t"]
    text = (workspace / "params.yaml").read_text()
    assert added(capsys, "t", from_feedback=True) == models(workspace)["t"]
    assert added(capsys, "t", data=[one, two])["data"]["source"] == [one, two]
    assert (workspace / "params.yaml").read_text() == text


def keep_raw_inputs(workspace, policy="sampled"):
    path = workspace / "params.yaml"
    path.write_text(path.read_text() + f"    journal:\n      raw: {policy!r}\n")


@pytest.mark.parametrize("policy", ["off", "hashed"])
def test_feedback_without_raw_inputs_in_the_journal_is_refused_with_the_key_to_set(workspace, capsys, policy):
    added(capsys, "t", data=[write(workspace, "text,label\n" + ROWS)])
    keep_raw_inputs(workspace, policy)
    refusal = refused(workspace, "t", from_feedback=True)
    assert f"journal.raw is {policy}, so the journal keeps no raw input" in refusal
    assert "Set models.t.journal.raw in params.yaml to sampled" in refusal


def test_feedback_of_a_model_that_is_not_there_is_refused(workspace):
    assert "there is no model 't'" in refused(workspace, "t", from_feedback=True)


def test_a_command_without_data_says_what_to_name(workspace):
    assert "no data was named for t. headstart add t --data" in refused(workspace, "t")


@pytest.mark.parametrize(
    ("name", "like"),
    [("a/b", "a-b"), ("Tickets", "tickets"), ("x" * 70, "x" * 63), ("-dash", "dash"), ("straße", "stra-e")],
)
def test_a_name_that_cannot_be_one_is_refused_with_one_that_can(workspace, name, like):
    assert f"{name!r} is no name: a name is lower-case" in (
        sentence := refused(workspace, name, data=["builtin:digits"])
    )
    assert f"Take {like!r}." in sentence


def test_a_path_that_is_not_there_is_refused_with_the_nearest(workspace):
    write(workspace, "text,label\n" + ROWS)
    sentence = refused(workspace, "t", data=["tickts.csv"])
    assert "tickts.csv does not exist (looked at" in sentence
    assert "Did you mean tickets.csv?" in sentence


def test_a_name_that_is_taken_is_refused_with_what_stands_there(workspace, capsys):
    added(capsys, "t", data=[write(workspace, "text,label\n" + ROWS)])
    other = write(workspace, "text,label\n" + ROWS, "other.csv")
    assert "already has a model 't' with other values" in refused(workspace, "t", data=[other])


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        pytest.param("text,label\n" + ROWS, {"label": "lable"}, "no column 'lable'; nearest is 'label'", id="column"),
        pytest.param(
            "text,queue_x\n" + ROWS, {}, "has no column 'label'. It has 'text', 'queue_x'", id="no label column"
        ),
        pytest.param("text,label\n" + "a b,same\nc d,same\n" * 4, {}, "all 8 labelled rows are 'same'", id="one class"),
        pytest.param("text,label\na b,\nc d,\n", {}, "no row has a label", id="no label at all"),
        pytest.param("text,label\na b,x\nc d,y\ne f,z\n", {}, "hardly two rows share one", id="ids as labels"),
        pytest.param("", {}, "has no row", id="an empty file"),
        pytest.param("text,label\n", {}, "has no row", id="a header alone"),
        pytest.param("text,label\n" + ROWS, {"modality": "sound"}, "text or image was expected", id="modality"),
        pytest.param(
            "text,label\n" + ROWS, {"modality": "image", "image": "text"}, "holds texts, such as", id="as images"
        ),
        pytest.param("text,label\n" + ROWS, {"modality": "image"}, "is modality: text meant?", id="no image column"),
        pytest.param(
            "image,label\n" + "a.png,x\nb.png,y\n" * 3,
            {},
            "names 6 images (of 6) that are not there",
            id="absent images",
        ),
        pytest.param(
            "image,label\na.png,x\nb.png,y\n", {"text": "image"}, "names their files, and text", id="as texts"
        ),
        pytest.param("text,image,label\na b,a.png,x\n", {}, "has texts and images", id="texts and images"),
        pytest.param("a,b\n1,2\n", {}, "no column of tickets.csv looks like texts or images", id="numbers alone"),
        pytest.param(
            "text,label,split\n" + ROWS.replace("\n", ",test\n"), {}, "no labelled row is in train", id="no train"
        ),
        pytest.param("text,label\n" + ROWS, {"backbone": "bert"}, "neither under backbones", id="no such backbone"),
        pytest.param(
            "text,label\n" + ROWS, {"backbone": "glyphs"}, "glyphs is for image, the data is text", id="backbone"
        ),
    ],
)
def test_what_a_file_cannot_be_used_for_is_said(workspace, text, options, sentence):
    assert sentence in refused(workspace, "t", data=[write(workspace, text)], **options)


def test_images_given_as_texts_are_refused_with_one_of_them(workspace):
    pictures(workspace / "photos")
    assert "holds images, such as ants/0.png, and text was asked for" in refused(
        workspace, "t", data=["photos"], modality="text"
    )


def test_a_folder_with_nothing_usable_is_refused_with_what_would_be(workspace):
    write(workspace, "hello", "folder/notes.docx")
    sentence = "folder holds neither a file train.* nor class folders with images, but notes.docx"
    assert sentence in refused(workspace, "t", data=["folder"])


def test_a_folder_with_a_file_of_another_name_is_refused_with_that_file(workspace):
    write(workspace, "text,label\n" + ROWS, "folder/all.csv")
    assert "Is folder/all.csv meant?" in refused(workspace, "t", data=["folder"])


def test_a_source_that_cannot_be_looked_at_is_a_question(workspace):
    assert "Say --modality text or" in refused(workspace, "t", data=["feedback:other"])


def test_an_empty_split_is_refused(workspace):
    write(workspace, "text,label\n" + ROWS, "sets/train.csv")
    write(workspace, "text,label\n", "sets/test.csv")
    assert "test.csv has no row" in refused(workspace, "t", data=["sets"])


def test_two_backbones_are_a_question_and_named(workspace):
    path = workspace / "params.yaml"
    path.write_text(
        path.read_text().replace("\n  glyphs:", "\n  other:\n    modality: text\n    source: package:x\n  glyphs:")
    )
    sentence = refused(workspace, "t", data=[write(workspace, "text,label\n" + ROWS)])
    assert "2 backbones are for text: minilm, other. Say which: --backbone minilm." in sentence


def test_nothing_is_written_unless_the_person_at_the_terminal_agrees(workspace, monkeypatch, capsys):
    name = write(workspace, "text,label\n" + ROWS)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, default: False)
    assert "nothing was written" in said(capsys, "t", data=[name])
    assert models(workspace) == {}
    monkeypatch.setattr("typer.confirm", lambda question, default: True)
    assert "because it is the only one" in said(capsys, "t", data=[name])
    assert set(models(workspace)) == {"t"}


def test_outside_a_workspace_the_refusal_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is not inside a workspace"):
        add("t", data=["builtin:digits"])


def test_a_folder_written_by_save_to_disk_is_proposed_with_its_columns(workspace, capsys):
    import datasets

    datasets.disable_progress_bars()
    content = {"sentence": [f"my card is lost {place}" for place in range(6)], "label": ["card", "money"] * 3}
    datasets.Dataset.from_dict(content).save_to_disk(workspace / "saved")
    entry = added(capsys, "cards", data=["saved"], backbone="minilm")
    assert (entry["modality"], entry["data"]["columns"]) == ("text", {"input": "sentence"})


def test_labels_in_two_unicode_forms_are_one_class_and_that_is_said(workspace, capsys):
    rows = "one thing,cafe\u0301\ntwo things,caf\u00e9\nthree things,tea\nfour things,tea\u200b\n" * 3
    out = said(capsys, "t", data=[write(workspace, "text,label\n" + rows)])
    assert "2 classes: caf\u00e9, tea" in out
    assert "the Unicode form of the label was made alike (NFC) on 3 rows: 'cafe\\u0301' (3 rows)" in out
    assert "invisible characters were taken out of the label on 3 rows: 'tea\\u200b' (3 rows)" in out


def test_a_person_is_asked_whether_labels_that_differ_in_case_are_one_class(workspace, capsys, monkeypatch):
    rows = "one thing,Billing\ntwo things,billing\nthree things,other\nfour things,Billing\n" * 3
    monkeypatch.setattr("headstart.cli.add._asks", lambda yes, as_json: True)
    asked = []
    monkeypatch.setattr("typer.confirm", lambda question, default: asked.append(question) or True)
    assert add("t", data=[write(workspace, "text,label\n" + rows)]) == 0
    assert (
        asked[0] == "'Billing' (6 rows) and 'billing' (3 rows) differ in case alone. Make one class of them, 'Billing'?"
    )
    assert models(workspace)["t"]["prepare"] == {"labels": {"billing": "Billing"}}


CARD, MONEY = "my card is lost and " * 45, "where is my money " * 5
LONG = "".join(f"{CARD}{place},card\n{MONEY}{place},money\n" for place in range(9))


def test_texts_longer_than_the_limit_get_a_longer_one_proposed_with_its_cost(workspace, capsys):
    """87.5% of the texts were cut at 128 tokens, and nobody was told before the model was trained."""
    name = write(workspace, "text,label\n" + LONG)
    out = said(capsys, "t", data=[name])
    # 45 times 5 words and a number, [CLS] and [SEP]: 228 tokens, the next multiple of 32 is 256
    assert models(workspace)["t"]["prepare"] == {"limits": {"tokens": 256}}
    assert "tokens: 256 would cut 0.0% of the texts instead of 50.0%, at " in out
    assert "times the tokens to compute" in out


def test_the_proposed_length_is_the_users_to_change(workspace, capsys):
    name = write(workspace, "text,label\n" + LONG)
    added(capsys, "t", data=[name])
    path = workspace / "params.yaml"
    path.write_text(path.read_text().replace("tokens: 256", "tokens: 192"))
    assert added(capsys, "t", data=[name])["prepare"] == {"limits": {"tokens": 192}}
    assert models(workspace)["t"]["prepare"] == {"limits": {"tokens": 192}}


ODD = [
    "my tickets.csv",
    "100%.csv",
    "a#b.csv",
    "caf\u00e9 \u4f60.csv",
    "cafe\u0301.csv",
    "a'b\"c.csv",
    "x?y&z=1.csv",
    "[a]*.csv",
]


@pytest.mark.parametrize("name", ODD)
def test_files_with_odd_names_are_added_and_read(workspace, capsys, name):
    from headstart.data.ingest import ingest
    from headstart.params.loader import load

    folder = f"odd {name.removesuffix('.csv')}"
    entry = added(capsys, "t", data=[write(workspace, "text,label\n" + ROWS, f"{folder}/{name}")])
    assert entry["data"]["source"] == f"{folder}/{name}"
    data = load(workspace / "params.yaml").models["t"].data
    ingest("t", "text", data, workspace / "raw" / "t")
    assert (workspace / "raw" / "t" / "source.json").is_file()


@pytest.mark.parametrize("name", ODD)
def test_class_folders_with_odd_names_are_added_and_read(workspace, capsys, name):
    from headstart.contract.labels import normal
    from headstart.data.ingest import ingest
    from headstart.params.loader import load

    pictures(workspace / name, labels=(name, "bees"), count=4)
    entry = added(capsys, "t", data=[name], backbone="glyphs")
    assert entry["data"]["source"] == name
    data = load(workspace / "params.yaml").models["t"].data
    ingest("t", "image", data, workspace / "raw" / "t")
    from headstart.data import raw

    written = set(raw.columns(workspace / "raw" / "t")["label"].to_pylist())
    assert {normal(label) for label in written} == {normal(name), "bees"}
