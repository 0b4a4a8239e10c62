"""What happened in training that a person should know, in words: stopped and repeated runs, cut batches, adaptation.

`history.json` holds codes and numbers; sentences are made here. Histories of format 2 and 1 brought sentences.
"""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

NOTES = {
    "diverging": "Training was diverging: of {examples} validation examples {accuracy:.1%} were right at step {step}, "
    "{start:.1%} before the first; {regressed} were newly wrong and {fixed} newly right. Rates that suit a new head "
    "are too high for pretrained layers.",
    "loss_not_finite": "Training broke: the {of} loss at step {step} is not a number.",
    "stopped_early": "{reason} The weights of epoch {epoch} are kept.",
    "stopped_again": "The second try was stopped too: {reason}",
    "batch_in_pieces": "A batch of {batch} did not fit into memory: its gradients were computed in {pieces} pieces and "
    "added up, so each step still learns from {batch} examples.",
    "adapted_to_texts": "The backbone read {tokens:,} tokens of {texts:,} texts without labels{head}; the loss on "
    "texts held out went from {before[value]:.3f} to {after[value]:.3f} [{after[low]:.3f}, {after[high]:.3f}]. "
    "{stopped}",
    "adapting_changed_nothing": "Adapting changed nothing: no epoch lowered the loss on texts held out. {stopped}",
    "adapted_to_images": "The statistics of {norms} BatchNorms were re-estimated from {images} images; their means "
    "moved by {moved:.2f} standard deviations.",
}
STOPPED = {
    "start_not_finite": "The held-out loss of the backbone as it came is not a number; nothing was learned.",
    "all_epochs": "All {epochs} epochs have passed: {tokens:,} tokens, of {budget:,} that adapt.budget allows.",
    "patience": "Held-out loss has not fallen for {epochs} epochs.",
    "loss_not_finite": "A loss was not a number in round {round}; the best state before it is kept.",
}
"""Why adaptation ended."""


def note(coded: Document | str) -> str:
    """The sentence that a code and its numbers stand for; one that is a sentence already is left as it is."""
    if isinstance(coded, str):
        return coded
    numbers: dict[str, Any] = {"head": "; its head was made here" if coded.get("new_head") else "", **coded}
    if "reason" in coded:
        numbers["reason"] = note(coded["reason"])
    if "stopped" in coded:
        numbers["stopped"] = STOPPED[coded["stopped"]["code"]].format(**coded["stopped"])
    return NOTES[coded["code"]].format(**numbers)


def notes(training: Document) -> list[str]:
    """Why runs were given up, then what else happened."""
    return [
        *(note(attempt["reason"]) for attempt in training.get("attempts") or []),
        *(note(one) for one in training.get("notes") or []),
    ]
