"""Requests and answers as they stand on the wire: headstart's own, and the Open Inference Protocol's (`/v2`).

Strict: what has another type is refused by its place (`inputs[3] is a number; a string was expected`).
"""

import base64
import binascii
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from headstart.params.section import Modality
from headstart.predictor import Prediction
from headstart.serving.batching import Raw
from headstart.serving.models import LoadedModel
from headstart.serving.refusals import malformed, shown, too_large, unfit

RequestId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
Strings = Annotated[list[str], Field(fail_fast=True)]
Body = TypeVar("Body", bound=BaseModel)
OUTPUTS = ("label", "probability", "probabilities")
KINDS = {"NoneType": "null", "bool": "a boolean", "int": "a number", "float": "a number", "str": "a string"}
KINDS |= {"list": "an array", "dict": "an object"}
WANTED = {"string_type": "a string", "list_type": "an array", "int_type": "a whole number", "missing": "a value"}
WANTED |= {"model_type": "an object", "model_attributes_type": "an object", "dict_type": "an object"}


class _Payload(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


class _Open(BaseModel):
    """The protocol lets clients send more than servers understand."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class PredictRequest(_Payload):
    """Raw inputs: strings; images as base64."""

    inputs: Strings
    id: RequestId | None = None


class PredictionItem(_Payload):
    """One answer; `probabilities` are in the order of the model's labels."""

    label: str
    probability: float
    probabilities: list[float]


class PredictResponse(_Payload):
    """Answers in the order of the inputs."""

    id: str
    model_version: str
    contract: str
    predictions: list[PredictionItem]


class FeedbackItem(_Payload):
    """The truth about one answer; `index` is its place in the request."""

    id: RequestId
    index: Annotated[int, Field(ge=0, lt=2**31)] = 0
    label: Annotated[str, Field(min_length=1, max_length=1000)]


class FeedbackList(RootModel[Annotated[list[FeedbackItem], Field(fail_fast=True)]]):
    """Several at once."""

    model_config = ConfigDict(strict=True)


class FeedbackResponse(_Payload):
    """How many were taken; `new_labels` are those that the model does not know: new classes, or slips."""

    accepted: int
    new_labels: list[str]


class InferInput(_Open):
    """The one input: `input`, BYTES, shape [n]."""

    name: str
    shape: Annotated[list[int], Field(max_length=8)]
    datatype: str
    data: Strings


class InferOutput(_Open):
    """An output that is asked for."""

    name: str


class InferRequest(_Open):
    """A request of the Open Inference Protocol."""

    id: RequestId | None = None
    inputs: Annotated[list[InferInput], Field(fail_fast=True)]
    outputs: Annotated[list[InferOutput], Field(fail_fast=True, max_length=len(OUTPUTS))] | None = None


class InferTensor(_Payload):
    """An output; `data` is flat, row by row."""

    name: str
    shape: list[int]
    datatype: Literal["BYTES", "FP32"]
    data: list[str] | list[float]


class InferResponse(_Payload):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str
    outputs: list[InferTensor]


def parse(kind: type[Body], body: bytes) -> Body:
    """The request that a JSON body holds.

    Raises:
        RefusedError: 400 if it is not JSON (nested too deep and half a surrogate pair included), 422 if another
            one was expected.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        detail: Any = error.errors(include_url=False, include_context=False)[0]
    except (ValueError, RecursionError) as error:
        raise malformed(f"The body is not JSON that can be read: {error}.") from None
    if detail["type"] == "json_invalid":
        reason = detail["msg"].removeprefix("Invalid JSON: ")
        half = " (half of a surrogate pair, or a broken \\u escape)" if "hex escape" in reason else ""
        raise malformed(f"The body is not JSON: {reason}{half}.")
    raise unfit(_sentence(detail))


def parse_feedback(body: bytes, *, most: int) -> list[FeedbackItem]:
    """The items of a feedback body: one object, or an array of them.

    Raises:
        RefusedError: as `parse`, and as `check_count`.
    """
    items = parse(FeedbackList, body).root if body.lstrip()[:1] == b"[" else [parse(FeedbackItem, body)]
    check_count(len(items), most=most)
    return items


def raw_inputs(inputs: Sequence[str], *, modality: Modality, most: int) -> list[Raw]:
    """Inputs as the contract takes them.

    Raises:
        RefusedError: 422 if there is none, or one is not base64 where images are expected; 413 if there are too many.
    """
    check_count(len(inputs), most=most)
    return list(inputs) if modality == "text" else [_decoded(value, place) for place, value in enumerate(inputs)]


def raw_parts(parts: Sequence[bytes], *, modality: Modality, most: int) -> list[Raw]:
    """The same from the parts of a multipart body: files of images, or texts in UTF-8."""
    check_count(len(parts), most=most)
    if modality == "image":
        return list(parts)
    texts: list[Raw] = []
    for place, part in enumerate(parts):
        try:
            texts.append(part.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise unfit(f"Part {place} is not text in UTF-8: {error.reason}.", action="Send UTF-8.") from None
    return texts


def check_count(count: int, *, most: int) -> None:
    """Refuse a request without items, and one with too many."""
    if count == 0:
        raise unfit("The request is empty: there is not one item in it.", action="Send at least one.")
    if count > most:
        raise too_large(
            f"There are {count} items; at most {most} are accepted.", action="Send them in several requests."
        )


def infer_inputs(request: InferRequest) -> list[str]:
    """The strings of a protocol request.

    Raises:
        RefusedError: 422 if it is not one input `input` of datatype BYTES whose shape is [n] for n strings, or it asks
            for an output that does not exist.
    """
    if len(request.inputs) != 1 or request.inputs[0].name != "input":
        names = shown([given.name for given in request.inputs[:3]])
        raise unfit(f"The inputs {names} arrived; exactly one, named 'input', was expected.")
    (given,) = request.inputs
    if given.datatype != "BYTES":
        raise unfit(f"The input's datatype is {shown(given.datatype)}; BYTES was expected.")
    if given.shape != [len(given.data)]:
        raise unfit(f"The input's shape is {shown(given.shape)}, its data has {len(given.data)} elements; [n] for n.")
    if unknown := [output.name for output in request.outputs or [] if output.name not in OUTPUTS]:
        raise unfit(f"There is no output {shown(unknown[0])}; there are {', '.join(OUTPUTS)}.")
    return given.data


def request_id(given: str | None) -> str:
    """The client's id, or a new one."""
    return given or uuid.uuid4().hex


def predict_answer(id_: str, model: LoadedModel, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """A `PredictResponse`."""
    return {
        "id": id_,
        "model_version": str(model.version),
        "contract": model.contract_hash,
        "predictions": [
            {"label": one.label, "probability": one.probability, "probabilities": list(one.probabilities)}
            for one in predictions
        ],
    }


def infer_answer(
    id_: str, model: LoadedModel, predictions: Sequence[Prediction], wanted: Sequence[str] = OUTPUTS
) -> dict[str, Any]:
    """An `InferResponse` with the outputs that are wanted."""
    rows, classes = len(predictions), len(model.contract.labels)
    outputs: dict[str, dict[str, Any]] = {
        "label": {"shape": [rows], "datatype": "BYTES", "data": [one.label for one in predictions]},
        "probability": {"shape": [rows], "datatype": "FP32", "data": [one.probability for one in predictions]},
        "probabilities": {
            "shape": [rows, classes],
            "datatype": "FP32",
            "data": [share for one in predictions for share in one.probabilities],
        },
    }
    return {
        "model_name": model.name,
        "model_version": str(model.version),
        "id": id_,
        "outputs": [{"name": name, **outputs[name]} for name in wanted],
    }


def metadata(model: LoadedModel) -> dict[str, Any]:
    """What the protocol says of a model; the labels' order is that of `probabilities`."""
    return {
        "name": model.name,
        "versions": [str(model.version)],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "input", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(model.contract.labels)]},
        ],
        "parameters": {
            "contract": model.contract_hash,
            "modality": model.contract.modality,
            "labels": list(model.contract.labels),
        },
    }


def _decoded(value: str, place: int) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise unfit(
            f"inputs[{place}] is {shown(value)}, which is not base64: {error}.",
            action="Send the image file's bytes in base64, without 'data:...;base64,' and line breaks; or multipart.",
        ) from None


def _sentence(detail: Any) -> str:
    """What pydantic found, as a person would say it."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    place = place or "The body"
    if detail["type"] == "extra_forbidden":
        return f"{place} is not known here."
    if detail["type"] == "missing":
        return f"{place} is missing."
    if wanted := WANTED.get(detail["type"]):
        kind = type(detail["input"]).__name__
        return f"{place} is {KINDS.get(kind, kind)}; {wanted} was expected."
    return f"{place} is {shown(detail['input'])}: {detail['msg'].lower()}."
