"""A move of the alias is one transaction: killed anywhere, the next command finishes or undoes it."""

import itertools
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from headstart import registry, settings, tracking
from headstart.errors import GateError, OutsideError
from headstart.registry import ledger, moves, shipping
from tests.unit.tiny_bundle import kept, text_bundle

pytestmark = pytest.mark.slow

MODELS = (f"moved{number}" for number in itertools.count())
WRITES = ("set_", "delete_", "create_")


@pytest.fixture
def model(tracked):
    return next(MODELS)


@pytest.fixture
def version(model, tmp_path, monkeypatch):
    """`version()` registers another bundle that passed, and answers its number."""
    monkeypatch.setattr(shipping, "upload", kept)
    run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
    made = itertools.count(1)

    def make(verdict="pass"):
        bundle = text_bundle(tmp_path / f"b{next(made)}", temperature=float(next(made)))
        return registry.register(
            model, bundle, run_id=run_id, verdict=verdict, reasons=[], metrics={}, tags={"git_commit": "abc"}
        )

    return make


@contextmanager
def before_write(number, action):
    """Call `action` before the client's write number `number`; the names of the writes so far are yielded."""
    import mlflow

    seen: list[str] = []

    def watched(name, method):
        def call(*arguments, **named):
            seen.append(name)
            if len(seen) == number:
                action()
            return method(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in dir(mlflow.MlflowClient):
            if name.startswith(WRITES):
                patch.setattr(mlflow.MlflowClient, name, watched(name, getattr(mlflow.MlflowClient, name)))
        yield seen


class KilledError(BaseException):
    """Stands in for a kill: nothing catches it."""


def die():
    raise KilledError


def killed(number, command):
    """Whether the command was killed before its write number `number`; False where it makes fewer."""
    try:
        with before_write(number, die):
            command()
    except KilledError:
        return True
    return False


def champions(model):
    """Who was champion, in order, as the ledger has it."""
    entries = ledger.read(model).entries
    return [entry.details["champion"] for entry in entries if "champion" in entry.details]


def require_consistent(model):
    import mlflow

    found = ledger.read(model)
    assert found.problems == []
    assert champions(model)[-1] == registry.aliases(model).champion
    assert moves.MOVING not in mlflow.MlflowClient().get_registered_model(model).tags


def events(model, event, version):
    return [entry for entry in ledger.read(model).entries if (entry.event, entry.version) == (event, version)]


@pytest.mark.slow  # some fifteen kills, each in a registry of its own making
def test_a_promotion_killed_at_any_step_is_finished_or_undone_by_the_next_one(model, version):
    first = version()
    registry.promote(model, first)
    for step in itertools.count(1):
        last, target = registry.aliases(model).champion, version()
        if not killed(step, lambda: registry.promote(model, reason="of May")):
            break
        assert registry.promote(model).after == target
        assert registry.aliases(model) == registry.Aliases(champion=target, challenger=None, previous=last)
        assert len(events(model, "promoted", target)) == 1
        require_consistent(model)
    assert step > 9


@pytest.mark.slow
def test_a_promotion_killed_at_any_step_has_happened_or_not_when_the_next_command_is_a_rollback(model, version):
    for number in (version(), version()):
        registry.promote(model, number)
    for step in itertools.count(1):
        stood, target = registry.aliases(model), version()
        if not killed(step, lambda: registry.promote(model)):
            break
        moved = registry.standing(model) == target
        assert registry.rollback(model).after == (stood.champion if moved else stood.previous)
        assert len(events(model, "promoted", target)) == int(moved)
        assert bool(registry.describe(model, target).rolled_back) is moved
        require_consistent(model)
        registry.promote(model, target)


@pytest.mark.slow
def test_a_rollback_killed_at_any_step_goes_back_once_when_it_is_repeated(model, version):
    first, second, third = version(), version(), version()
    for number in (first, second):
        registry.promote(model, number)
    for step in itertools.count(1):
        registry.promote(model, third)
        before = len(events(model, "rolled_back", second))
        if not killed(step, lambda: registry.rollback(model)):
            break
        assert registry.rollback(model) == registry.Move(third, second)
        assert registry.aliases(model).previous == first
        assert registry.describe(model, third).rolled_back
        assert not registry.describe(model, second).rolled_back
        assert len(events(model, "rolled_back", second)) == before + 1
        require_consistent(model)
    assert step > 6


@pytest.mark.slow
def test_a_registration_killed_at_any_step_is_recorded_once_when_it_is_repeated(model, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "upload", kept)
    run_id = tracking.log_run(model, params={}, metrics={}, series={}, artifacts=[], tags={})
    for step in itertools.count(1):
        bundle = text_bundle(tmp_path / f"b{step}", temperature=float(step))

        def register(bundle=bundle):
            return registry.register(model, bundle, run_id=run_id, verdict="pass", reasons=[], metrics={}, tags={})

        if not killed(step, register):
            break
        number = register()
        assert registry.aliases(model).challenger == number
        assert len(events(model, "registered", number)) == 1
        require_consistent(model)


def test_an_undone_promotion_leaves_the_tags_that_were_there(model, version):
    import mlflow

    first, second, third = version(), version(), version()
    for number in (first, second, third):
        registry.promote(model, number)
    client = mlflow.MlflowClient()
    tags = dict(client.get_model_version(model, str(first)).tags)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(mlflow.MlflowClient, "set_registered_model_alias", lambda *arguments: die())
        with pytest.raises(KilledError):
            registry.promote(model, first, reason="go back")
    assert client.get_model_version(model, str(first)).tags != tags
    registry.settle(model)
    assert client.get_model_version(model, str(first)).tags == tags
    assert registry.aliases(model) == registry.Aliases(champion=third, challenger=None, previous=second)


def test_a_finished_promotion_is_recorded_with_who_began_it_and_who_finished_it(model, version, monkeypatch):
    import mlflow

    number = version()
    with monkeypatch.context() as broken:
        broken.setattr(mlflow.MlflowClient, "create_run", lambda *arguments, **named: die())
        with pytest.raises(KilledError):
            registry.promote(model, who=registry.Actor("ada@laptop", "command promote"))
    registry.settle(model, registry.Actor("bob@desk"))
    [entry] = events(model, "promoted", number)
    assert entry.who == registry.Actor("ada@laptop", "command promote")
    assert entry.details["finished"]["who"]["account"] == "bob@desk"


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(model, version, monkeypatch):
    registry.promote(model, version())
    targets = [version(), version()]
    both, taking = threading.Barrier(2), moves.exclusive
    entered = threading.local()

    @contextmanager
    def together(name):
        if not getattr(entered, "once", False):
            entered.once = True
            both.wait(timeout=60)  # both have seen the same champion
        with taking(name):
            yield

    monkeypatch.setattr(moves, "exclusive", together)
    said: dict[int, object] = {}

    def promote(number):
        try:
            said[number] = registry.promote(model, number)
        except GateError as refusal:
            said[number] = refusal

    threads = [threading.Thread(target=promote, args=(number,)) for number in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [number for number in targets if isinstance(said[number], registry.Move)]
    [loser] = set(targets) - {winner}
    assert f"version {winner} became champion of {model} meanwhile" in str(said[loser])
    assert f"version {loser} is not" in str(said[loser])
    assert champions(model) == [None, 1, winner]
    require_consistent(model)


AT_ONCE = """
import sys
from pathlib import Path
from headstart import registry, tracking
from headstart.errors import GateError
from headstart.settings import Workspace
tracking.open(Workspace(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(registry.promote(sys.argv[2], int(sys.argv[3])).before)
except GateError as refusal:
    print(f"refused: {refusal}")
"""


@pytest.mark.slow
def test_no_promotion_of_two_processes_is_lost(model, version, tracked):
    registry.promote(model, version())
    targets = [version(), version()]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", AT_ONCE, str(tracked.root), model, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in targets
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    refused = [answer for answer in answers if answer.startswith("refused")]
    if refused:  # decided on a champion that was gone by the time of the move
        assert len(refused) == 1
        assert len(champions(model)) == 3
    else:  # one after the other
        assert "1" in answers
        assert len(champions(model)) == 4
    require_consistent(model)


def test_a_version_is_not_promoted_over_another_champion_than_the_one_it_was_compared_with(model, version):
    first, second, third = version(), version(), version()
    registry.promote(model, first)
    registry.promote(model, second)
    with pytest.raises(GateError, match=rf"version 2 became champion of {model} meanwhile .*; version 3 is not"):
        registry.promote(model, third, expected=first)
    assert registry.promote(model, third, expected=second) == registry.Move(second, third)


def test_an_alias_that_was_moved_in_mlflow_is_recorded_before_the_next_move(model, version):
    import mlflow

    first, second, third = version(), version(), version()
    registry.promote(model, first)
    mlflow.MlflowClient().set_registered_model_alias(model, "champion", str(second))
    assert registry.promote(model, third) == registry.Move(second, third)
    assert champions(model) == [None, first, second, third]
    [outside] = events(model, "moved_outside", second)
    assert (outside.details["before"], outside.details["champion"]) == (first, second)
    require_consistent(model)


@pytest.fixture
def elsewhere(monkeypatch):
    """`elsewhere(action)` acts as another machine, which shares no lock with this one."""

    @contextmanager
    def unlocked(name):
        yield

    monkeypatch.setattr(moves, "exclusive", unlocked)
    monkeypatch.setattr(ledger, "exclusive", unlocked)

    def act(action, *, now=None):
        with pytest.MonkeyPatch.context() as there:
            there.setattr(settings, "machine", lambda: "elsewhere")
            if now:
                there.setenv("HEADSTART_NOW", now)
            return action()

    return act


def alias_step(model, number):
    """Which of a promotion's writes moves the alias, found on a promotion."""
    with before_write(0, die) as writes:
        registry.promote(model, number)
    return writes.index("set_registered_model_alias") + 1


def test_a_move_that_another_machine_is_making_is_left_alone_for_a_minute(model, version, elsewhere):
    step = alias_step(model, version())
    second, third = version(), version()
    refused = []

    def interfere():
        try:
            elsewhere(lambda: registry.promote(model, third))
        except OutsideError as refusal:
            refused.append(str(refusal))

    with before_write(step, interfere):
        assert registry.promote(model, second) == registry.Move(1, second)
    assert f"has been making version {second} champion of {model} since" in refused[0]
    require_consistent(model)


def test_a_move_that_another_account_of_this_machine_is_making_is_left_alone_too(model, version, elsewhere):
    step = alias_step(model, version())
    second, third = version(), version()
    refused = []

    def interfere():
        with pytest.MonkeyPatch.context() as there:
            there.setattr(os, "getuid", lambda: 4242)
            try:
                registry.promote(model, third)
            except OutsideError as refusal:
                refused.append(str(refusal))

    with before_write(step, interfere):
        assert registry.promote(model, second) == registry.Move(1, second)
    assert f"has been making version {second} champion of {model} since" in refused[0]


def test_a_move_takes_no_other_moves_note_away(model, version):
    import mlflow

    client, note = mlflow.MlflowClient(), json.dumps({"id": "of another machine"})
    number, record = version(), mlflow.MlflowClient.create_run

    def overtaken(*arguments, **named):
        client.set_registered_model_tag(model, moves.MOVING, note)
        return record(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "create_run", overtaken)
        registry.promote(model, number)
    assert client.get_registered_model(model).tags[moves.MOVING] == note


LATER = "2126-01-01T00:00:00+00:00"


def test_a_reason_for_a_version_that_passed_is_no_override(model, version):
    registry.promote(model, number := version(), reason="approved by the board")
    assert registry.describe(model, number).overridden == ""
    assert events(model, "promoted", number)[0].reason == "approved by the board"


def test_a_machine_that_comes_just_before_the_alias_moves_is_named_as_the_champion_before(model, version, elsewhere):
    step = alias_step(model, version())
    second, third = version("fail"), version()
    with before_write(step, lambda: elsewhere(lambda: registry.promote(model, third), now=LATER)):
        assert registry.promote(model, second, reason="mine") == registry.Move(before=third, after=second)
    assert champions(model) == [None, 1, third, second]
    assert registry.aliases(model).previous == third
    assert registry.describe(model, second).overridden == "mine"
    require_consistent(model)


def test_a_machine_that_comes_just_after_the_alias_moved_wins_and_the_other_says_so(model, version, elsewhere):
    import mlflow

    registry.promote(model, version())
    second, third = version(), version()
    moving = mlflow.MlflowClient.set_registered_model_alias

    def overtaken(client, name, alias, number):
        moving(client, name, alias, number)
        if number == str(second):
            elsewhere(lambda: registry.promote(model, third), now=LATER)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", overtaken)
        with pytest.raises(GateError, match=rf"version {third} became champion of {model} meanwhile"):
            registry.promote(model, second)
    assert champions(model) == [None, 1, second, third]
    assert registry.aliases(model).previous == second
    require_consistent(model)


def test_a_lock_that_is_held_names_the_file(model, version, monkeypatch, tracked):
    number = version()
    monkeypatch.setattr("headstart.registry.client.PATIENCE_S", 0.05)
    released, held = threading.Event(), threading.Event()

    def hold():
        with moves.exclusive(model):
            held.set()
            released.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    try:
        with pytest.raises(OutsideError, match=rf"registry-{model}\.lock"):
            registry.promote(model, number)
    finally:
        released.set()
        holder.join()


def test_the_note_of_a_move_is_one_tag_of_the_registered_model(model, version, monkeypatch):
    import mlflow

    number = version()
    with monkeypatch.context() as broken:
        broken.setattr(mlflow.MlflowClient, "set_registered_model_alias", lambda *arguments: die())
        with pytest.raises(KilledError):
            registry.promote(model, reason="of May")
    note = json.loads(mlflow.MlflowClient().get_registered_model(model).tags[moves.MOVING])
    assert (note["event"], note["before"], note["champion"], note["reason"]) == ("promoted", None, number, "of May")
