"""Keys of `params.yaml` that older versions read: what became of each.

Keys are dotted, below a model's entry or one of the `defaults`. The loader refuses a file that still has one, with the
sentence given here; `headstart migrate` takes it out, or moves its value to the new key.
"""

REMOVED: dict[str, str] = {
    "plan.choice.mended": "nothing reads it any more",
    "plan.choice.mended_at_most": "nothing reads it any more",
    "screen.above_majority": "a candidate has to beat always answering the commonest class, by any margin",
}
RENAMED: dict[str, str] = {}  # old key -> new key


def sentence(key: str) -> str | None:
    """What became of a key, given with its layer (`models.NAME.` or `defaults.all.`); None: it was never read."""
    _, _, below = key.partition(".")[2].partition(".")
    if below in RENAMED:
        return f"{key}: is called {RENAMED[below]} now"
    return f"{key}: is no longer used: {REMOVED[below]}" if below in REMOVED else None
