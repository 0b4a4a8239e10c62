"""Data that strangers bring: the plan copes, or says in a sentence what is wrong."""

import dataclasses

import pytest

from headstart.contract import files, spec
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.errors import DataError, StrategyError
from headstart.transfer import planner
from tests.unit import tiny_transfer

pytestmark = pytest.mark.slow


def plan(folder, **changes: object) -> dict:
    params = tiny_transfer.sections("text", epochs=1, **changes)[0]
    return planner.plan(params, backbone=folder / "backbone", data=folder / "data", cache=folder / "cache")[0]


def rewrite(folder, change) -> None:
    """Every split anew, as `change` makes it."""
    for name in dataset.SPLITS:
        path = folder / f"data/{name}.parquet"
        dataset.write(path, change(name, dataset.read(path)))


def relabelled(rows: Dataset, labels: list[str]) -> Dataset:
    return dataclasses.replace(rows, labels=labels)


def test_a_class_with_one_example_is_counted_and_the_plan_goes_on(tmp_path):
    folder = tiny_transfer.text_model(tmp_path)

    def once(name: str, rows: Dataset) -> Dataset:
        first = "weather" if name == "train" else "kitchen"
        kept = ["kitchen" if label == "weather" else label for label in rows.labels]
        return relabelled(rows, [first, *kept[1:]])

    rewrite(folder, once)
    found = plan(folder)
    assert found["evidence"]["examples"]["per_class"]["min"] == 1


def test_one_class_alone_is_refused_with_what_to_do(tmp_path):
    folder = tiny_transfer.text_model(tmp_path)
    rewrite(folder, lambda _, rows: relabelled(rows, ["travel"] * len(rows)))
    with pytest.raises(DataError, match=r"training examples show 1 class, at least 2 were expected.*Add examples"):
        plan(folder)


def test_more_labels_than_examples_leave_classes_that_are_never_answered(tmp_path):
    folder = tiny_transfer.text_model(tmp_path)
    contract = spec.read(folder / "data/contract")
    many = (*contract.labels, *(f"zz-{place:03d}" for place in range(200)))
    tokenizer_json = (folder / "data/contract/tokenizer.json").read_text(encoding="utf-8")
    files.write(folder / "data/contract", dataclasses.replace(contract, labels=many), tokenizer_json=tokenizer_json)
    found = plan(folder)
    assert found["evidence"]["examples"]["classes"] == 3
    assert found["evidence"]["probe"]["value"] > 0.4


def test_a_strategy_asked_for_that_cannot_be_tried_is_refused_with_its_key(tmp_path):
    folder = tiny_transfer.text_model(tmp_path)
    params = tiny_transfer.sections("text")[0]
    asked = params.model_copy(update={"strategy": "adapt_then_fine_tune"})
    with pytest.raises(StrategyError, match=r"adapt_then_fine_tune is impossible.*no_unlabelled_examples"):
        planner.plan(asked, backbone=folder / "backbone", data=folder / "data", cache=folder / "cache")
