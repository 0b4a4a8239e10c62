"""Versions and the one alias that decides what is served."""

import itertools
import shutil

import pytest

from headstart import registry, tracking
from headstart.errors import BundleError, GateError, OutsideError, UsageError
from tests.unit.tiny_bundle import image_bundle, kept, text_bundle

pytestmark = pytest.mark.slow

METRICS = {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}}


MODELS = (f"pets{number}" for number in itertools.count())


@pytest.fixture
def model(tracked):
    """A name that no other test uses."""
    return next(MODELS)


@pytest.fixture
def versions(model, tmp_path, monkeypatch):
    """Register bundle after bundle without the costly upload: `versions("pass")` is a new version's number."""
    from headstart.registry import shipping

    monkeypatch.setattr(shipping, "upload", kept)
    run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
    made = iter(range(1, 100))

    def make(verdict="pass", *, bundle=None, reasons=()):
        bundle = bundle or text_bundle(tmp_path / f"b{next(made)}", temperature=float(next(made)))
        return registry.register(
            model, bundle, run_id=run_id, verdict=verdict, reasons=reasons, metrics=METRICS, tags={"git_commit": "abc"}
        )

    return make


def test_a_model_that_was_never_registered_has_nothing(model):
    assert registry.aliases(model) == registry.Aliases(None, None, None)
    nothing = {"champion": None, "challenger": None, "previous": None, "newest": None, "missing": {}}
    assert registry.status(model) == nothing
    assert registry.live(model) is None


def test_a_candidate_that_passed_waits_as_challenger(model, versions):
    number = versions("pass")
    assert registry.aliases(model) == registry.Aliases(champion=None, challenger=number, previous=None)


@pytest.mark.parametrize("verdict", ["fail", "unsure"])
def test_a_candidate_that_did_not_pass_is_a_version_without_alias(model, versions, verdict):
    number = versions(verdict, reasons=["accuracy 0.4 < 0.6"])
    assert registry.aliases(model) == registry.Aliases(None, None, None)
    known = registry.describe(model, number)
    assert (known.verdict, known.reasons) == (verdict, "accuracy 0.4 < 0.6")


def test_the_same_bundle_again_is_the_same_version_with_the_new_judgement(model, versions, tmp_path):
    bundle = text_bundle(tmp_path / "same")
    first = versions("unsure", bundle=bundle)
    assert versions("pass", bundle=bundle) == first
    assert registry.describe(model, first).verdict == "pass"
    assert registry.aliases(model).challenger == first


def test_a_challenger_that_is_judged_again_and_fails_waits_no_longer(model, versions, tmp_path):
    bundle = text_bundle(tmp_path / "same")
    versions("pass", bundle=bundle)
    versions("fail", bundle=bundle)
    assert registry.aliases(model).challenger is None


def test_a_bundle_is_found_by_its_content_wherever_it_lies(model, versions, tmp_path):
    number = versions("pass", bundle=text_bundle(tmp_path / "here"))
    assert registry.find(model, text_bundle(tmp_path / "there")) == number
    assert registry.find(model, text_bundle(tmp_path / "other", temperature=9.0)) is None


def test_a_bundle_without_manifest_is_refused(versions, tmp_path):
    bundle = text_bundle(tmp_path / "open")
    (bundle / "MANIFEST.json").unlink()
    with pytest.raises(BundleError, match=r"open has no MANIFEST\.json"):
        versions("pass", bundle=bundle)


def test_promotion_moves_the_champion_and_empties_the_challenger(model, versions):
    first = versions()
    assert registry.promote(model) == registry.Move(before=None, after=first)
    second = versions()
    assert registry.promote(model) == registry.Move(before=first, after=second)
    assert registry.aliases(model) == registry.Aliases(champion=second, challenger=None, previous=first)


def test_promoting_twice_is_the_same_as_once(model, versions):
    first, second = versions(), versions()
    registry.promote(model, first)
    registry.promote(model, second)
    before = registry.status(model)
    assert registry.promote(model, second) == registry.Move(second, second)
    assert registry.status(model) == before


def test_a_version_that_failed_is_refused_with_its_reasons(model, versions):
    number = versions("fail", reasons=["accuracy 0.4 < 0.6"])
    with pytest.raises(GateError, match=r"version 1 may not become champion; its gates said fail: accuracy 0\.4") as no:
        registry.promote(model, number)
    assert no.value.action.endswith(f"headstart promote {model} 1 --reason WHY.")
    assert registry.aliases(model).champion is None


def test_unsure_never_replaces_a_champion(model, versions):
    first = versions()
    registry.promote(model, first)
    with pytest.raises(GateError, match="its gates said unsure"):
        registry.promote(model, versions("unsure"))
    assert registry.aliases(model).champion == first


def test_an_override_is_recorded_with_its_reason(model, versions):
    import mlflow

    number = versions("fail")
    registry.promote(model, number, reason="the old one is on fire")
    tags = mlflow.MlflowClient().get_model_version(model, str(number)).tags
    assert tags["overridden"] == "the old one is on fire"
    assert registry.aliases(model).champion == number


def test_promotion_without_challenger_asks_for_a_version(model, versions):
    registry.promote(model, versions())
    with pytest.raises(UsageError, match=rf"{model} has no challenger to promote.*headstart promote {model} VERSION"):
        registry.promote(model)


def test_promotion_without_challenger_names_the_version_that_waits(model, versions):
    number = versions("unsure")
    with pytest.raises(
        UsageError, match=f"no challenger to promote; the gates of version {number}, its newest, said unsure"
    ):
        registry.promote(model)


def test_an_unknown_version_is_named(model, versions):
    versions()
    with pytest.raises(UsageError, match="has no version 7"):
        registry.promote(model, 7)


def test_rollback_goes_back_one_champion_at_a_time(model, versions):
    first, second, third = versions(), versions(), versions()
    for number in (first, second, third):
        registry.promote(model, number)
    assert registry.rollback(model) == registry.Move(third, second)
    assert registry.aliases(model) == registry.Aliases(champion=second, challenger=None, previous=first)
    assert registry.rollback(model) == registry.Move(second, first)
    with pytest.raises(UsageError, match="version 1 is its first champion"):
        registry.rollback(model)


def test_a_version_that_was_rolled_back_says_so_until_it_is_promoted_again(model, versions):
    first, second = versions(), versions()
    registry.promote(model, first)
    registry.promote(model, second)
    registry.rollback(model)
    assert registry.describe(model, second).rolled_back
    registry.promote(model, second)
    assert not registry.describe(model, second).rolled_back


def test_rollback_without_champion_says_that_there_is_none(model):
    with pytest.raises(UsageError, match="it has no champion"):
        registry.rollback(model)


def test_a_promotion_that_was_killed_before_the_alias_moved_left_nothing_behind(model, versions, monkeypatch):
    import mlflow

    first, second = versions(), versions()
    registry.promote(model, first)
    with monkeypatch.context() as broken:

        def die(*arguments):
            raise KeyboardInterrupt

        broken.setattr(mlflow.MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(model, second)
    assert registry.aliases(model) == registry.Aliases(champion=first, challenger=second, previous=None)
    registry.promote(model, second)
    assert registry.aliases(model) == registry.Aliases(champion=second, challenger=None, previous=first)


def test_status_tells_version_contract_metrics_and_since_when(model, versions, monkeypatch):
    monkeypatch.setenv("HEADSTART_NOW", "2026-03-01T12:00:00+00:00")
    number = versions()
    registry.promote(model, number)
    champion = registry.status(model)["champion"]
    assert champion["version"] == number
    assert champion["metrics"] == METRICS
    assert champion["since"] == "2026-03-01T12:00:00+00:00"
    assert len(champion["contract"]) == 25  # 12 hex digits, a dot, 12 hex digits


@pytest.mark.parametrize(("verdict", "why"), [("pass", ""), ("unsure", " --reason WHY")])
def test_download_of_a_model_without_champion_says_which_version_there_is(model, versions, verdict, why):
    with pytest.raises(UsageError, match=rf"{model} has no champion\..*headstart run {model}\.$"):
        registry.download(model)
    versions("fail")
    number = versions(verdict)
    said = f"{model} has no champion; the gates of version {number}, its newest, said {verdict}."
    with pytest.raises(UsageError, match=rf"{said}.*headstart promote {model} {number}{why}\.$"):
        registry.download(model)


def test_files_that_are_gone_are_told_apart_from_versions_that_are_not_there(model, versions):
    registry.promote(model, versions())
    shutil.rmtree(registry.download(model))
    with pytest.raises(OutsideError, match=r"and they are not.*Was the workspace moved"):
        registry.download(model)


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        pytest.param(lambda folder: (folder / "model.onnx").write_bytes(b"damaged"), BundleError, id="a file altered"),
        pytest.param(lambda folder: (folder / "golden.parquet").unlink(), BundleError, id="a file missing"),
        pytest.param(shutil.rmtree, OutsideError, id="all gone"),
    ],
)
def test_no_alias_ever_points_at_a_bundle_that_is_not_whole(model, versions, damage, refusal):
    first, second, third = versions(), versions(), versions()
    registry.promote(model, first)
    registry.promote(model, second)
    for number in (first, third):
        damage(registry.download(model, number))
    with pytest.raises(refusal):
        registry.promote(model, third, reason="whatever it is")
    with pytest.raises(refusal):
        registry.rollback(model)
    assert registry.aliases(model) == registry.Aliases(champion=second, challenger=third, previous=first)
    assert registry.describe(model, second).rolled_back == ""


def test_a_registry_that_was_not_opened_is_a_bug_not_a_new_database(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlflow.tracking.is_tracking_uri_set", lambda: False)
    with pytest.raises(RuntimeError, match=r"tracking\.open"):
        registry.aliases(model)
    assert not list(tmp_path.iterdir())


def test_a_quick_look_says_what_mlflow_says(tracked, tmp_path):
    from mlflow import MlflowClient

    from headstart.registry import quick

    uri = tracked.tracking_uri
    client = MlflowClient()
    client.create_registered_model("quick")
    made = int(client.create_model_version("quick", source=str(tmp_path), tags={"bundle": "abc"}).version)
    assert quick.find(uri, "quick", "abc") == made
    assert quick.find(uri, "quick", "abd") is None
    assert quick.find(uri, "other", "abc") is None
    client.delete_model_version("quick", str(made))
    assert quick.find(uri, "quick", "abc") is None
    with pytest.raises(quick.UnknownError):
        quick.find("http://127.0.0.1:9", "quick", "abc")


@pytest.fixture
def delete(model, tracked):
    """Delete a version as MLflow does, or (`behind`) as if by another hand, which leaves the alias where it was."""
    import sqlite3

    from mlflow import MlflowClient

    def gone(version, *, behind=False):
        if not behind:
            MlflowClient().delete_model_version(model, str(version))
            return
        with sqlite3.connect(tracked.tracking_uri.removeprefix("sqlite:///")) as database:
            database.execute(
                "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = ? AND version = ?",
                (model, version),
            )
        database.close()

    return gone


def test_the_version_an_alias_stands_for_is_told_without_asking_for_the_others(model, versions, delete):
    assert registry.standing(model) is None
    first, second = versions(), versions()
    registry.promote(model, first)
    assert (registry.standing(model), registry.standing(model, "challenger")) == (first, second)
    delete(first, behind=True)
    assert registry.standing(model) is None


def test_status_shows_the_rest_where_the_version_before_was_deleted(model, versions, delete):
    first, second = versions(), versions()
    registry.promote(model, first)
    registry.promote(model, second)
    delete(first)
    status = registry.status(model)
    assert status["champion"]["version"] == status["newest"]["version"] == second
    assert (status["previous"], status["missing"]) == (None, {"previous": first})
    assert registry.live(model)["version"] == second


def test_rollback_past_a_deleted_version_is_a_persons_decision(model, versions, delete):
    first, second, third = versions(), versions(), versions()
    for number in (first, second, third):
        registry.promote(model, number)
    delete(second)
    with pytest.raises(UsageError, match="cannot go back: version 2, which champion 3 replaced, was deleted") as no:
        registry.rollback(model)
    assert no.value.action == f"Make another version champion: headstart promote {model} 1."
    assert registry.promote(model, first) == registry.Move(before=third, after=first)


def test_promotion_goes_on_after_the_version_before_was_deleted(model, versions, delete):
    first, second, third = versions(), versions(), versions()
    registry.promote(model, first)
    registry.promote(model, second)
    delete(first)
    assert registry.promote(model, third) == registry.Move(before=second, after=third)
    assert registry.rollback(model) == registry.Move(before=third, after=second)


def test_promote_is_the_way_out_where_the_champion_itself_was_deleted(model, versions, delete):
    first, second, third = versions(), versions(), versions("unsure")
    registry.promote(model, first)
    registry.promote(model, second)
    delete(second, behind=True)
    assert registry.aliases(model) == registry.Aliases(None, None, None, {"champion": second})
    assert registry.status(model)["missing"] == {"champion": second}
    said = f"the champion of {model} is version 2, which was deleted in MLflow"
    for refused in (registry.rollback, registry.download):
        with pytest.raises(UsageError, match=said) as no:
            refused(model)
        assert no.value.action == f"Make another version champion: headstart promote {model} 1."
    assert registry.promote(model, third, reason="all else is gone") == registry.Move(before=second, after=third)
    assert registry.aliases(model) == registry.Aliases(third, None, None, {"previous": second})


def test_a_deleted_champion_without_another_version_asks_for_a_new_one(model, versions, delete):
    registry.promote(model, versions())
    delete(1, behind=True)
    with pytest.raises(UsageError, match=rf"Make a new version: headstart run {model}\.$"):
        registry.download(model)


def test_a_challenger_that_was_deleted_waits_no_longer(model, versions, delete):
    number = versions()
    delete(number, behind=True)
    assert registry.aliases(model) == registry.Aliases(None, None, None, {"challenger": number})
    with pytest.raises(UsageError, match="has no challenger to promote"):
        registry.promote(model)


def test_a_deleted_version_is_named_with_those_there_are(model, versions, delete):
    versions(), versions(), versions()
    delete(2)
    with pytest.raises(UsageError, match="has no version 2; it has 1, 3"):
        registry.promote(model, 2)


def test_the_newest_version_stands_in_status_with_its_verdict_and_an_override_with_its_reason(model, versions):
    first = versions("unsure", reasons=["too few examples"])
    newest = registry.status(model)["newest"]
    assert (newest["version"], newest["verdict"], newest["reasons"]) == (first, "unsure", "too few examples")
    registry.promote(model, first, reason="good enough for a demo")
    assert registry.status(model)["champion"]["overridden"] == "good enough for a demo"


def test_what_is_live_is_told_alike_by_mlflow_and_by_a_quick_look(model, versions, delete, tracked):
    from headstart.registry import quick

    assert quick.live(tracked.tracking_uri, model) is None
    number = versions("unsure")
    registry.promote(model, number, reason="a demo")
    told = {"version": number, "verdict": "unsure", "overridden": "a demo", "provisional": False}
    assert registry.live(model) == quick.live(tracked.tracking_uri, model) == told
    delete(number, behind=True)
    assert registry.live(model) is quick.live(tracked.tracking_uri, model) is None


def test_a_provisional_champion_is_told_as_such_and_replaced_by_the_next(model, versions, tracked):
    from headstart.registry import quick

    first, second = versions("unsure"), versions("unsure")
    registry.promote(model, first, provisional=True)
    told = {"version": first, "verdict": "unsure", "overridden": "", "provisional": True}
    assert registry.live(model) == quick.live(tracked.tracking_uri, model) == told
    assert registry.status(model)["champion"]["provisional"] is True
    registry.promote(model, second, provisional=True)
    assert registry.aliases(model).champion == second


def test_a_sound_champion_is_never_replaced_provisionally(model, versions):
    sound, doubtful = versions("pass"), versions("unsure")
    registry.promote(model, sound)
    with pytest.raises(GateError, match=rf"version {doubtful} may not become provisional champion: version {sound} is"):
        registry.promote(model, doubtful, provisional=True)
    assert registry.aliases(model).champion == sound


@pytest.mark.parametrize("how", ["the gates pass it", "a person gives a reason"])
def test_a_provisional_champion_that_is_settled_is_sound(model, versions, tmp_path, how):
    bundle = text_bundle(tmp_path / "settled", temperature=2.5)
    number = versions("unsure", bundle=bundle)
    registry.promote(model, number, provisional=True)
    if how == "the gates pass it":
        assert versions("pass", bundle=bundle) == number
    else:
        registry.promote(model, number, reason="tried on our own mails")
    assert registry.status(model)["champion"]["provisional"] is False
    assert registry.aliases(model).champion == number


def test_the_contracts_of_all_versions_are_known_by_their_hash_each_once(model, tmp_path, monkeypatch):
    from headstart.contract import spec
    from headstart.registry import shipping

    monkeypatch.setattr(shipping, "upload", lambda bundle, modality, run_id: (f"file://{bundle.parents[1]}", None))
    run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
    made = []
    for place, make in enumerate([text_bundle, image_bundle, text_bundle]):
        folder = tmp_path / str(place) / "artifacts" / "bundle"
        folder.parent.mkdir(parents=True)
        made.append(spec.read(make(folder, **({"temperature": 1.0 + place} if make is text_bundle else {}))))
        registry.register(model, folder, run_id=run_id, verdict="pass", reasons=[], metrics=METRICS, tags={})
    assert registry.contracts(model) == {made[0].hash: made[0], made[1].hash: made[1]}
    (tmp_path / "1/artifacts/bundle/contract.json").write_text("{")
    assert registry.contracts(model) == {made[0].hash: made[0]}


def test_a_model_that_was_never_registered_has_no_contracts(model):
    assert registry.contracts(model) == {}
