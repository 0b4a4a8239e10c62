"""The one table: fault -> cause -> family -> remedies, and what plants each fault.

Monitors name causes from it and remedies follow; gates, monitors, drills and tests plant the same faults.

Remedies stand cheapest first; the first is the one to try. A cause that nothing names is `unknown_shift`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from headstart.faults import bundles, checkpoints, exports, images, samples, texts

Family = Literal["contract", "world", "model", "watch", "unknown", "none"]

REMEDIES = (
    "none",
    "fix_client",
    "rollback",
    "correct_prior",
    "recalibrate_confidence",
    "recalibrate_batchnorm",
    "refit_head",
    "fine_tune",
    "adapt_and_fine_tune",
    "collect_labels",
)
UNTRAINED = frozenset({"none", "fix_client", "rollback"})  # remedies that no training carries out
CARRIED_OUT = (
    "correct_prior",
    "recalibrate_batchnorm",
)  # by `headstart remedy NAME REMEDY`: `monitoring.remedies.CURES`


@dataclass(frozen=True)
class Cause:
    """Why a window differs.

    Attributes:
        name: as the design names it.
        family: who has to act: `contract` the client, `world` the model's owner, `model` the release, `watch` us.
        remedies: cheapest first.
        meaning: one clause for people, to stand after "because".
    """

    name: str
    family: Family
    remedies: tuple[str, ...]
    meaning: str

    @property
    def remedy(self) -> str:
        """The cheapest one."""
        return self.remedies[0]


CAUSES = {
    cause.name: cause
    for cause in (
        Cause("none", "none", ("none",), "nothing changed"),
        Cause(
            "preprocessing_mismatch",
            "contract",
            ("fix_client", "rollback"),
            "inputs are prepared differently from what the model was trained on",
        ),
        Cause("input_quality", "contract", ("fix_client",), "inputs arrive damaged, empty or cut"),
        Cause(
            "covariate_shift",
            "world",
            ("fine_tune", "adapt_and_fine_tune", "collect_labels"),
            "inputs look different while their classes keep their shares",
        ),
        Cause(
            "batchnorm_drift",
            "world",
            ("recalibrate_batchnorm", "adapt_and_fine_tune"),
            "layer statistics no longer fit the inputs",
        ),
        Cause(
            "label_shift",
            "world",
            ("correct_prior", "refit_head"),
            "classes come in other shares while each looks as before",
        ),
        Cause("new_class", "world", ("collect_labels",), "inputs of a class arrive that the model does not know"),
        Cause(
            "concept_drift",
            "world",
            ("refit_head", "fine_tune", "collect_labels"),
            "the same input means another label",
        ),
        Cause("model_artifact", "model", ("rollback",), "the deployed files are not those that passed the gates"),
        Cause(
            "calibration_decay",
            "model",
            ("recalibrate_confidence",),
            "probabilities no longer match how often the model is right",
        ),
        Cause("monitor_fault", "watch", ("none",), "the window or its reference is wrong, not the model"),
        Cause(
            "unknown_shift",
            "unknown",
            ("collect_labels",),
            "something changed that the evidence does not let us name",
        ),
    )
}


@dataclass(frozen=True)
class Fault:
    """One way in which things break, with what plants it.

    Attributes:
        name: a noun or participle, unique.
        cause: what a monitor has to call it.
        target: what is changed: a `text` or an `image` on its way in, a `stream` of examples, the deployed `bundle`, a
            network's `checkpoint`, or the folder of an `export`.
        meaning: a clause for people, to stand after "it looks as if".
        inject: plants it; its arguments depend on `target`, see the module it comes from.
        gate: the gate that blocks it before deployment; None where only production shows it.
    """

    name: str
    cause: str
    target: Literal["text", "image", "stream", "bundle", "checkpoint", "export"]
    meaning: str
    inject: Callable[..., Any]
    gate: str | None = None


FAULTS = {
    fault.name: fault
    for fault in (
        # images on their way in: inject(picture, severity, generator) -> picture
        Fault(
            "channels_swapped", "preprocessing_mismatch", "image", "red and blue are swapped", images.channels_swapped
        ),
        Fault("inverted", "preprocessing_mismatch", "image", "light and dark are exchanged", images.inverted),
        Fault(
            "scaled_twice", "preprocessing_mismatch", "image", "levels were divided by 255 twice", images.scaled_twice
        ),
        Fault("turned", "preprocessing_mismatch", "image", "pictures are turned by 90 degrees", images.turned),
        Fault("colourless", "preprocessing_mismatch", "image", "colour was removed", images.colourless),
        Fault(
            "shrunk_by_nearest",
            "preprocessing_mismatch",
            "image",
            "pictures were resized without antialiasing",
            images.shrunk_by_nearest,
        ),
        Fault(
            "thumbnailed", "input_quality", "image", "pictures were made smaller and larger again", images.thumbnailed
        ),
        Fault("recompressed", "input_quality", "image", "pictures were compressed strongly", images.recompressed),
        Fault("darkened", "batchnorm_drift", "image", "there is less light", images.darkened),
        Fault("brightened", "batchnorm_drift", "image", "there is more light", images.brightened),
        Fault("flattened", "batchnorm_drift", "image", "there is less contrast", images.flattened),
        Fault("blurred", "batchnorm_drift", "image", "pictures are out of focus", images.blurred),
        Fault("noisy", "batchnorm_drift", "image", "pictures are noisy", images.noisy),
        # texts on their way in: inject(text, severity, generator) -> text
        Fault("lower_cased", "preprocessing_mismatch", "text", "capitals were removed", texts.lower_cased),
        Fault("upper_cased", "preprocessing_mismatch", "text", "everything is in capitals", texts.upper_cased),
        Fault(
            "punctuation_removed",
            "preprocessing_mismatch",
            "text",
            "punctuation was removed",
            texts.punctuation_removed,
        ),
        Fault("html_escaped", "preprocessing_mismatch", "text", "texts are still HTML", texts.html_escaped),
        Fault("mojibake", "input_quality", "text", "texts were decoded with another encoding", texts.mojibake),
        Fault("spaces_removed", "input_quality", "text", "spaces between words are missing", texts.spaces_removed),
        Fault("cut", "input_quality", "text", "texts are cut after a few words", texts.cut),
        Fault("mistyped", "covariate_shift", "text", "texts are full of typing errors", texts.mistyped),
        Fault("misread", "covariate_shift", "text", "texts come from text recognition", texts.misread),
        # streams: inject(labels, n, generator) -> rows
        Fault(
            "class_tripled", "label_shift", "stream", "a class comes three times as often", samples.one_class_tripled
        ),
        Fault("class_shares_drawn", "label_shift", "stream", "classes come in other shares", samples.dirichlet),
        Fault("inputs_repeated", "input_quality", "stream", "the same inputs come again and again", samples.repeated),
        # the deployed files: inject(folder, ...) -> None
        Fault(
            "labels_permuted",
            "model_artifact",
            "bundle",
            "labels stand in another order",
            bundles.labels_permuted,
            "replay",
        ),
        Fault(
            "other_files_served",
            "model_artifact",
            "bundle",
            "another model's files are served",
            bundles.replaced_by,
            "replay",
        ),
        Fault("file_altered", "model_artifact", "bundle", "a file was altered", bundles.file_altered, "replay"),
        Fault(
            "logits_inflated",
            "calibration_decay",
            "bundle",
            "answers are surer than they are right",
            bundles.logits_inflated,
        ),
        # a network's checkpoint: inject(path, ...) -> None
        Fault(
            "statistics_moved",
            "batchnorm_drift",
            "checkpoint",
            "BatchNorm statistics moved while layers were frozen",
            checkpoints.statistics_moved,
            "batchnorm",
        ),
        Fault(
            "statistics_lost",
            "batchnorm_drift",
            "checkpoint",
            "BatchNorm statistics were lost",
            checkpoints.statistics_lost,
            "batchnorm",
        ),
        Fault(
            "last_batch_kept",
            "batchnorm_drift",
            "checkpoint",
            "BatchNorm statistics are those of one small batch",
            checkpoints.last_batch_kept,
            "batchnorm",
        ),
        Fault(
            "last_image_kept",
            "batchnorm_drift",
            "checkpoint",
            "the last batch that BatchNorm statistics saw was one image",
            checkpoints.last_image_kept,
            "batchnorm",
        ),
        Fault(
            "momentum_misread",
            "batchnorm_drift",
            "checkpoint",
            "BatchNorm statistics have TensorFlow's momentum",
            checkpoints.momentum_misread,
            "batchnorm",
        ),
        # what the stage `export` wrote: inject(folder) -> None
        Fault(
            "training_mode",
            "model_artifact",
            "export",
            "the network was exported in training mode",
            exports.training_mode,
            "batchnorm",
        ),
    )
}
"""Every fault that headstart knows to plant. A class that is new to the model and labels that changed their meaning
need no injector: they are made by leaving a class out of training, and by exchanging labels."""
