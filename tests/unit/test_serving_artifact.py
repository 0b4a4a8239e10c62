"""The wrong bundle never takes traffic: not the one registered, or one that does not give its golden answers."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headstart import bundle, registry, tracking
from headstart.errors import BundleError, OutsideError, UsageError
from headstart.journal.writer import Journal
from headstart.serving import inspection
from headstart.serving.app import create_app
from headstart.serving.fleet import NO_CHAMPION, Fleet, Slot, Trouble
from headstart.serving.models import LoadedModel
from headstart.serving.server import serve
from headstart.serving.watcher import ReloadWatcher
from tests.fakes import LABELS, TEXT, Clock
from tests.unit.test_serving_app import JOURNAL, SERVE, Server, ask, loaded, until
from tests.unit.tiny_bundle import image_bundle, permute_labels, text_bundle

WRONG = 'headstart_model_artifact_wrong{model="texts"} 1.0'


def permuted(version: int) -> LoadedModel:
    """A version whose labels stand in another order than when it was sealed."""
    model = loaded("texts", TEXT, version)
    model.predictor.contract = replace(TEXT, labels=LABELS[::-1])  # type: ignore[misc]
    turned = model.predictor.predictions

    def predictions(logits: Any) -> Any:
        return [replace(one, label=LABELS[::-1][LABELS.index(one.label)]) for one in turned(logits)]

    model.predictor.predictions = predictions  # type: ignore[method-assign]
    return model


@pytest.fixture
def server(tmp_path: Path) -> Any:
    server = Server(tmp_path)
    server.fleet.start()
    yield server
    server.fleet.close()


def watching(server: Server, load: Callable[[str], LoadedModel], **more: Any) -> ReloadWatcher:
    champion = more.pop("champion", {"texts": 4, "images": 3}.get)
    return ReloadWatcher(server.fleet, champion=champion, load=load, every_s=60.0, **more)


def metrics(server: Server) -> str:
    return server.request("GET", "/metrics").text


def answers(server: Server) -> Any:
    return server.post("/predict/texts", {"inputs": ["a"]}).json()["model_version"]


def test_a_version_with_other_answers_than_its_golden_ones_takes_no_traffic(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = watching(server, lambda name: permuted(4))
    assert watcher.refresh() == []
    assert answers(server) == "3"
    assert WRONG in metrics(server)
    trouble = server.request("GET", "/health").json()["troubles"]["texts"]
    assert trouble.startswith("model_artifact: version 4, the champion, cannot be served: texts version 4: Of 1 golden")
    assert f"texts: {trouble} Meanwhile version 3 goes on answering." in caplog.text


def test_a_champion_that_cannot_be_served_is_said_once_and_tried_at_growing_distances(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def load(name: str) -> LoadedModel:
        tried.append(name)
        return permuted(4)

    watcher = watching(server, load)
    for _ in range(130):
        watcher.refresh()
    # looks 1, 4 (2 skipped), 9 (4), 18 (8), 35 (16), 68 (32), 129 (60)
    assert len(tried) == 7
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_rollback_to_the_version_at_work_ends_the_alarm(server: Server) -> None:
    champion = {"texts": 4, "images": 3}
    watcher = watching(server, lambda name: permuted(4), champion=champion.get)
    watcher.refresh()
    champion["texts"] = 3
    watcher.refresh()
    assert server.request("GET", "/health").json()["troubles"] == {}
    assert WRONG not in metrics(server)


def fleet(folder: Path, *models: LoadedModel) -> Fleet:
    slots = {model.name: Slot(SERVE, Journal(folder / model.name, JOURNAL, clock=Clock())) for model in models}
    return Fleet({model.name: model for model in models}, slots, workers=1)


def test_at_the_start_the_wrong_model_is_not_served_and_the_others_are(tmp_path: Path) -> None:
    two = fleet(tmp_path, permuted(3), loaded("others", TEXT, 1))
    two.start()
    app = create_app(two, clock=Clock())
    assert ask(app, "POST", "/predict/others", json={"inputs": ["a"]}).status_code == 200
    refusal = ask(app, "POST", "/predict/texts", json={"inputs": ["a"]})
    assert refusal.status_code == 503
    assert refusal.json()["error"]["message"] == "texts is not served at present; GET /health says why."
    health = ask(app, "GET", "/health")
    assert (health.status_code, health.json()["versions"]) == (200, {"texts": None, "others": 1})
    assert "model_artifact" in health.json()["troubles"]["texts"]
    (texts, others) = ask(app, "POST", "/v2/repository/index").json()
    assert (texts["state"], others["state"]) == ("UNAVAILABLE", "READY")
    two.close()


def test_a_server_all_of_whose_models_are_wrong_does_not_start(tmp_path: Path) -> None:
    one = fleet(tmp_path, permuted(3))
    with pytest.raises(BundleError, match="texts version 3: Of 1 golden examples 1 get another label"):
        one.start()
    one.close()


def spoil(server: Server) -> None:
    """Let the version at work answer wrongly from now on."""
    predictor = server.predictors["texts"]
    run = predictor.run
    predictor.run = lambda items: run(items)._replace(logits=run(items).logits[:, ::-1])  # type: ignore[method-assign]


def test_a_version_that_goes_wrong_at_work_is_loaded_anew(server: Server) -> None:
    spoil(server)
    watching(server, lambda name: loaded(name, TEXT, 3)).inspect()
    good = server.post("/predict/texts", {"inputs": ["ab"]}).json()["predictions"][0]
    assert good["label"] == "two"  # length modulo 3
    assert server.request("GET", "/health").json()["troubles"] == {}


def test_a_version_that_goes_wrong_and_cannot_be_loaded_anew_answers_no_more(server: Server) -> None:
    def load(name: str) -> LoadedModel:
        raise OutsideError("the registry is gone.")

    spoil(server)
    watcher = watching(server, load, champion={"texts": 3, "images": 3}.get)
    watcher.inspect()
    assert server.post("/predict/texts", {"inputs": ["a"]}).status_code == 503
    assert server.request("GET", "/health").status_code == 200  # the images go on
    watcher._load = lambda name: loaded(name, TEXT, 3)
    assert watcher.refresh() == ["texts"]
    assert answers(server) == "3"


@pytest.mark.parametrize("how", ["damaged", "another"])
def test_a_registered_copy_that_goes_wrong_is_an_alarm_and_the_version_in_memory_goes_on(
    server: Server, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = [True]

    def registered(name: str, version: int) -> str:
        if wrong[0] and name == "texts":
            if how == "damaged":
                raise BundleError("texts version 3: model.onnx is missing.", action="Restore it.")
            return "another"
        return f"{name} {version}"

    watcher = watching(server, lambda name: permuted(3), champion={"texts": 3, "images": 3}.get, registered=registered)
    watcher.inspect()
    watcher.refresh()
    assert answers(server) == "3"
    assert WRONG in metrics(server)
    assert "model_artifact: " in server.request("GET", "/health").json()["troubles"]["texts"]
    assert "Meanwhile version 3 goes on answering" in caplog.text
    wrong[0] = False
    watcher.inspect()
    assert WRONG not in metrics(server)


def test_the_thread_inspects_what_is_at_work_again_and_again(server: Server) -> None:
    asked: list[str] = []

    def registered(name: str, version: int) -> str:
        asked.append(name)
        return f"{name} {version}"

    watcher = ReloadWatcher(
        server.fleet, champion=lambda name: 3, load=lambda name: permuted(3), registered=registered, every_s=0.005,
        inspect_s=0.01,
    )  # fmt: skip
    watcher.start()
    until(lambda: len(asked) >= 6)
    watcher.close()
    assert set(asked) == {"texts", "images"}
    assert answers(server) == "3"


def test_a_champion_taken_away_is_one_line_and_the_version_at_work_goes_on(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = watching(server, lambda name: loaded(name, TEXT, 3), champion={"images": 3}.get)
    for _ in range(5):
        watcher.refresh()
    assert answers(server) == "3"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is None
    assert record.getMessage().startswith("texts: it has no champion in the registry.")
    assert record.getMessage().endswith("Meanwhile version 3 goes on answering.")


def test_a_bug_while_loading_is_one_traceback(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    watcher = watching(server, lambda name: {}[name])
    for _ in range(5):
        watcher.refresh()
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.WARNING] == [
        False, True,
    ]  # fmt: skip


def test_a_model_that_gets_its_first_champion_while_the_server_runs_is_taken_up(tmp_path: Path) -> None:
    model = loaded("texts", TEXT, 1)
    slots = {name: Slot(SERVE, Journal(tmp_path / name, JOURNAL, clock=Clock())) for name in ("texts", "late")}
    two = Fleet({"texts": model}, slots, workers=1)
    two.note("late", NO_CHAMPION)
    two.start()
    app = create_app(two, clock=Clock())
    assert ask(app, "POST", "/predict/late", json={"inputs": ["a"]}).status_code == 503
    champion: dict[str, int] = {"texts": 1}
    watcher = ReloadWatcher(two, champion=champion.get, load=lambda name: loaded(name, TEXT, 1), every_s=60.0)
    assert watcher.refresh() == []
    champion["late"] = 1
    assert watcher.refresh() == ["late"]
    assert ask(app, "POST", "/predict/late", json={"inputs": ["a"]}).status_code == 200
    two.close()


def test_a_server_none_of_whose_models_has_a_champion_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"texts: no champion to serve\. Make one: headstart run texts\."):
        serve(
            ["texts"], host="127.0.0.1", port=0, load=lambda name: loaded(name, TEXT, 3), champion=lambda name: None,
            params={"texts": SERVE}, journals={"texts": Journal(tmp_path, JOURNAL, clock=Clock())},
            listening=lambda url, names: None,
        )  # fmt: skip


def test_a_trouble_of_the_bundle_is_told_apart_from_others() -> None:
    assert Trouble.of(BundleError("torn.")).artifact
    assert not Trouble.of(OutsideError("no network.")).artifact


# --- on a real registry


@pytest.fixture
def champion(tracked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register and promote a bundle under a name of its own; the registry's folder."""
    from headstart.registry import shipping

    def upload(sealed: Path, modality: str, run_id: str) -> tuple[str, None]:
        shutil.copytree(sealed, tmp_path / sealed.name / "artifacts" / "bundle")
        return f"file://{tmp_path / sealed.name}", None

    monkeypatch.setattr(shipping, "upload", upload)

    def make(name: str, sealed: Path) -> Path:
        run_id = tracking.log_run(name, params={}, metrics={}, series={}, artifacts=[], tags={})
        number = registry.register(name, sealed, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={})
        registry.promote(name, number)
        return tmp_path / sealed.name / "artifacts" / "bundle"

    return make


def test_a_registered_bundle_comes_back_and_everything_about_it_is_right(champion: Any, tmp_path: Path) -> None:
    copy = champion("right", text_bundle(tmp_path / "sealed" / "right"))
    assert registry.download("right") == copy
    findings = inspection.inspect("right", difference_allowed=1e-4)
    assert [(one.check, one.verdict) for one in findings] == [
        ("served_version", "pass"), ("model_artifact", "pass"), ("replay", "pass"),
    ]  # fmt: skip


def alter(copy: Path) -> None:
    (copy / "calibration.json").write_text("{}")


def lose(copy: Path) -> None:
    (copy / "profile.parquet").unlink()


def unseal(copy: Path) -> None:
    (copy / "MANIFEST.json").unlink()


def swap(copy: Path) -> None:
    shutil.rmtree(copy)
    image_bundle(copy)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(permute_labels, "holds another bundle than the one registered", id="permuted labels, resealed"),
        pytest.param(swap, "holds another bundle than the one registered", id="another model's bundle"),
        pytest.param(alter, "calibration.json has SHA-256", id="a file altered"),
        pytest.param(lose, "profile.parquet is missing", id="a file lost"),
        pytest.param(unseal, "has no MANIFEST.json", id="no manifest"),
    ],
)
def test_what_is_not_what_was_registered_is_never_loaded(
    champion: Any, tmp_path: Path, damage: Callable[[Path], None], words: str, request: pytest.FixtureRequest
) -> None:
    name = f"wrong-{damage.__name__.strip('_').replace('_', '-')}"
    damage(champion(name, text_bundle(tmp_path / "sealed" / name)))
    with pytest.raises(BundleError, match=f"{name} version 1: ") as refusal:
        registry.download(name)
    assert words in refusal.value.message
    assert f"headstart rollback {name}" in refusal.value.action
    last = inspection.inspect(name, difference_allowed=1e-4)[-1]
    assert (last.check, last.verdict) == ("model_artifact", "fail")
    assert words in last.reason


def test_a_bundle_registered_with_permuted_labels_fails_on_its_golden_answers(champion: Any, tmp_path: Path) -> None:
    sealed = text_bundle(tmp_path / "sealed" / "turned")
    permute_labels(sealed)
    champion("turned", sealed)
    found = inspection.inspect("turned", difference_allowed=1e-4)[-1]
    assert (found.check, found.verdict) == ("replay", "fail")
    assert "Of 3 golden examples 3 get another label" in found.reason
    model = LoadedModel.open("turned", 1, registry.download("turned"), difference_allowed=1e-4)
    with pytest.raises(BundleError, match="turned version 1: Of 3 golden examples"):
        model.require_golden_answers()


def test_a_version_that_headstart_did_not_register_is_refused(champion: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    champion("foreign", text_bundle(tmp_path / "sealed" / "foreign"))
    MlflowClient().delete_model_version_tag("foreign", "1", "bundle")
    with pytest.raises(BundleError, match="foreign version 1 has no tag `bundle`"):
        registry.download("foreign")


def test_a_champion_that_was_deleted_behind_its_alias_is_a_finding(
    champion: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dangling(client: Any, model: str) -> dict[str, int]:  # as a registry without foreign keys leaves it
        return {"champion": 7}

    champion("gone", text_bundle(tmp_path / "sealed" / "gone"))
    monkeypatch.setattr("headstart.registry.champion.aliases_of", dangling)
    (found,) = inspection.inspect("gone", difference_allowed=1e-4)
    assert (found.check, found.verdict) == ("served_version", "fail")
    assert found.reason == "The champion of gone, version 7, was deleted in MLflow; there is nothing to serve."
    assert "headstart promote gone VERSION" in found.action


def test_a_model_without_a_champion_has_nothing_to_inspect(tracked: Any) -> None:
    assert inspection.inspect("nobody", difference_allowed=1e-4) == []


def test_a_loaded_version_knows_its_bundle_and_its_usual_inputs(tmp_path: Path) -> None:
    sealed = text_bundle(tmp_path / "sealed")
    model = LoadedModel.open("t", 1, sealed, difference_allowed=1e-4)
    assert model.bundle == bundle.manifest_hash(sealed)
    assert model.plausibility.ranges["words"].high == 3.0  # good, bad, a good day
