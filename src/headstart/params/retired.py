"""Keys of `params.yaml` that older versions read: what became of each.

Keys are dotted, below a model's entry or one of the `defaults`. The loader refuses a file that still has one, with the
sentence given here; `headstart migrate` takes it out, or moves its value to the new key.
"""

EXACT = "an exported file answers as its network or not at all; what it may differ by is no matter of taste"
FIXED = "nobody had a reason to turn it"
REMOVED: dict[str, str] = {
    "prepare.checks.examples_per_class": "classes with fewer than 8 training rows are named",
    "prepare.checks.imbalance": "more than 50 rows of the largest class for each of the smallest are named",
    "prepare.checks.level": "a check speaks up on sound data once in a thousand times",
    "prepare.checks.seed": "which rows are compared no longer depends on a seed of yours",
    "prepare.checks.similarity": "texts are nearly equal from 80% of their shingles on, images from 61 of 64 bits",
    "prepare.checks.truncated_share": "more than 5% of texts that lose their end are named",
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
REMOVED |= {
    f"{stage}{key}": reason  # sections of training may also stand under a stage
    for stage in ("", "plan.", "train.")
    for key, reason in {
        "fine_tune.schedule": "rates always fall linearly",
        "fine_tune.warmup": "rates rise over the first tenth of the steps",
        "fine_tune.weight_decay": "it is 0.01",
        "fine_tune.clip_norm": "it is 1",
        "fine_tune.label_smoothing": "answers are calibrated by temperature scaling instead",
        "fine_tune.averaging": "the weights of the best epoch are kept, no average of epochs",
        "fine_tune.frozen_layers": "to train fewer parameters choose lora, to hold lower layers back lower layer_decay",
        "fine_tune.unfreezing": "training starts from the probe, and layer_decay holds lower layers back",
        "fine_tune.deadline_minutes": "to bound time, lower epochs; a killed run resumes",
        "fine_tune.guard": "its thresholds are constants; a run that diverges is still stopped and retried",
        "lora.scale": "updates are multiplied by 2",
        "lora.dropout": "low-rank updates have no dropout",
    }.items()
}
REMOVED |= {
    f"adapt.{key}": f"it is {value}"
    for key, value in {
        "batch_size": "16",
        "head_learning_rate": "0.001",
        "head_warmup": "0.2",
        "warmup": "0.1",
        "weight_decay": "0.01",
        "clip_norm": "1",
        "masked": "0.15",
        "patience": "2",
        "precision": "bfloat16 where the processor has it, else float32",
        "source_images": "16",
    }.items()
}
RENAMED: dict[str, str] = {  # old key -> new key
    "plan.choice.strategy": "plan.strategy",
    "plan.choice.layers": "plan.layers",
    "plan.choice.good_enough": "plan.good_enough",
    "evaluate.bootstrap.level": "evaluate.level",
}


def sentence(key: str) -> str | None:
    """What became of a key, given with its layer (`models.NAME.` or `defaults.all.`); None: it was never read."""
    _, _, below = key.partition(".")[2].partition(".")
    if below in RENAMED:
        return f"{key}: is called {RENAMED[below]} now"
    return f"{key}: is no longer used: {REMOVED[below]}" if below in REMOVED else None
