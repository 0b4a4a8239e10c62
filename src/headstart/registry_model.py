"""The script MLflow ships inside a registered model: models:/NAME@champion answers through it, anywhere.

It runs in environments that have MLflow and the model's own requirements, not this repository: the package's source
travels with the model as code. Input: a column `text` (strings) or `image` (encoded bytes, or the same in base64).
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from headstart.errors import ContractError
from headstart.predictor import Predictor


class BundleModel(mlflow.pyfunc.PythonModel):
    """A bundle behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        self.predictor = Predictor.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A row an input: `label`, `probability` of it, and `probabilities` in the order of the contract's labels."""
        column = self.predictor.contract.modality
        raw = list(model_input[column])
        if column == "image":
            raw = [_bytes(value, index) for index, value in enumerate(raw)]
        answers = self.predictor.predict(raw)
        return pd.DataFrame(
            {
                "label": [answer.label for answer in answers],
                "probability": [answer.probability for answer in answers],
                "probabilities": [list(answer.probabilities) for answer in answers],
            }
        )


def _bytes(value: Any, index: int) -> bytes:
    if not isinstance(value, str):
        return bytes(value)
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ContractError(
            f"image {index} is a string that is not base64: {error}.",
            index=index,
            action="Send the encoded file's bytes, or those bytes in base64.",
        ) from error


mlflow.models.set_model(BundleModel())
