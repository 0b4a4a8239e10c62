"""A candidate behind a real server, before anybody depends on it: does it answer as the bundle itself does?

    raw ─ Predictor ──────────────────────────────► label, probabilities
    raw ─ JSON ─ HTTP ─ queue ─ batch ─ worker ───► label, probabilities

What travels over HTTP is read, batched and answered by other code than what evaluation uses.
"""

import base64
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headstart import settings
from headstart.contract.spec import ImageSpec, TextSpec
from headstart.errors import BundleError, ContractError, OutsideError
from headstart.evaluation.gates import replay
from headstart.faults import corpus
from headstart.journal.writer import Journal
from headstart.params.operation import Serve
from headstart.params.workspace import Model
from headstart.predictor import Prediction, Predictor
from headstart.serving import server
from headstart.serving.models import LoadedModel

FORMAT = 1
TOGETHER = 8  # inputs a request, where they fit
ENVELOPE = 1_000  # bytes of a body that are not inputs
PATIENCE_S = 30.0  # beyond the server's own limit
MOST = 500  # inputs of the test split: seconds


def rehearse(name: str, bundle: Path, test: Sequence[Any], params: Model) -> dict[str, Any]:
    """Ask a sealed bundle over HTTP and directly: hard inputs, and the first `MOST` of the test split.

    Args:
        name: of the model.
        bundle: its folder.
        test: raw inputs.
        params: of the model.

    Returns:
        {`format`, `inputs`, `refused`, how many both refuse, `too_large` for one request of `serve.megabytes`,
        `max_difference` of one probability, `label_flips`, `wrong` [{`name`, `served`, `expected`}], each input whose
        label, refusal or probabilities are others, `error`}. Where the bundle does not give its golden answers no
        server takes it: `inputs` is 0, and `error` says so.

    Raises:
        BundleError: if the bundle is incomplete or altered.
        OutsideError: if the server does not answer.
    """
    predictor = Predictor.load(bundle)
    every = {**_hard(predictor.contract.input), **{f"test row {row}": raw for row, raw in enumerate(test[:MOST])}}
    inputs = {key: raw for key, raw in every.items() if _size(raw) <= _room(params.serve)}
    document = {
        "format": FORMAT,
        "inputs": 0,
        "refused": 0,
        "too_large": len(every) - len(inputs),
        "max_difference": 0.0,
        "label_flips": 0,
        "wrong": [],
        "error": None,
    }
    model = LoadedModel.open(name, 0, bundle, difference_allowed=replay.DIFFERENCE)
    with tempfile.TemporaryDirectory() as temporary:
        kept = Journal(Path(temporary), params.journal, clock=settings.now)
        try:
            with server.in_background(model, params.serve, kept, clock=settings.now) as (url, _):
                answers = ask(url, name, list(inputs.values()), params.serve)
        except BundleError as error:
            return document | {"error": error.message}
    return document | {"inputs": len(inputs)} | _compared(predictor, inputs, answers)


def _compared(predictor: Predictor, inputs: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the server answers otherwise than the bundle."""
    wrong, largest, flips, refused = [], 0.0, 0, 0
    for (key, raw), served in zip(inputs.items(), answers, strict=True):
        own, label = _direct(predictor, raw), served.get("label")
        if own is None or label is None:
            same = own is None and label is None
            refused += same
        else:
            pairs = zip(own.probabilities, served["probabilities"], strict=True)
            difference = max(abs(ours - theirs) for ours, theirs in pairs)
            largest = max(largest, difference)
            flips += label != own.label
            same = label == own.label and difference <= replay.DIFFERENCE
        if not same:
            wrong.append({"name": key, "served": label, "expected": own.label if own else None})
    return {"refused": refused, "max_difference": largest, "label_flips": flips, "wrong": wrong}


def ask(
    url: str, name: str, inputs: Sequence[Any], serve: Serve, *, client: str | None = None, id_: str | None = None
) -> list[dict[str, Any]]:
    """The server's answers to raw inputs, in order: {`label`, `probability`, `probabilities`} or {`error`}.

    Args:
        url: of the server.
        name: of the model.
        inputs: raw; each fits into a request of its own.
        serve: the server's limits.
        client: who asks.
        id_: of the first request; a number is appended for each. The server chooses ids where not given.

    Raises:
        OutsideError: if it refuses a whole request, or does not answer.
    """
    connection = HTTPConnection(urlsplit(url).netloc, timeout=serve.timeout_s + PATIENCE_S)
    answers: list[dict[str, Any]] = []
    try:
        for number, raw in enumerate(_requests(inputs, serve)):
            sent = [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in raw]
            about = {"client": client, "id": None if id_ is None else f"{id_}-{number}"}
            body = json.dumps({"inputs": sent} | {key: value for key, value in about.items() if value is not None})
            connection.request("POST", f"/predict/{name}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            document = json.loads(response.read())
            if "predictions" not in document:
                raise OutsideError(f"the server answered {response.status}: {document.get('error', document)}.")
            answers += document["predictions"]
    except (OSError, HTTPException) as error:
        raise OutsideError(f"the server at {url} does not answer: {type(error).__name__}: {error}.") from error
    finally:
        connection.close()
    return answers


def _requests(inputs: Sequence[Any], serve: Serve) -> Iterator[list[Any]]:
    """The inputs in order, as many together as a request may hold."""
    together: list[Any] = []
    size = 0
    for raw in inputs:
        if together and (len(together) == min(TOGETHER, serve.items) or size + _size(raw) > _room(serve)):
            yield together
            together, size = [], 0
        together.append(raw)
        size += _size(raw)
    if together:
        yield together


def _size(raw: Any) -> int:
    """Bytes of an input in a request's body, quotes included."""
    if isinstance(raw, bytes):
        return 4 * math.ceil(len(raw) / 3) + 4
    return len(json.dumps(raw)) + 2


def _room(serve: Serve) -> int:
    return serve.megabytes * 1_000_000 - ENVELOPE


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
