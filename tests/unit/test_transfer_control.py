import dataclasses

import numpy as np
import pytest
import torch

from headstart import artifacts
from headstart.data.dataset import Dataset
from headstart.params.transfer import FewLabels
from headstart.transfer import control, evidence, planner, strategies
from headstart.transfer.setting import Setting, Split
from tests.unit import tiny_transfer

FEW = FewLabels(
    per_class=4,
    classes=3,
    epochs=1,
    scratch_epochs=1,
    scratch_learning_rate=0.001,
    augmented=False,
    judged=30,
    repeats=1,
    seed=3,
)
TARGETS = np.repeat(np.arange(6), [1, 3, 5, 8, 13, 21])


def split(name: str, targets: np.ndarray) -> Split:
    """Examples whose one feature is their class."""
    ids, none = [f"{name}-{row}" for row in range(len(targets))], [None] * len(targets)
    examples = Dataset("text", ids, [str(label) for label in targets], ids, none, none)
    return Split(examples, targets, targets[:, None].astype(np.float32))


def test_each_chosen_class_gives_as_many_labels_as_asked_or_all_it_has():
    rows = control.draw(TARGETS, np.array([0, 1, 3, 5]), 4, seed=1)
    assert len(set(rows.tolist())) == len(rows)
    assert np.bincount(TARGETS[rows], minlength=6).tolist() == [1, 3, 0, 4, 0, 4]


def test_another_seed_draws_other_labels_and_the_same_seed_the_same():
    drawn = [control.draw(TARGETS, np.array([5]), 4, seed=seed).tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_of_many_classes_as_many_as_allowed_take_part():
    chosen = control.classes(TARGETS, FEW)
    assert len(set(chosen.tolist())) == 3
    assert list(chosen) == sorted(chosen)
    assert np.array_equal(chosen, control.classes(TARGETS, FEW))


def test_of_few_classes_all_that_have_examples_take_part():
    assert control.classes(np.array([4, 1, 1]), FEW).tolist() == [1, 4]


def test_those_who_judge_were_never_drawn_and_validation_comes_first():
    learn, validation = split("train", TARGETS), split("validation", TARGETS[::3])
    drawn = control.draw(TARGETS, np.array([2, 5]), 4, seed=1)
    judged = control.unseen(learn, validation, drawn, np.array([2, 5]), FEW)
    own, rest = (int(np.isin(values, [2, 5]).sum()) for values in (TARGETS[::3], TARGETS))
    assert len(judged.targets) == len(judged.features) == len(judged.examples) == min(30, own + rest - 8)
    assert set(judged.targets.tolist()) == {2, 5}
    assert sum(name.startswith("validation") for name in judged.examples.ids) == own
    assert not {f"train-{row}" for row in drawn} & set(judged.examples.ids)
    assert [float(row) for row in judged.features[:, 0]] == [float(label) for label in judged.examples.labels]


def test_near_copies_of_what_was_drawn_do_not_judge():
    learn = split("train", np.zeros(6, dtype=np.int64))
    grouped = dataclasses.replace(learn.examples, groups=["a", "a", "b", "b", None, None])
    learn = dataclasses.replace(learn, examples=grouped)
    nobody = split("validation", np.array([], dtype=np.int64))
    judged = control.unseen(learn, nobody, np.array([0, 4]), np.array([0]), FEW)
    assert list(judged.examples.ids) == ["train-2", "train-3", "train-5"]


def test_no_more_judge_than_asked_for():
    judged = control.unseen(
        split("train", TARGETS),
        split("validation", TARGETS),
        np.array([0]),
        np.arange(6),
        FEW.model_copy(update={"judged": 7}),
    )
    assert len(judged.examples) == 7
    assert all(name.startswith("validation") for name in judged.examples.ids)


def test_repeats_on_the_same_examples_do_not_narrow_the_interval():
    # 3 of 4 and 1 of 4: on average half of four examples, as sure as two of four are. Wilson, z^2 = 2.7055:
    # half the width is sqrt(2.7055 * (0.25 / 4 + 2.7055 / 64)) / (1 + 2.7055 / 4) = 0.3176
    repeats = [np.array([True, True, True, False]), np.array([True, False, False, False])]
    both = control._averaged(repeats, 0.9)
    assert (both.value, both.n) == (0.5, 4)
    assert both.high - both.low == pytest.approx(2 * 0.3176, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_plan_is_the_same_document_twice_and_complete(tmp_path, modality):
    make = tiny_transfer.text_model if modality == "text" else tiny_transfer.image_model
    folder = make(tmp_path / "model")
    params = tiny_transfer.sections(modality, epochs=1)[0]
    places = {"backbone": folder / "backbone", "data": folder / "data"}
    first, seconds = planner.plan(params, **places, cache=tmp_path / "cache")
    second, _ = planner.plan(params, **places, cache=tmp_path / "another cache")
    assert first == second
    keys = {"format", "strategy", "runner_up", "reason", "otherwise", "predicted", "work", "barred", "labels_needed"}
    keys |= {"evidence", "layers", "adapted", "all_layers", "race"}
    assert set(first) == keys
    assert set(first["evidence"]) == {"backbone", "examples", "probe", "layers", "gap", "transferability", "few_labels"}
    assert first["evidence"]["examples"]["classes"] == 3
    assert first["evidence"]["few_labels"]["repeats"] == 2
    assert {"probe", "layers", "gap", "few_labels/transfer", "few_labels/scratch", "a_pass"} <= set(seconds)
    assert first["race"]["legs"][0]["strategy"] == "linear_probe"


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["text", "image"])
def test_work_is_counted_in_tokens_of_cut_texts_and_pixels_of_resized_pictures(tmp_path, modality):
    make = tiny_transfer.text_model if modality == "text" else tiny_transfer.image_model
    folder = make(tmp_path / "model")
    params = tiny_transfer.sections(modality, epochs=5)[0]
    place = torch.device("cpu")
    places = {"backbone": folder / "backbone", "data": folder / "data", "cache": tmp_path / "cache"}
    setting = Setting.of(params, **places, level=0.9, place=place)
    found, _ = evidence.ground(params, setting, folder / "data")
    unit, once = evidence.count_work(found)
    if modality == "text":
        assert (unit, once) == ("tokens", sum(map(len, setting.preprocessor.prepare(found.learn.examples.inputs))))
    else:
        assert (unit, once) == ("pixels", 54 * 12 * 12)
    assert strategies.WAYS["fine_tune"].passes(setting) == 5


def test_label_conflicts_are_counted_as_prepare_found_them(tmp_path):
    folder = tiny_transfer.text_model(tmp_path / "model")
    params, setting = tiny_transfer.sections("text")[0], tiny_transfer.setting(folder)
    assert evidence.ground(params, setting, folder / "data")[0].conflicts == 0  # nothing was checked
    noted = [{"check": "label_conflicts", "statistic": 3.0}, {"check": "leak", "statistic": 7.0}]
    artifacts.write_json(folder / "data/findings.json", noted)
    assert evidence.ground(params, setting, folder / "data")[0].conflicts == 3
