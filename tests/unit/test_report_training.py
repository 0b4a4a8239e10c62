"""What a person should know of how training went, in words."""

import pytest

from headstart.report import training

BROKEN = {"code": "loss_not_finite", "of": "training", "step": 12}
DIVERGING = {
    "code": "diverging",
    "examples": 128,
    "step": 25,
    "accuracy": 0.5,
    "start": 0.85,
    "fixed": 3,
    "regressed": 48,
}
PASSED = {"code": "all_epochs", "epochs": 3, "tokens": 9000, "budget": 20_000}
LOSSES = {"before": {"value": 4.0, "low": 3.9, "high": 4.1}, "after": {"value": 3.5, "low": 3.4, "high": 3.6}}


@pytest.mark.parametrize(
    ("coded", "told"),
    [
        (BROKEN, "the training loss at step 12 is not a number"),
        (DIVERGING, "of 128 validation examples 50.0% were right at step 25, 85.0% before the first; 48 were newly"),
        ({"code": "stopped_again", "step": 12, "reason": BROKEN}, "The second try was stopped too: Training broke"),
        (
            {"code": "stopped_early", "epoch": 2, "step": 12, "reason": BROKEN},
            "number. The weights of epoch 2 are kept.",
        ),
        ({"code": "batch_in_pieces", "batch": 16, "pieces": 4}, "A batch of 16 did not fit into memory"),
        ({"code": "adapted_to_images", "norms": 9, "images": 64, "moved": 0.5}, "9 BatchNorms were re-estimated"),
        (
            {"code": "adapting_changed_nothing", "stopped": {"code": "patience", "epochs": 2}},
            "not fallen for 2 epochs.",
        ),
        (
            {"code": "adapted_to_texts", "tokens": 9000, "texts": 99, "new_head": True, **LOSSES, "stopped": PASSED},
            "read 9,000 tokens of 99 texts without labels; its head was made here; the loss on texts held out went "
            "from 4.000 to 3.500 [3.400, 3.600]. All 3 epochs have passed: 9,000 tokens, of 20,000",
        ),
    ],
)
def test_every_note_has_a_sentence(coded, told):
    assert told in training.note(coded)


def test_every_reason_to_stop_adapting_has_a_sentence():
    numbers = {"epochs": 2, "tokens": 1, "budget": 2, "round": 1}
    for code in training.STOPPED:
        told = training.note({"code": "adapting_changed_nothing", "stopped": {"code": code, **numbers}})
        assert "{" not in told and told.endswith(".")


def test_runs_that_were_given_up_come_first():
    found = training.notes({"attempts": [{"step": 25, "reason": DIVERGING}], "notes": [BROKEN]})
    assert [text.split(":")[0] for text in found] == ["Training was diverging", "Training broke"]
