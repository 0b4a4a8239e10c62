"""Keys of `params.yaml` that older versions read: what became of each.

Keys are dotted, below a model's entry or one of the `defaults`. The loader refuses a file that still has one, with the
sentence given here; `headstart migrate` takes it out, or moves its value to the new key.
"""

EXACT = "an exported file answers as its network or not at all; what it may differ by is no matter of taste"
FIXED = "nobody had a reason to turn it"
REMOVED: dict[str, str] = {
    "plan.choice.mended": "nothing reads it any more",
    "plan.choice.mended_at_most": "nothing reads it any more",
    "screen.above_majority": "a candidate has to beat always answering the commonest class, by any margin",
    "export.opset": FIXED,
    "export.parity_examples": FIXED,
    "evaluate.bins": FIXED,
    "evaluate.bootstrap.resamples": FIXED,
    "evaluate.bootstrap.seed": FIXED,
    "evaluate.baseline_iterations": FIXED,
    "evaluate.baseline_strength": "the baseline's strength is chosen on validation",
    "seal.golden": FIXED,
    "seal.seed": FIXED,
    "gates.logit_difference": EXACT,
    "gates.label_flips": EXACT,
    "gates.replay_difference": EXACT,
    "gates.bootstrap.resamples": FIXED,
    "gates.bootstrap.level": FIXED,
    "gates.bootstrap.seed": FIXED,
}
RENAMED: dict[str, str] = {"evaluate.bootstrap.level": "evaluate.level"}  # old key -> new key


def sentence(key: str) -> str | None:
    """What became of a key, given with its layer (`models.NAME.` or `defaults.all.`); None: it was never read."""
    _, _, below = key.partition(".")[2].partition(".")
    if below in RENAMED:
        return f"{key}: is called {RENAMED[below]} now"
    return f"{key}: is no longer used: {REMOVED[below]}" if below in REMOVED else None
