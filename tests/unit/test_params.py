"""params.yaml: every problem in one message, each by its dotted key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart.errors import ParamsError
from headstart.params.loader import load

OURS = Path(__file__).parents[2] / "params.yaml"


def written(folder: Path, change: Any) -> Path:
    document = yaml.safe_load(OURS.read_text())
    change(document)
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_our_own_file_is_accepted():
    params = load(OURS)
    assert set(params.models) == {"apidocs", "digits"}
    assert params.models["digits"].train.fine_tune.epochs == params.models["digits"].plan.fine_tune.epochs


def test_a_model_overrides_its_modality_which_overrides_all(tmp_path):
    def change(document):
        document["defaults"]["text"] = {"fine_tune": {"epochs": 5}}
        document["models"]["apidocs"]["fine_tune"] = {"batch_size": 4}

    model = load(written(tmp_path, change)).models["apidocs"].train.fine_tune
    assert (model.epochs, model.batch_size, model.patience) == (5, 4, 3)


def test_all_problems_come_in_one_message_each_with_its_dotted_key(tmp_path):
    def change(document):
        document["models"]["apidocs"]["fine_tune"] = {"epoch": 3, "learning_rate": "2e-5"}
        document["models"]["digits"]["backbone"] = "glyph"
        document["schedule"] = {}

    with pytest.raises(ParamsError) as refused:
        load(written(tmp_path, change))
    message = str(refused.value)
    assert "schedule: unknown key, did you mean schedules?" in message
    assert "models.apidocs.fine_tune.epoch: unknown key, did you mean epochs?" in message
    assert "models.apidocs.fine_tune.learning_rate: '2e-5' arrived, a valid number was expected" in message
    assert "YAML reads 2e-5 as text; write 2.0e-5" in message
    assert "models.digits.backbone: 'glyph' is not under backbones, did you mean glyphs?" in message


@pytest.mark.parametrize(("written_as", "rows"), [(False, 0), (True, 10**9), (250, 250)])
def test_features_of_the_journal_were_once_all_or_none(tmp_path, written_as, rows):
    def change(document):
        document["models"]["digits"]["journal"] = {"features": written_as}

    assert load(written(tmp_path, change)).models["digits"].journal.features == rows


@pytest.mark.parametrize("stage", ["plan", "train"])
@pytest.mark.parametrize("place", ["models.apidocs", "defaults.text", "defaults.all"])
def test_plan_and_train_have_one_adapted_backbone(tmp_path, stage, place):
    def change(document):
        above, below = place.split(".")
        document[above].setdefault(below, {}).setdefault(stage, {})["adapt"] = {"budget": 5}

    with pytest.raises(ParamsError) as refused:
        load(written(tmp_path, change))
    message = str(refused.value)
    assert f"{place}.{stage}.adapt arrived, {place}.adapt was expected" in message
    assert message.count("adapted backbone") == 1


@pytest.mark.parametrize("place", ["models.digits", "defaults.image", "defaults.all"])
def test_expected_shares_have_one_place(tmp_path, place):
    def change(document):
        kind, name = place.split(".")
        document[kind][name].setdefault("evaluate", {})["expected_shares"] = {"0": 0.9, "1": 0.1}

    said = rf"{place}\.evaluate\.expected_shares arrived, {place}\.data\.expected_shares was expected"
    with pytest.raises(ParamsError, match=said):
        load(written(tmp_path, change))


@pytest.mark.parametrize("name", ["a/b", "..", "../a", "/a", "A", "", "ü", "-x", "x" * 64])
def test_a_name_that_could_not_be_a_folder_is_refused(tmp_path, name):
    def change(document):
        document["models"] = {name: document["models"]["digits"]}

    with pytest.raises(ParamsError, match="a name is lower-case letters"):
        load(written(tmp_path, change))


def _wrong(document, *path, value):
    for key in path[:-1]:
        document = document.setdefault(key, {})
    document[path[-1]] = value


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(("defaults", "all", "monitor", "rows"), id="of every model"),
        pytest.param(("defaults", "all", "fine_tune", "epochs"), id="of every model and several stages"),
        pytest.param(("defaults", "image", "fine_tune", "epochs"), id="of one modality"),
        pytest.param(("models", "digits", "fine_tune", "epochs"), id="of one model and several stages"),
        pytest.param(("models", "digits", "train", "fine_tune", "epochs"), id="of one model and stage"),
    ],
)
def test_a_problem_is_said_once_and_where_it_stands(tmp_path, path):
    with pytest.raises(ParamsError) as refused:
        load(written(tmp_path, lambda document: _wrong(document, *path, value=-1)))
    assert refused.value.message.splitlines()[:2] == [
        "params.yaml has 1 problem:",
        f"  - {'.'.join(path)}: -1 arrived, greater than or equal to 1 was expected",
    ]


def test_a_strategy_that_does_not_exist_is_one_problem_with_the_nearest_name(tmp_path):
    path = ("models", "digits", "plan", "strategy")
    with pytest.raises(ParamsError) as refused:
        load(written(tmp_path, lambda document: _wrong(document, *path, value="finetune")))
    assert refused.value.message.splitlines()[0] == "params.yaml has 1 problem:"
    assert "'finetune' arrived, 'auto', 'linear_probe'" in refused.value.message
    assert refused.value.message.splitlines()[1].endswith("did you mean fine_tune?")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("probe", "folds"), 1, "1 arrived, greater than or equal to 2"),
        (("probe", "strengths"), [], "[] arrived, List should have at least 1 item"),
    ],
)
def test_what_would_leave_nothing_to_compare_is_refused_by_key(tmp_path, path, value, expected):
    with pytest.raises(ParamsError) as refused:
        load(written(tmp_path, lambda document: _wrong(document, "defaults", "all", *path, value=value)))
    assert f"defaults.all.{'.'.join(path)}: {expected}" in refused.value.message


@pytest.mark.parametrize("path", [("monitor", "rows"), ("monitor",), ("fine_tune", "epochs"), ("fine_tune",)])
def test_what_the_defaults_lack_is_named_once_under_defaults(tmp_path, path):
    def change(document):
        section = document["defaults"]["all"]
        for key in path[:-1]:
            section = section[key]
        del section[path[-1]]
        if path[0] == "monitor":
            document["models"]["digits"]["monitor"] = {"window_minutes": 30}
        else:
            document["defaults"]["image"].pop("fine_tune")

    with pytest.raises(ParamsError) as refused:
        load(written(tmp_path, change))
    problems = refused.value.message.splitlines()[1:]
    assert f"  - defaults.all.{'.'.join(path)}: is missing" in problems
    assert len(problems) == len(set(problems))


def test_a_source_is_the_models_own_and_missed_there(tmp_path):
    with pytest.raises(ParamsError, match=r"models\.digits\.data\.source: is missing"):
        load(written(tmp_path, lambda document: document["models"]["digits"].pop("data")))


def test_a_backbone_has_a_source_or_is_pretrained_never_both(tmp_path):
    with pytest.raises(ParamsError, match=r"backbones\.glyphs: needs either source or pretrain"):
        load(written(tmp_path, lambda document: document["backbones"]["glyphs"].update(source="package:x")))


def test_a_text_backbone_under_an_image_model_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="minilm is for text, the model for image"):
        load(written(tmp_path, lambda document: document["models"]["digits"].update(backbone="minilm")))


def test_an_empty_fleet_is_a_fleet(tmp_path):
    assert load(written(tmp_path, lambda document: document.update(models={}))).models == {}


@pytest.mark.parametrize(("text", "sentence"), [("a: [", "is not YAML"), ("- 1", "a mapping was expected")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, sentence):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=sentence):
        load(path)


def test_a_newer_format_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="format: 9 arrived, 1 was expected"):
        load(written(tmp_path, lambda document: document.update(format=9)))


def test_the_shares_that_production_will_see_reach_the_stage_that_evaluates_and_no_stage_that_trains(tmp_path):
    def change(document):
        document["models"]["digits"]["data"]["expected_shares"] = {"0": 0.9, "1": 0.1}

    before, after = load(OURS).models["digits"], load(written(tmp_path, change)).models["digits"]
    assert after.evaluate.expected_shares == {"0": 0.9, "1": 0.1}
    changed = {name for name in type(after).model_fields if getattr(after, name) != getattr(before, name)}
    assert changed == {"data", "evaluate"}


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        pytest.param({"0": 0.9, "1": 0.2}, "expected_shares: .* arrived, shares that sum to 1, not to 1.1", id="sum"),
        pytest.param(
            {"0": 1.5, "1": -0.5}, r"expected_shares\.0: 1\.5 arrived, less than or equal to 1", id="no share"
        ),
        pytest.param({"0": "most"}, r"expected_shares\.0: 'most' arrived, a valid number", id="no number"),
        pytest.param([0.5], "a valid dictionary was expected", id="a list"),
    ],
)
def test_shares_that_cannot_be_are_refused_once_by_their_key(tmp_path, shares, said):
    def change(document):
        document["models"]["digits"]["data"]["expected_shares"] = shares

    with pytest.raises(ParamsError, match=said) as refused:
        load(written(tmp_path, change))
    assert "evaluate.expected_shares" not in str(refused.value)


def test_a_rollout_has_steps_of_either_kind(tmp_path):
    steps = [{"shadow": {"requests": 50, "hours": 0.5}}, {"canary": {"share": 0.1, "requests": 20, "hours": 0}}]
    path = written(tmp_path, lambda document: document["models"]["digits"].update(rollout={"steps": steps}))
    params = load(path).models
    shadow, canary = params["digits"].rollout.steps
    assert (shadow.shadow.requests, shadow.canary, canary.canary.share) == (50, None, 0.1)
    assert params["apidocs"].rollout.steps == []


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        ({"steps": [{}]}, "rollout.steps.0: {} arrived, either shadow or canary was expected"),
        ({"steps": [{"canary": {"requests": 5, "hours": 1.0}}]}, "rollout.steps.0.canary.share: is missing"),
        ({"steps": [{"canery": {}}]}, "rollout.steps.0.canery: unknown key, did you mean canary?"),
        ({"key": "X User"}, "rollout.key: 'X User' arrived"),
        ({"latency": 0.5}, "rollout.latency: 0.5 arrived"),
        ({"disagreement": 0}, "rollout.disagreement: 0 arrived"),
    ],
)
def test_what_is_wrong_with_a_rollout_is_said_by_its_key(tmp_path, rollout, said):
    with pytest.raises(ParamsError) as refused:
        load(written(tmp_path, lambda document: document["models"]["digits"].update(rollout=rollout)))
    assert f"models.digits.{said}" in str(refused.value)
