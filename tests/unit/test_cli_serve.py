"""`headstart serve` where nothing can be served says what became of each model."""

import pytest

from headstart.cli.serve import _features_kept, _require_one
from headstart.errors import UsageError
from tests.unit.test_journal_writer import params


def resolve(name):
    if name == "topics":
        return 3
    raise UsageError(f"{name} has no champion; the gates of version 2, its newest, said unsure.", action="Promote it.")


def test_what_became_of_each_model_is_said():
    with pytest.raises(UsageError) as refusal:
        _require_one(["bars", "dots"], resolve)
    assert refusal.value.message == (
        "nothing can be served: bars has no champion; the gates of version 2, its newest, said unsure. "
        "dots has no champion; the gates of version 2, its newest, said unsure."
    )
    assert refusal.value.action == "Promote it. Promote it."


def test_one_champion_is_enough():
    assert _require_one(["bars", "topics"], resolve) is None


def test_features_that_are_kept_where_raw_inputs_are_not_are_said_once_for_all_models():
    assert _features_kept(
        {"bars": params(features=1000), "dots": params(features=1000), "topics": params(features=True, raw_days=1)}
    ) == [
        "features of up to 1,000 answers an hour are kept for 30 days (bars, dots); journal.features: 0 keeps none",
        "features of all answers are kept for 1 day (topics); journal.features: 0 keeps none",
    ]


@pytest.mark.parametrize("changed", [{"features": 0}, {"features": 1000, "raw": "sampled"}])
def test_nothing_is_said_where_no_features_or_raw_inputs_too_are_kept(changed):
    assert _features_kept({"bars": params(**changed)}) == []
