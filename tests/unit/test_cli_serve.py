"""`headstart serve` where nothing can be served says what became of each model."""

import pytest

from headstart.cli.serve import _require_one
from headstart.errors import UsageError


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
    _require_one(["bars", "topics"], resolve)
