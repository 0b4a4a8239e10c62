"""A candidate behind a real server, before anybody depends on it: does it answer as the bundle itself does?

    raw ─ Predictor ──────────────────────────────► label, probabilities
    raw ─ JSON ─ HTTP ─ queue ─ batch ─ worker ───► label, probabilities

What travels over HTTP is read, batched and answered by other code than what evaluation uses.
"""

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headstart import settings
from headstart.contract.spec import ImageSpec, TextSpec
from headstart.errors import ContractError, OutsideError
from headstart.faults import corpus
from headstart.journal.writer import Journal
from headstart.params.workspace import Model
from headstart.predictor import Prediction, Predictor
from headstart.serving import server
from headstart.serving.models import LoadedModel

FORMAT = 1
TOGETHER = 8  # inputs a request
MOST = 500  # inputs of the test split: seconds


def rehearse(name: str, bundle: Path, test: Sequence[Any], params: Model) -> dict[str, Any]:
    """Ask a sealed bundle over HTTP and directly: hard inputs, and the first `MOST` of the test split.

    Args:
        name: of the model.
        bundle: its folder.
        test: raw inputs.
        params: of the model; `gates.replay_difference` is allowed of one probability.

    Returns:
        {`format`, `inputs`, `refused`, how many both refuse, `max_difference` of one probability, `label_flips`,
        `wrong` [{`name`, `served`, `expected`}]}: each input whose label, refusal or probabilities are others.

    Raises:
        BundleError: if the bundle does not give its golden answers.
        OutsideError: if the server does not answer.
    """
    predictor = Predictor.load(bundle)
    allowed = params.gates.replay_difference
    inputs = {**_hard(predictor.contract.input), **{f"test row {row}": raw for row, raw in enumerate(test[:MOST])}}
    expected = {key: _direct(predictor, raw) for key, raw in inputs.items()}
    model = LoadedModel.open(name, 0, bundle, difference_allowed=allowed)
    with tempfile.TemporaryDirectory() as temporary:
        kept = Journal(Path(temporary), params.journal, clock=settings.now)
        with server.in_background(model, params.serve, kept, clock=settings.now) as (url, _):
            answers = ask(url, name, list(inputs.values()))
    wrong, largest, flips, refused = [], 0.0, 0, 0
    for (key, own), served in zip(expected.items(), answers, strict=True):
        label = served.get("label")
        if own is None or label is None:
            refused += own is None and label is None
            same = own is None and label is None
        else:
            pairs = zip(own.probabilities, served["probabilities"], strict=True)
            difference = max(abs(ours - theirs) for ours, theirs in pairs)
            largest = max(largest, difference)
            flips += label != own.label
            same = label == own.label and difference <= allowed
        if not same:
            wrong.append({"name": key, "served": label, "expected": own.label if own else None})
    return {
        "format": FORMAT,
        "inputs": len(expected),
        "refused": refused,
        "max_difference": largest,
        "label_flips": flips,
        "wrong": wrong,
    }


def ask(url: str, name: str, inputs: Sequence[Any], *, client: str | None = None) -> list[dict[str, Any]]:
    """The server's answers to raw inputs, in order: {`label`, `probability`, `probabilities`} or {`error`}.

    Raises:
        OutsideError: if it refuses a whole request.
    """
    connection = HTTPConnection(urlsplit(url).netloc)
    answers: list[dict[str, Any]] = []
    try:
        for first in range(0, len(inputs), TOGETHER):
            raw = inputs[first : first + TOGETHER]
            sent = [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in raw]
            body = json.dumps({"inputs": sent} | ({"client": client} if client else {}))
            connection.request("POST", f"/predict/{name}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            document = json.loads(response.read())
            if "predictions" not in document:
                raise OutsideError(f"the server answered {response.status}: {document.get('error', document)}.")
            answers += document["predictions"]
    finally:
        connection.close()
    return answers


def _hard(form: TextSpec | ImageSpec) -> Mapping[str, Any]:
    """The corpus, without the texts that JSON cannot carry: halves of surrogate pairs."""
    if isinstance(form, ImageSpec):
        return corpus.pictures()
    texts = corpus.texts(form.max_characters)
    return {name: text for name, text in texts.items() if text.encode("utf-8", "ignore").decode() == text}


def _direct(predictor: Predictor, raw: Any) -> Prediction | None:
    """The bundle's own answer; None where its contract refuses the input."""
    try:
        return predictor.predict([raw])[0]
    except ContractError:
        return None
