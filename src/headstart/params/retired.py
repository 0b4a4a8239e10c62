"""Keys of `params.yaml` that older versions read: what became of each.

Keys are dotted, below a model's entry or one of the `defaults`. The loader refuses a file that still has one, with the
sentence given here; `headstart migrate` takes it out, or moves its value to the new key.
"""

REMOVED: dict[str, str] = {
    "plan.choice.target": "how many labels an accuracy takes is not forecast; what half of them brought is measured",
    "plan.choice.examples_per_class": "layers are trained from 4 labels a class on",
    "plan.choice.budget": "work is counted in another unit: plan.budget has a value of its own",
    "plan.choice.folds": "probe.folds says it",
    "plan.choice.layer_examples": "it is a constant, 600",
    "plan.choice.interval": "it is a constant, 0.95",
    "plan.choice": "what is left of it stands under plan: strategy, layers, good_enough",
    "plan.race": "training tries every shortlisted strategy on all of train",
    "plan.few_labels": "`headstart compare` trains from scratch, on all labels",
    "forgetting.worth": "it is a constant, 0.005",
    "forgetting.examples": "it is a constant, 300",
    "forgetting.alphas": "they are constants: 0.75, 0.5 and 0.25",
    "forgetting.pull": "it is a constant, 1",
    "forgetting.layer_decay": "training again with a stronger decay is gone",
    "forgetting.level": "it is a constant, 0.95",
}
RENAMED: dict[str, str] = {  # old key -> new key
    "plan.choice.strategy": "plan.strategy",
    "plan.choice.layers": "plan.layers",
    "plan.choice.good_enough": "plan.good_enough",
}


def sentence(key: str) -> str | None:
    """What became of a key, given with its layer (`models.NAME.` or `defaults.all.`); None: it was never read."""
    _, _, below = key.partition(".")[2].partition(".")
    if below in RENAMED:
        return f"{key}: is called {RENAMED[below]} now"
    return f"{key}: is no longer used: {REMOVED[below]}" if below in REMOVED else None
