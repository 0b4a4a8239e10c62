"""The one table: fault -> cause -> family -> remedies. Monitors name causes from it, and remedies follow.

Remedies stand cheapest first; the first is the one to try. A cause that nothing names is `unknown_shift`.
"""

from dataclasses import dataclass
from typing import Literal

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

FAULTS = {
    "pixels_scaled_twice": "preprocessing_mismatch",
    "channels_swapped": "preprocessing_mismatch",
    "other_tokenizer": "preprocessing_mismatch",
    "texts_cut_upstream": "input_quality",
    "images_recompressed": "input_quality",
    "new_style_of_input": "covariate_shift",
    "new_camera": "batchnorm_drift",
    "class_tripled": "label_shift",
    "unseen_class_arrives": "new_class",
    "labels_redefined": "concept_drift",
    "labels_permuted": "model_artifact",
    "older_files_served": "model_artifact",
    "logits_inflated": "calibration_decay",
    "window_of_another_model": "monitor_fault",
}
