"""How training chose: the table of its candidates on validation, the one it kept, and why.

`history.json` holds codes and numbers; sentences are made here.
"""

from collections.abc import Mapping
from typing import Any

from headstart.report.vocabulary import duration

Document = Mapping[str, Any]

OUTCOMES = {
    "trained": "",
    "nonfinite": "its losses were not finite",
    "diverged": "it diverged",
}


def kept(history: Document) -> Document:
    """The kept candidate's entry."""
    return next(one for one in history["candidates"] if one["strategy"] == history["kept"])


def others(history: Document) -> list[Document]:
    """Entries of the candidates that were not kept."""
    return [one for one in history["candidates"] if one["strategy"] != history["kept"]]


def label(history: Document, strategy: str) -> str:
    """What people call a strategy of this history."""
    return next((str(one["label"]) for one in history["candidates"] if one["strategy"] == strategy), strategy)


def rows(history: Document, seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """The table of candidates, the cheapest first.

    Args:
        history: what training wrote.
        seconds: what training each took here.
    """
    return [
        {
            "label": one["label"],
            "name": one["strategy"],
            "accuracy": one["validation"]["accuracy"],
            "macro_f1": one["validation"].get("macro_f1"),
            "loss": one["validation"]["loss"],
            "work": one.get("work"),
            "seconds": duration(seconds[one["strategy"]]) if one["strategy"] in seconds else "",
            "kept": one["strategy"] == history["kept"],
            "note": OUTCOMES.get(one["outcome"], one["outcome"]),
        }
        for one in history["candidates"]
    ]


def reason(history: Document) -> str:
    """Why that candidate was kept, in a sentence or two."""
    code, against = history["reason"]["code"], history["reason"].get("against")
    if code == "recorded":
        return str(history["reason"]["text"])
    own = kept(history)
    name, loss = own["label"], own["validation"]["loss"]
    other = next((one for one in history["candidates"] if one["strategy"] == against), None)
    if code == "others_failed":
        return f"Every other candidate failed in training, so {name} was kept."
    if code == "all_failed":
        return f"Every candidate failed in training; {name} is the first of them."
    if other is None:
        return f"{_capital(name)} was the only candidate."
    rival = other["label"]
    if code == "better_than_mitigated":
        return (
            f"{_capital(rival)} was better, but it forgot more of the backbone's own domain than forgetting.budget "
            f"allows; with that mitigated, {name} is better on validation."
        )
    if code == "significantly_better":
        apart = other["difference"]
        return (
            f"Of {apart['n']} validation examples {name} gets {apart['fixed']} right that {rival} gets wrong, and "
            f"{apart['regressed']} wrong that {rival} gets right: significantly better."
        )
    losses = f"{loss:.3f}, {rival} {other['validation']['loss']:.3f}"
    if code == "lower_balanced_loss":
        return f"With all classes weighing the same, its validation loss is the lowest ({losses})."
    return f"No other candidate is significantly more accurate on validation, and its loss is the lowest ({losses})."


def expectation(history: Document) -> str:
    """The accuracy to expect, as validation says it; empty where it has no interval."""
    accuracy = kept(history)["validation"]["accuracy"]
    if accuracy.get("low") is None:
        return ""
    value, low, high = (100 * accuracy[end] for end in ("value", "low", "high"))
    return (
        f"Validation says {value:.1f}% ({low:.1f} to {high:.1f}) are right; the same examples chose this candidate, "
        "which flatters it a little."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
