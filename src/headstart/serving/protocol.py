"""Requests and answers as they stand on the wire: headstart's own, and the Open Inference Protocol's (`/v2`).

Strict: what has another type is refused by its place (`inputs[3] is a number; a string was expected`). An input that
cannot be taken as it stands is a `ContractError` in its place, as the contract's own refusals are: `/predict` answers
the others, `/v2` has no place for errors of single inputs and refuses the request.
"""

import base64
import binascii
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from headstart.contract import picture
from headstart.errors import ContractError
from headstart.params.section import Modality
from headstart.predictor import Prediction
from headstart.serving import binary
from headstart.serving.batching import Raw
from headstart.serving.models import Answered, LoadedModel
from headstart.serving.refusals import malformed, shown, too_large, unfit

RequestId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
Body = TypeVar("Body", bound=BaseModel)
OUTPUTS = ("label", "probability", "probabilities")
EXTENSIONS = ("binary_tensor_data", "model_configuration")
CLIENT_CHARACTERS = 200
Taken = Raw | ContractError
KINDS = {"NoneType": "null", "bool": "a boolean", "int": "a number", "float": "a number", "str": "a string"}
KINDS |= {"list": "an array", "dict": "an object"}
WANTED = {"string_type": "a string", "list_type": "an array", "int_type": "a whole number", "missing": "a value"}
WANTED |= {"model_type": "an object", "model_attributes_type": "an object", "dict_type": "an object"}


class _Payload(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


class _Open(BaseModel):
    """The protocol lets clients send more than servers understand."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class Reason(BaseModel):
    """Why, and what to do next."""

    message: str
    action: str


class PredictRequest(_Payload):
    """Raw inputs: strings; images as base64. `client` says who asks, for the journal; else the User-Agent does.

    `contract` is the hash of the contract that the client was built for, as every answer and `GET /v2/models/NAME` give
    it: where another one is served, the request is refused with 409. The header `headstart-contract` says the same.
    """

    inputs: Annotated[list[Any], Field(json_schema_extra={"items": {"type": "string"}})]
    id: RequestId | None = None
    client: str | None = None
    contract: str | None = None


class PredictionItem(_Payload):
    """One answer; `probabilities` are in the order of the model's labels.

    `warnings` says what is odd about the input, and is absent where nothing is: don't rely on such an answer.
    """

    label: str
    probability: float
    probabilities: list[float]
    warnings: list[str] = []


class RefusedItem(_Payload):
    """Stands in place of an answer where an input was refused."""

    error: Reason


class PredictResponse(_Payload):
    """Answers in the order of the inputs; a refused input has its error in its place, and the others are answered."""

    id: str
    model_version: str
    contract: str
    predictions: list[PredictionItem | RefusedItem]


class RefusedResponse(PredictResponse):
    """No input was answered: `error` is the first one's; or the request cannot be read, and the rest is absent."""

    error: Reason


class VerifyRequest(_Payload):
    """One raw input, as /predict takes it, and what the client computed of it.

    `computed` is the picture's tensor, the text's token ids or the logits, as nested arrays of numbers; or an object
    with `pixel_values`, with `input_ids` and `attention_mask`, or with `logits`.
    """

    input: str
    computed: list[Any] | dict[str, Any]
    contract: str | None = None


class VerifyResponse(_Payload):
    """How the client's numbers compare with the contract's.

    `difference` is the largest: in grey levels of a tensor, in logits, in tokens; null where the shapes differ. `where`
    is the first place that differs; `faults` the known mistakes that give the client's numbers, none where none does.
    """

    agrees: bool
    kind: Literal["tensor", "token_ids", "logits"]
    difference: float | None
    where: str
    faults: list[str]
    meaning: str


class FeedbackItem(_Payload):
    """The truth about one answer; `index` is its place in the request."""

    id: RequestId
    index: Annotated[int, Field(ge=0, lt=2**31)] = 0
    label: Annotated[str, Field(min_length=1, max_length=1000)]


class FeedbackList(RootModel[Annotated[list[FeedbackItem], Field(fail_fast=True)]]):
    """Several at once."""

    model_config = ConfigDict(strict=True)


class FeedbackResponse(_Payload):
    """How many were taken; `new_labels` are those that the model does not know: new classes, or slips.

    `did_you_mean` maps those that are written almost like a class to it. They are kept as they came: send the
    label again if it was a slip.

    `unknown_ids` are those that no answer was found for among the newest 2 million: slips, or answers of another server
    that are not written yet. Their labels are kept, and count as soon as there is an answer.
    """

    accepted: int
    new_labels: list[str]
    did_you_mean: dict[str, str]
    unknown_ids: list[str]


class InferInput(_Open):
    """The one input: `input`, BYTES, shape [n] or [n, 1]; `data` flat or nested, absent where it follows in binary."""

    name: str
    shape: Annotated[list[int], Field(max_length=8)]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferOutput(_Open):
    """An output that is asked for; parameter `binary_data` says whether in binary."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(_Open):
    """A request of the Open Inference Protocol.

    Parameters: `binary_data_output` (whether outputs come in binary), `client` (who asks, for the journal), `contract`
    (hash of the contract that the client was built for: 409 where another one is served).
    """

    id: RequestId | None = None
    inputs: Annotated[list[InferInput], Field(fail_fast=True)]
    outputs: Annotated[list[InferOutput], Field(fail_fast=True, max_length=len(OUTPUTS))] | None = None
    parameters: dict[str, Any] | None = None


class InferTensor(_Open):
    """An output; `data` is flat, row by row, or follows in binary: `parameters.binary_data_size` bytes."""

    name: str
    shape: list[int]
    datatype: Literal["BYTES", "FP32"]
    data: list[str] | list[float] = []


class InferResponse(_Payload):
    """An answer of the Open Inference Protocol; `parameters.contract` is the hash of the contract it was made under."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, str]
    outputs: list[InferTensor]


class InferError(_Payload):
    """The body of every answer under /v2 that is not 200: one sentence, which names the input where one is at fault."""

    error: str


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


def check_indices(items: Sequence[FeedbackItem], counts: Mapping[str, int]) -> None:
    """Refuse labels of inputs that were never asked, so that none of the others is kept.

    Args:
        items: labels.
        counts: how many inputs each request had; 0 for one that is not known, which nothing is said about.

    Raises:
        RefusedError: 422 if a known request had no such input.
    """
    wrong = [(place, item) for place, item in enumerate(items) if 0 < counts[item.id] <= item.index]
    if wrong:
        place, item = wrong[0]
        had = counts[item.id]
        named = f"item {place}: " if len(items) > 1 else ""
        others = f" {len(wrong) - 1} more items are like it." if len(wrong) > 1 else ""
        raise unfit(
            f"{named}there is no input {item.index} in request {shown(item.id)}, which had {had}: "
            f"{'only 0' if had == 1 else f'0 to {had - 1}'} can have a label.{others}",
            action="Send `index`, the input's place in its request, counted from 0; nothing of this was kept.",
        )


def raw_inputs(inputs: Sequence[Any], *, modality: Modality, most: int) -> list[Taken]:
    """Inputs as the contract takes them, or why one cannot be taken: it is no string, or no base64 of an image.

    Raises:
        RefusedError: 422 if there is none; 413 if there are too many.
    """
    check_count(len(inputs), most=most)
    return [_taken(value, place, modality) for place, value in enumerate(inputs)]


def verify_input(request: VerifyRequest, *, modality: Modality) -> Raw:
    """The raw input of a request for a comparison.

    Raises:
        ContractError: if it is not base64 where a picture is expected.
    """
    taken = _taken(request.input, 0, modality, "input")
    if isinstance(taken, ContractError):
        raise taken
    return taken


def raw_parts(parts: Sequence[bytes], *, modality: Modality, most: int) -> list[Taken]:
    """The same from the parts of a multipart body, or the elements of a binary tensor: images, or texts in UTF-8."""
    check_count(len(parts), most=most)
    return list(parts) if modality == "image" else [_text(part, place) for place, part in enumerate(parts)]


def check_count(count: int, *, most: int) -> None:
    """Refuse a request without items, and one with too many."""
    if count == 0:
        raise unfit("The request is empty: there is not one item in it.", action="Send at least one.")
    if count > most:
        raise too_large(
            f"There are {count} items; at most {most} are accepted.", action="Send them in several requests."
        )


def infer_head(body: bytes, header: str | None) -> tuple[InferRequest, bytes]:
    """A protocol request, and the bytes that follow its JSON head.

    Args:
        body: of the request.
        header: `Inference-Header-Content-Length`; None where there is none, and so no binary data.

    Raises:
        RefusedError: 400 if the header is no length of a part of the body; else as `parse`.
    """
    if header is None:
        return parse(InferRequest, body), b""
    if length := binary.head_length(header, body):
        return parse(InferRequest, body[:length]), body[length:]
    tail = binary.framed([body])
    parameters = {"binary_data_size": len(tail)}
    whole = {"name": "input", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    return InferRequest.model_validate({"inputs": [whole], "parameters": {"binary_data_output": True}}), tail


def infer_inputs(request: InferRequest, tail: bytes, *, modality: Modality, most: int) -> tuple[list[Any], list[Taken]]:
    """The elements of a protocol request as they came, and as the contract takes them, or why one cannot be taken.

    Raises:
        RefusedError: 422 if it is not one input `input` of datatype BYTES and shape [n] or [n, 1] for n elements, the
            binary data are not what the head says, or it asks for an output or an extension that does not exist.
    """
    if len(request.inputs) != 1 or request.inputs[0].name != "input":
        names = shown([given.name for given in request.inputs[:3]])
        raise unfit(f"The inputs {names} arrived; exactly one, named 'input', was expected.")
    (given,) = request.inputs
    parameters = given.parameters or {}
    if given.datatype != "BYTES":
        raise unfit(f"The input's datatype is {shown(given.datatype)}; BYTES was expected.")
    if "shared_memory_region" in parameters:
        raise unfit("The input is in shared memory, which is not read here.", action="Send its data in the request.")
    for output in request.outputs or []:
        if output.name not in OUTPUTS:
            raise unfit(f"There is no output {shown(output.name)}; there are {', '.join(OUTPUTS)}.")
        if odd := {"classification", "shared_memory_region"} & set(output.parameters or {}):
            raise unfit(f"The output's parameter {min(odd)} is of an extension that is not spoken here.")
    if given.data is None:
        elements: list[Any] = list(binary.elements(tail, parameters.get("binary_data_size"), most=most))
    elif tail or "binary_data_size" in parameters:
        raise unfit("The input has data both in JSON and in binary; one of them was expected.")
    else:
        elements = _flat(given.data)
    if given.shape not in ([len(elements)], [len(elements), 1]):
        raise unfit(
            f"The input's shape is {shown(given.shape)}, its data has {len(elements)} elements; "
            "[n] or [n, 1] was expected for n elements."
        )
    if given.data is not None:
        return elements, raw_inputs(elements, modality=modality, most=most)
    if modality == "image":
        elements = [_picture(element) for element in elements]
    return elements, raw_parts(elements, modality=modality, most=most)


def request_id(given: str | None) -> str:
    """The client's id, or a new one."""
    return given or uuid.uuid4().hex


def client(given: Any, user_agent: str | None) -> str | None:
    """Who asks: what the request says, else its User-Agent; cut to what the journal keeps."""
    name = given if isinstance(given, str) and given else user_agent
    return name[:CLIENT_CHARACTERS] if name else None


def contract(given: Any, header: str | None) -> str | None:
    """The hash of the contract that a client was built for, in its request or else in its header; None for any.

    Raises:
        RefusedError: 422 if it is no string.
    """
    if given is not None and not isinstance(given, str):
        kind = KINDS.get(type(given).__name__, type(given).__name__)
        raise unfit(f"contract is {kind}; the hash of a contract, a string, was expected.")
    return given or header


def predict_answer(
    id_: str, model: LoadedModel, outcomes: Sequence[Answered | ContractError]
) -> tuple[dict[str, Any], int]:
    """A `PredictResponse` and its HTTP status: a `RefusedResponse` and 422 where no input was answered."""
    document: dict[str, Any] = {}
    errors = [outcome for outcome in outcomes if isinstance(outcome, ContractError)]
    refused = len(errors) == len(outcomes)
    if refused:
        document["error"] = _reason(errors[0])
    document |= {
        "id": id_,
        "model_version": str(model.version),
        "contract": model.contract_hash,
        "predictions": [_item(outcome) for outcome in outcomes],
    }
    return document, 422 if refused else 200


def infer_answer(
    id_: str, model: LoadedModel, predictions: Sequence[Prediction], request: InferRequest | None = None
) -> tuple[bytes, int | None]:
    """The body of an `InferResponse` with the outputs that are wanted, and how much of it is JSON: None for all."""
    rows, classes = len(predictions), len(model.contract.labels)
    columns: dict[str, tuple[list[int], str, list[Any]]] = {
        "label": ([rows], "BYTES", [one.label for one in predictions]),
        "probability": ([rows], "FP32", [one.probability for one in predictions]),
        "probabilities": ([rows, classes], "FP32", [share for one in predictions for share in one.probabilities]),
    }
    otherwise = bool(((request and request.parameters) or {}).get("binary_data_output", False))
    wanted = [(name, otherwise) for name in OUTPUTS]
    if request and request.outputs:
        wanted = [
            (output.name, bool((output.parameters or {}).get("binary_data", otherwise))) for output in request.outputs
        ]
    outputs, tail = [], b""
    for name, in_binary in wanted:
        shape, datatype, data = columns[name]
        output: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
        if in_binary:
            part = binary.framed([label.encode() for label in data]) if datatype == "BYTES" else binary.numbers(data)
            output["parameters"] = {"binary_data_size": len(part)}
            tail += part
        else:
            output["data"] = data
        outputs.append(output)
    head = json.dumps(
        {
            "model_name": model.name,
            "model_version": str(model.version),
            "id": id_,
            "parameters": {"contract": model.contract_hash},
            "outputs": outputs,
        },
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    ).encode()
    return head + tail, len(head) if any(in_binary for _, in_binary in wanted) else None


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


def config(model: LoadedModel) -> dict[str, Any]:
    """What clients of the model configuration extension ask for, as Triton writes it."""
    return {
        "name": model.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [{"name": "input", "data_type": "TYPE_STRING", "dims": [-1]}],
        "output": [
            {"name": "label", "data_type": "TYPE_STRING", "dims": [-1]},
            {"name": "probability", "data_type": "TYPE_FP32", "dims": [-1]},
            {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [-1, len(model.contract.labels)]},
        ],
        "parameters": {"contract": {"string_value": model.contract_hash}},
    }


def _reason(error: ContractError) -> dict[str, str]:
    return {"message": error.message, "action": error.action}


def _item(outcome: Answered | ContractError) -> dict[str, Any]:
    """A `PredictionItem` or a `RefusedItem`."""
    if isinstance(outcome, ContractError):
        return {"error": _reason(outcome)}
    one = outcome.prediction
    item: dict[str, Any] = {
        "label": one.label,
        "probability": one.probability,
        "probabilities": list(one.probabilities),
    }
    return item | {"warnings": list(outcome.warnings)} if outcome.warnings else item


def _taken(value: Any, place: int, modality: Modality, name: str = "") -> Taken:
    """One input of a JSON body; `name` says which, where it is none of `inputs`."""
    name = name or f"inputs[{place}]"
    if not isinstance(value, str):
        kind = KINDS.get(type(value).__name__, type(value).__name__)
        return ContractError(
            f"{name} is {kind}; a string was expected.",
            index=place,
            action="Send a string for each input: a text, or an image file's bytes in base64.",
        )
    if modality == "text":
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        return ContractError(
            f"{name} is not base64: {error}.",
            index=place,
            action="Send the image file's bytes in base64, without 'data:...;base64,' and line breaks; or multipart.",
        )


def _text(part: bytes, place: int) -> Taken:
    try:
        return part.decode("utf-8")
    except UnicodeDecodeError as error:
        if (kind := picture.kind(part)) is not None:
            told = f"input {place} is a picture ({kind}); this model takes texts."
            return ContractError(told, index=place, action="Send texts in UTF-8.")
        return ContractError(
            f"input {place} is not text in UTF-8: {error.reason} at byte {error.start}.",
            index=place,
            action="Send UTF-8.",
        )


def _picture(element: bytes) -> bytes:
    """The bytes of an image file, which a binary tensor may hold as they are or, as JSON has to, in base64."""
    try:
        return base64.b64decode(element, validate=True)
    except (binascii.Error, ValueError):
        return element


def _flat(data: Sequence[Any]) -> list[Any]:
    """The elements of nested data of shape [n, 1], or flat data as it is."""
    if data and all(isinstance(row, list) and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return list(data)


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
