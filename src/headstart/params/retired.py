"""Keys of `params.yaml` that older versions read: what became of each.

Keys are dotted, below a model's entry or one of the `defaults`. The loader refuses a file that still has one, with the
sentence given here; `headstart migrate` takes it out, or moves its value to the new key.
"""

REMOVED: dict[str, str] = {
    "prepare.checks.examples_per_class": "classes with fewer than 8 training rows are named",
    "prepare.checks.imbalance": "more than 50 rows of the largest class for each of the smallest are named",
    "prepare.checks.level": "a check speaks up on sound data once in a thousand times",
    "prepare.checks.seed": "which rows are compared no longer depends on a seed of yours",
    "prepare.checks.similarity": "texts are nearly equal from 80% of their shingles on, images from 61 of 64 bits",
    "prepare.checks.truncated_share": "more than 5% of texts that lose their end are named",
    "plan.choice.mended": "nothing reads it any more",
    "plan.choice.mended_at_most": "nothing reads it any more",
}
RENAMED: dict[str, str] = {}  # old key -> new key


def sentence(key: str) -> str | None:
    """What became of a key, given with its layer (`models.NAME.` or `defaults.all.`); None: it was never read."""
    _, _, below = key.partition(".")[2].partition(".")
    if below in RENAMED:
        return f"{key}: is called {RENAMED[below]} now"
    return f"{key}: is no longer used: {REMOVED[below]}" if below in REMOVED else None
