"""`headstart migrate`: keys that are new come in, values that are the user's stay, edited files are left."""

import json
import re
from pathlib import Path

import pytest
import yaml

from headstart.cli import migration, template
from headstart.cli.migrate import migrate
from headstart.errors import ParamsError
from headstart.params.loader import load

SHIPPED = """\
# ours
format: 1

schedules:
  training: "0 3 * * 1"           # weekly
  monitoring: "5 * * * *"         # hourly

defaults:
  all:
    data:
      columns: {input: null, label: null}
    checks:
      bar: 0.5                    # above it, the run stops
      # two lines about what
      # a sample costs
      sample: 50                  # rows
    plan:
      folds: 5                    # parts
  text: {}
  image:
    checks:
      sample: 20
    plan:
      folds: 3

models: {}
"""


@pytest.fixture
def workspace(initialised):
    return initialised


def lines(text, *left_out):
    return "".join(line for line in text.splitlines(keepends=True) if not any(word in line for word in left_out))


def answered(capsys, **options):
    capsys.readouterr()
    assert migrate(as_json=True, **options) == 0
    return json.loads(capsys.readouterr().out)


def test_a_document_that_lacks_nothing_stays_as_it_is():
    assert migration.fill(SHIPPED, SHIPPED) == (SHIPPED, [])


def test_a_new_key_comes_with_its_value_and_comments_to_its_own_place():
    older = lines(SHIPPED, "sample: 50", "# two lines", "# a sample")
    assert migration.fill(older, SHIPPED) == (SHIPPED, ["defaults.all.checks.sample"])


def test_a_new_section_comes_as_a_whole():
    older = lines(SHIPPED, "    plan:\n", "folds")
    text, added = migration.fill(older, SHIPPED)
    assert (text, added) == (SHIPPED, ["defaults.all.plan", "defaults.image.plan"])


def test_the_first_key_of_a_section_comes_before_the_second():
    assert migration.fill(lines(SHIPPED, "bar: 0.5"), SHIPPED) == (SHIPPED, ["defaults.all.checks.bar"])


def test_a_key_of_a_mapping_in_braces_comes_into_the_braces():
    older = SHIPPED.replace("{input: null, label: null}", "{input: body}")
    text, added = migration.fill(older, SHIPPED)
    assert added == ["defaults.all.data.columns.label"]
    assert "columns: {input: body, label: null}\n" in text


def test_values_comments_and_indentation_of_the_user_stay():
    older = SHIPPED.replace("bar: 0.5 ", "bar: 0.9 ").replace("# weekly", "# when Ann is in")
    gone = ("sample: 50", "# two lines", "# a sample")
    older = re.sub(r"^ +", lambda found: found.group() * 2, lines(older, *gone), flags=re.M)
    text, added = migration.fill(older, SHIPPED)
    assert added == ["defaults.all.checks.sample"]
    assert lines(text, *gone) == older
    assert "\n            sample: 50                  # rows\n" in text


def test_an_override_that_was_taken_out_on_purpose_stays_out():
    older = SHIPPED.replace("    plan:\n      folds: 3\n", "")
    assert migration.fill(older, SHIPPED) == (older, [])


def test_an_override_comes_along_with_the_key_that_it_overrides():
    older = lines(SHIPPED, "folds").replace("    plan:\n", "    plan:\n      other: 1\n")
    assert migration.fill(older, SHIPPED)[1] == ["defaults.all.plan.folds", "defaults.image.plan.folds"]


def test_a_file_without_a_last_newline_is_migrated_too():
    shipped = "schedules:\n  a: 1\n  b: 2  # why\n"
    assert migration.fill("schedules:\n  a: 1", shipped) == (shipped, ["schedules.b"])


def test_an_older_format_goes_step_by_step_and_keeps_its_comments(monkeypatch):
    def rename(document):  # a made-up format 0 called schedules `cron`
        document.insert(1, "schedules", document.pop("cron"))

    monkeypatch.setattr(migration, "STEPS", {0: rename})
    older = "# mine\nformat: 0\ncron:\n  a: 1  # why\nmodels: {}\n"
    assert migration.upgrade(older, 0) == "# mine\nformat: 1\nschedules:\n  a: 1  # why\nmodels: {}\n"


def test_a_format_that_no_step_leads_on_from_is_refused():
    with pytest.raises(ParamsError, match="format 0, and no step leads on from format 0"):
        migration.upgrade("format: 0\n", 0)


def test_a_newer_format_is_refused_with_what_to_install(workspace):
    path = workspace / "params.yaml"
    path.write_text(path.read_text().replace("format: 1", "format: 9"))
    with pytest.raises(ParamsError, match="has format 9, this version of headstart knows formats up to 1") as caught:
        migrate(yes=True)
    assert "newer" in caught.value.action


def test_a_new_workspace_has_nothing_to_lift(workspace, capsys):
    assert answered(capsys, yes=True) == {
        "from": 1,
        "to": 1,
        "changed": [],
        "added": [],
        "removed": {},
        "applied": False,
        "findings": [],
    }


def test_the_difference_is_shown_and_nothing_written_without_yes(workspace, capsys):
    path = workspace / "params.yaml"
    older = lines(path.read_text(), "champion_margin: 0.02")
    path.write_text(older)
    assert migrate() == 0
    out, err = capsys.readouterr()
    assert "+      champion_margin: 0.02" in err
    assert "new key  defaults.all.gates.champion_margin" in out
    assert "headstart migrate --yes" in err
    assert path.read_text() == older


def test_a_file_that_lacks_a_key_is_told_of_migrate_and_is_mended_by_it(workspace, capsys):
    path = workspace / "params.yaml"
    whole = path.read_text()
    entry = "models:\n  m:\n    modality: text\n    backbone: minilm\n    data:\n      source: a.csv\n"
    path.write_text(lines(whole, "champion_margin: 0.02", "models:") + entry)
    with pytest.raises(ParamsError, match=r"defaults\.all\.gates\.champion_margin: is missing") as caught:
        load(path)
    assert "headstart migrate" in caught.value.action
    assert answered(capsys, yes=True)["added"] == ["defaults.all.gates.champion_margin"]
    assert path.read_text() == lines(whole, "models:") + entry
    assert load(path).models["m"].gates.champion_margin == 0.02


RETIRED = """\
defaults:
  all:
    plan:
      choice:
        strategy: auto            # or one by name
        good_enough: 0.95         # ours
        folds: 5
      race:
        shares: [0.25, 0.5]
    fine_tune:
      shares: [1, 2]              # a comment
    forgetting:
      budget: 0.2                 # accuracy
      worth: 0.005
models:
  m:
    plan: {choice: {strategy: lora, target: 0.9}}
  n:
    plan: {choice: {folds: 3}}
"""


def test_keys_that_are_no_longer_read_go_and_renamed_ones_keep_their_value(monkeypatch):
    monkeypatch.setitem(migration.RENAMED, "fine_tune.shares", "plan.portions")
    text, removed = migration.prune(RETIRED)
    plan = {"strategy": "auto", "good_enough": 0.95, "portions": [1, 2]}
    assert yaml.safe_load(text) == {
        "defaults": {"all": {"plan": plan, "forgetting": {"budget": 0.2}}},
        "models": {"m": {"plan": {"strategy": "lora"}}, "n": {}},
    }
    assert "budget: 0.2                 # accuracy\n" in text
    assert removed["models.m.plan.choice.strategy"] == "is called plan.strategy now"
    assert removed["defaults.all.plan.race"] == "training tries every shortlisted strategy on all of train"
    assert migration.prune(text) == (text, {})


def test_a_file_with_a_key_that_went_is_told_what_became_of_it_and_fixed_by_migrate(workspace, capsys):
    path = workspace / "params.yaml"
    entry = "models:\n  m:\n    modality: text\n    backbone: minilm\n    data:\n      source: a.csv\n"
    path.write_text(lines(path.read_text(), "models:") + entry + "    plan:\n      choice:\n        strategy: lora\n")
    with pytest.raises(ParamsError, match=r"models\.m\.plan\.choice: is no longer used: .*under plan") as caught:
        load(path)
    assert "headstart migrate" in caught.value.action
    assert answered(capsys, yes=True)["removed"] == {"models.m.plan.choice.strategy": "is called plan.strategy now"}
    assert load(path).models["m"].plan.strategy == "lora"


def test_the_parameters_of_an_early_version_load_once_they_are_migrated(workspace, capsys):
    path = workspace / "params.yaml"
    path.write_text((Path(__file__).parent / "params_0.1.yaml").read_text())
    with pytest.raises(ParamsError, match="headstart migrate"):
        load(path)
    answer = answered(capsys, yes=True)
    assert "defaults.all.plan.race" in answer["removed"] or "defaults.all.plan.few_labels" in answer["removed"]
    assert sorted(load(path).models) == ["apidocs", "digits"]


def ship(monkeypatch, **texts):
    newer = {**template.files(), **texts}
    newer = {path: text for path, text in newer.items() if text is not None}
    monkeypatch.setattr(template, "files", lambda: newer)


def test_a_flow_that_nobody_edited_is_replaced_and_one_that_is_new_is_added(workspace, monkeypatch, capsys):
    ship(monkeypatch, **{"dvc.yaml": "stages: {}\n", "pipelines/tidy.py": "new\n", "pipelines/world.py": None})
    answer = answered(capsys, yes=True)
    assert answer["changed"] == ["dvc.yaml", "pipelines/tidy.py", "pipelines/world.py"]
    assert (workspace / "dvc.yaml").read_text() == "stages: {}\n"
    assert (workspace / "pipelines/tidy.py").read_text() == "new\n"
    assert not (workspace / "pipelines/world.py").exists()
    assert answered(capsys, yes=True)["changed"] == []


def test_a_flow_that_the_user_edited_is_left_with_a_finding_and_the_difference(workspace, monkeypatch, capsys):
    path = workspace / "pipelines/world.py"
    path.write_text("mine\n")
    ship(monkeypatch, **{"pipelines/world.py": "new\n"})
    assert migrate(yes=True) == 0
    out, err = capsys.readouterr()
    assert path.read_text() == "mine\n"
    assert "-mine\n+new\n" in err
    assert "pipelines/world.py differs from what headstart wrote" in out


def test_an_edit_of_what_the_installed_version_did_not_change_is_nobodys_business(workspace, capsys):
    (workspace / "pipelines/world.py").write_text("mine\n")
    assert answered(capsys, yes=True)["findings"] == []


def test_edits_are_told_from_ours_no_longer_once_the_record_is_gone(workspace, monkeypatch, capsys):
    (workspace / template.RECORD).unlink()
    ship(monkeypatch, **{"dvc.yaml": "stages: {}\n"})
    answer = answered(capsys, yes=True)
    assert (answer["changed"], len(answer["findings"])) == ([], 1)


OLDER = """\
    evaluate:
      bins: 15
      bootstrap: {resamples: 1000, level: 0.9, seed: 11}
      baseline_iterations: 300
      baseline_strength: 1.0
    gates:
      accuracy: 0.6
      macro_f1: 0.5
      calibration_error: 0.15
      baseline_margin: 0.0
      logit_difference: 1.0e-3
      label_flips: 0
      replay_difference: 1.0e-4
      champion_margin: 0.02
      level: 0.05
      bootstrap: {resamples: 1000, level: 0.95, seed: 13}
"""


def test_bars_that_a_workspace_of_before_set_stay_and_keys_that_went_are_named(workspace, capsys):
    path = workspace / "params.yaml"
    text = path.read_text()
    before, after = text.index("    evaluate:\n"), text.index("    seal:\n")
    gates, release = text.index("    gates:\n"), text.index("    release:\n")
    path.write_text(text[:before] + OLDER + text[after:gates] + text[release:])
    removed = answered(capsys, yes=True)["removed"]
    assert removed["defaults.all.evaluate.bootstrap.level"] == "is called evaluate.level now"
    assert "defaults.all.gates.logit_difference" in removed and "defaults.all.evaluate.bins" in removed
    entry = "models:\n  m:\n    modality: text\n    backbone: minilm\n    data:\n      source: a.csv\n"
    path.write_text(path.read_text().partition("models:")[0] + entry)
    model = load(path).models["m"]
    assert (model.gates.accuracy, model.gates.macro_f1, model.gates.calibration_error) == (0.6, 0.5, 0.15)
    assert model.evaluate.level == 0.9
