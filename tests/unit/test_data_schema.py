"""The first look for `headstart add`: columns under other names, counts, and questions instead of guesses."""

import pytest

from headstart.data import schema
from headstart.errors import DataError


def csv(folder, text):
    path = folder / "a.csv"
    path.write_text(text)
    return str(path)


def test_columns_with_usual_names_are_proposed_and_said(tmp_path):
    found = schema.infer(csv(tmp_path, "Sentence,category,n\nhello,a,1\nbye,b,2\n"), "text", {})
    assert {role: name for role, name in found.columns.items() if name} == {"input": "Sentence", "label": "category"}
    assert "column 'Sentence' is the text" in found.reasons
    assert found.classes == {"a": 1, "b": 1}


def test_plain_names_need_no_entry(tmp_path):
    found = schema.infer(csv(tmp_path, "text,label,split\nhello,a,train\nbye,,test\n"), "text", {})
    assert set(found.columns.values()) == {None}
    assert (found.rows, found.unlabelled) == ({"train": 1}, 1)


def test_two_columns_that_could_be_meant_are_a_question(tmp_path):
    path = csv(tmp_path, "question,review,label\nhello,x,a\n")
    with pytest.raises(DataError, match="'question', 'review' could each be meant") as caught:
        schema.infer(path, "text", {})
    assert "--text question" in caught.value.action
    assert schema.infer(path, "text", {"input": "review", "label": None}).columns["input"] == "review"


def test_a_named_column_that_is_absent_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match="no column 'qestion'; nearest is 'question'"):
        schema.infer(csv(tmp_path, "question,label\nhello,a\n"), "text", {"input": "qestion"})


def test_all_columns_that_are_wrong_are_told_at_once(tmp_path):
    path = csv(tmp_path, "qestion,lable,n\nhello,a,1\n")
    with pytest.raises(DataError) as caught:
        schema.infer(path, "text", {"input": "question", "label": "label"})
    told = "no column 'question'; nearest is 'qestion' and no column 'label'; nearest is 'lable'. It has"
    assert told in caught.value.message
    action = "Name them: --text COLUMN --label COLUMN, or data.columns.input and data.columns.label in params.yaml."
    assert caught.value.action == action


def test_all_columns_that_could_be_meant_are_asked_about_at_once(tmp_path):
    with pytest.raises(DataError, match=r"'question', 'review' could .*; .*'category', 'topic' could each") as caught:
        schema.infer(csv(tmp_path, "question,review,category,topic\na,b,c,d\n"), "text", {})
    assert caught.value.action == "Say which: --text question --label category."


def test_columns_of_a_source_that_has_none_are_refused():
    with pytest.raises(DataError, match="builtin:digits has no columns, yet 'digit' is named"):
        schema.infer("builtin:digits", "image", {"label": "digit"})


def test_whole_numbers_are_the_classes_that_ingest_will_make(tmp_path):
    assert schema.infer(csv(tmp_path, "text,label\na,1.0\nb,1\nc,2\n"), "text", {}).classes == {"1": 2, "2": 1}


def test_images_need_only_be_there_for_a_look(tmp_path):
    """A look at a large folder counts names; bytes are read when the data is ingested."""
    (tmp_path / "set/ant").mkdir(parents=True)
    (tmp_path / "set/ant/1.png").touch()
    assert schema.infer(str(tmp_path / "set"), "image", {}).classes == {"ant": 1}
    path = csv(tmp_path, "image,label\nset/ant/1.png,ant\nset/ant/2.png,ant\n")
    with pytest.raises(DataError, match=r"names 1 images \(of 2\) that are not there"):
        schema.infer(path, "image", {})


def test_a_look_reads_a_source_of_many_batches_from_end_to_end(tmp_path):
    rows = "".join(f"{number},{number % 2}\n" for number in range(9000))
    found = schema.infer(csv(tmp_path, f"text,label\n{rows}"), "text", {})
    assert (found.rows, found.classes) == ({"none": 9000}, {"0": 4500, "1": 4500})
