"""What things are called on the page: strategies, checks, baselines, layers and durations, for people."""

from collections.abc import Mapping
from typing import Any

LABELS = {  # of strategies in documents of older formats; newer ones carry them
    "linear_probe": "linear probe",
    "fine_tune": "fine-tuning",
    "adapt_then_fine_tune": "adaptation, then fine-tuning",
    "lora": "low-rank adapters (LoRA)",
    "scratch": "training from scratch",
}

MEANINGS = {
    "linear_probe": "The pretrained network stays as it is; only a new last layer is learned on its features.",
    "fine_tune": "A new last layer is learned first; then all layers go on learning, the lower the more slowly.",
    "adapt_then_fine_tune": "Pretraining goes on with unlabelled examples of this domain, then all layers learn.",
    "lora": "The pretrained network stays as it is; small matrices beside its layers are learned and merged into them.",
    "scratch": "Nothing is transferred: the network starts from random weights.",
}

CHECKS = {
    "accuracy": "It is right often enough",
    "macro_f1": "It serves every class, rare ones too",
    "calibration_error": "Its confidence can be believed",
    "log_loss": "Its confidence is better than guessing",
    "class_recall": "No class is always missed",
    "lost_classes": "No class of what is live is lost",
    "baseline": "It beats something simple",
    "parity": "The exported file answers as the trained network did",
    "preprocessing": "Inputs that are hard to read come out as the contract says",
    "batchnorm": "Normalisation statistics are as they should be",
    "replay": "The sealed bundle repeats its known answers",
    "champion": "It is no worse than what is live",
    "diverged": "Training stayed on course",
    "above_majority": "It learned more than the commonest class",
    "nonfinite": "No number broke during training",
    "contract_agreement": "Inputs are prepared as the backbone expects",
    "batching": "Its features do not depend on the rest of a batch",
    "token_limit": "The backbone reads texts as long as params.yaml asks",
    "processor": "The backbone says how to prepare inputs",
    "weights": "All weights of the file belong to the backbone",
    "layers": "The backbone’s layers are known",
    "pretraining": "Pretraining taught the backbone something",
    "ids": "Every row has an id of its own",
    "files": "Every file of the source was read",
    "labels": "Labels are spelled in one way",
    "payloads": "Every row can be read",
    "groups": "Groups stay on one side",
    "leak": "Test rows stand nowhere else",
    "duplicates": "No example stands twice",
    "label_conflicts": "Equal examples have equal labels",
    "untrained_labels": "Every label can be learned",
    "rare_labels": "Every class has enough training examples",
    "unjudged_classes": "Every class can be judged",
}

MONITORS = {
    "predicted_classes": "Predicted classes",
    "confidence": "Confidence",
    "input_range": "Range of the inputs",
    "quality": "Accuracy on labelled answers",
    "unknown_labels": "Labels that are none of its classes",
    "batchnorm_drift": "Inputs of its BatchNorm layers",
    "layer_drift": "Inputs of its first and last block",
    "refusals": "Refused inputs",
    "repeated_inputs": "Repeated inputs",
    "bundle": "Files that answered",
    "reference": "Reference to compare with",
    "window": "Size of the window",
    "monitor": "The look itself",
}

ASIDE = {
    "payloads": "cannot be read",
    "leak": "stand in another split, too",
    "duplicates": "stand twice in one split",
    "label_conflicts": "equal, but labelled differently",
    "untrained_labels": "of a class without training examples",
}

BASELINES = {
    "majority": "commonest class",
    "words_svm": "word counts",
    "characters_svm": "pieces of words",
    "pixels_logistic": "raw pixels",
    "gradients_logistic": "directions of edges",
    "tfidf_logistic": "word counts",  # evaluations of format 1
}

VERDICTS = {"pass": "passed", "fail": "failed", "unsure": "unsure"}


def title(check: str) -> str:
    """A gate's name as a claim that may be false, a monitor's as what it looks at; unknown ones keep their name."""
    if known := CHECKS.get(check) or MONITORS.get(check):
        return known
    kind, _, name = check.partition("/")
    words = check.replace("_", " ").replace("/", ": ")
    return f"Inputs’ {name.replace('_', ' ')}" if kind == "property" and name else words


def urgency(finding: Mapping[str, Any]) -> tuple[int, bool]:
    """What to sort findings by: those that fail first, then the unsure ones, a leak before all others of its kind."""
    return {"fail": 0, "unsure": 1, "pass": 2}[finding["verdict"]], finding["check"] != "leak"


def layer(name: str) -> str:
    """A layer's name for people: `encoder.stages.0.layers.1` is `stage 0, layer 1`."""
    parts: list[str] = []
    for token in name.split("."):
        if token.isdigit() and parts:
            parts[-1] = f"{parts[-1].removesuffix('s')} {token}"
        else:
            parts.append(token)
    return ", ".join(parts[1:] if len(parts) > 1 and parts[0] == "encoder" else parts)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
