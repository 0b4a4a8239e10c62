"""Why rows stand in the quarantine, in words; files of version 0.1, which hold the words, are read."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data.checks.privacy import KINDS
from headstart.report import quarantine

TWIN = {"twin": {"row": 5, "split": "test"}}
NEAR = {**TWIN, "how": "", "similarity": 0.98}
NUMBERS = {
    "payloads": ({"noun": "text", "refused": ""}, "the row has no text"),
    "leak": (TWIN, "equal to source row 5 (test)"),
    "label_conflicts": ({"split": "train", "labels": ["x", "y"]}, "equal rows of train have the labels x, y"),
    "duplicates": (TWIN, "repeats source row 5 (test)"),
    "untrained_labels": ({"label": "new"}, "no row of train has the label 'new'"),
    "near_leak": (NEAR, "nearly equal to source row 5 (test) (similarity 0.98)"),
    "near_duplicates": (NEAR | {"how": "mirrored"}, "nearly equal to source row 5 (test) (mirrored, similarity 0.98)"),
    "personal_data": ({"kinds": ["email", "phone"]}, "the text holds an e-mail address and a phone number"),
}


@pytest.mark.parametrize("check", sorted(quarantine.WORDS))
def test_every_check_that_puts_rows_aside_has_words(check):
    numbers, words = NUMBERS.get(check, ({}, None))
    told = quarantine.reason(check, numbers)
    assert told == words if words else told.startswith(("the text", "the image"))


def test_what_the_contract_refused_is_said_in_its_words():
    assert quarantine.reason("payloads", {"noun": "image", "refused": "is damaged"}) == "is damaged"


def test_every_kind_of_personal_data_has_words():
    assert set(quarantine.KINDS) == set(KINDS.values())


@pytest.mark.parametrize(
    "why",
    [
        pytest.param({"reason": ["repeats source row 1 (train)"]}, id="of version 0.1"),
        pytest.param({"numbers": ['{"twin": {"row": 1, "split": "train"}}']}, id="of now"),
    ],
)
def test_the_file_is_read_in_either_form(tmp_path, why):
    pq.write_table(pa.table({"id": ["7"], "check": ["duplicates"], **why}), tmp_path / "quarantine.parquet")
    [aside] = quarantine.read(tmp_path / "quarantine.parquet", ["id"], 4)
    assert (aside.check, aside.count) == ("duplicates", 1)
    assert aside.rows == [{"id": "7", "check": "duplicates", "reason": "repeats source row 1 (train)"}]
