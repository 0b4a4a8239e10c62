"""What `/docs` and `/openapi.json` say of bodies, which the endpoints read themselves to bound their memory."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from headstart.serving import agreement, protocol

REFERENCE = "#/components/schemas/{model}"


class Refusal(BaseModel):
    """The body of every answer that is not 200."""

    error: protocol.Reason


MEANINGS = {
    400: "The body cannot be read.",
    401: "The server expects an API key, and none arrived that it knows.",
    403: "The API key is for something else.",
    404: "There is no such model, or version, here.",
    408: "The body took too long.",
    409: "The client was built for another contract; in the message, and beside it, what differs.",
    413: "The body is too large, or holds too many inputs.",
    415: "The body's media type is another one.",
    422: "The body, or every input in it, is not what was expected.",
    429: "Too many requests; Retry-After says when to come back.",
    503: "Too much to do, warming up, or not served at present; Retry-After says when to come back.",
}
IN_PROTOCOL = MEANINGS | {422: "The body, or an input in it, is not what was expected: then none is answered."}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": meaning} for status, meaning in MEANINGS.items()
}
PROTOCOL_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": protocol.InferError, "description": meaning} for status, meaning in IN_PROTOCOL.items()
}


CONTRACT_HEADER: dict[str, Any] = {
    "name": agreement.HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Hash of the contract that the client was built for: 409 where another one is served.",
}


def _body(schema: dict[str, Any], *, multipart: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if multipart:
        files = {"type": "array", "items": {"type": "string", "format": "binary"}}
        form = {"type": "object", "properties": {"files": files}}
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def _reference(kind: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(model=kind.__name__)}


def _endpoint(
    body: dict[str, Any], answer: type[BaseModel], refusals: dict[int | str, dict[str, Any]] = REFUSALS
) -> dict[str, Any]:
    return {"openapi_extra": body, "responses": {200: {"model": answer}, **refusals}}


FEEDBACK_SCHEMA = {
    "anyOf": [
        _reference(protocol.FeedbackItem),
        {"type": "array", "items": _reference(protocol.FeedbackItem)},
    ]
}
PREDICT = _endpoint(_body(_reference(protocol.PredictRequest), multipart=True), protocol.PredictResponse)
PREDICT["responses"][422] = {"model": protocol.RefusedResponse | Refusal, "description": MEANINGS[422]}
FEEDBACK = _endpoint(_body(FEEDBACK_SCHEMA), protocol.FeedbackResponse)
del FEEDBACK["responses"][409]
VERIFY = _endpoint(_body(_reference(protocol.VerifyRequest)), protocol.VerifyResponse)
INFER = _endpoint(_body(_reference(protocol.InferRequest)), protocol.InferResponse, PROTOCOL_REFUSALS)
INFER["openapi_extra"]["requestBody"]["content"]["application/octet-stream"] = {
    "schema": {"type": "string", "format": "binary", "description": "A JSON head and binary tensors."}
}
VERDICT: dict[str, Any] = {
    "responses": {
        404: {"model": Refusal, "description": "There is no such model here, or no rollout of it."},
        503: {"description": "The journal cannot be read; to a POST, the verdict is another one than asked for."},
    }
}
PROTOCOL: dict[str, Any] = {"responses": {status: PROTOCOL_REFUSALS[status] for status in (404, 503)}}
REQUESTS = (protocol.PredictRequest, protocol.VerifyRequest, protocol.FeedbackItem, protocol.InferRequest)


def install(app: FastAPI) -> None:
    """Put the schemas of request bodies, which FastAPI does not see, into the description."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _, definitions = models_json_schema([(kind, "validation") for kind in REQUESTS], ref_template=REFERENCE)
            document["components"]["schemas"].update(definitions["$defs"])
            for path, methods in document["paths"].items():
                for operation in methods.values():
                    _name_path_parameters(path, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _name_path_parameters(path: str, operation: dict[str, Any]) -> None:
    """Declare `{name}` and `{version}` where a path has them."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if path.startswith(("/predict/", "/verify/")) or path.endswith("/infer"):
        operation["parameters"].append(CONTRACT_HEADER)
