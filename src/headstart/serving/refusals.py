"""What the server says when it does not answer: a status, a sentence, what to do; in one of two JSON shapes.

{"error": {"message": "...", "action": "..."}}     everywhere but
{"error": "..."}                                   under /v2: the Open Inference Protocol has a string there
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from headstart.errors import ContractError, UsageError

SHOWN = 80
PROTOCOL = "/v2"


class RefusedError(UsageError):
    """A request that is not answered.

    Attributes:
        status: of the HTTP answer.
        headers: of the HTTP answer.
        details: what stands beside `error` in the body, for programs; nothing under /v2, which has no place for it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        action: str = "",
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, action=action)
        self.status = status
        self.headers = dict(headers or {})
        self.details = dict(details or {})


def malformed(message: str, *, action: str = "See /docs for what a request looks like.") -> RefusedError:
    """A body that cannot be read at all."""
    return RefusedError(400, message, action=action)


def unfit(message: str, *, action: str = "See /docs for what a request looks like.") -> RefusedError:
    """A body that can be read and does not hold what was expected."""
    return RefusedError(422, message, action=action)


def too_large(message: str, *, action: str) -> RefusedError:
    """More than the server takes; the connection is closed, since the rest of the body is not wanted."""
    return RefusedError(413, message, action=action, headers={"Connection": "close"})


def busy(message: str, *, retry_after_s: int = 1) -> RefusedError:
    """Too much to do; the client's turn comes later."""
    action = f"Try again in {retry_after_s} s."
    return RefusedError(503, message, action=action, headers={"Retry-After": str(retry_after_s)})


def shown(value: object) -> str:
    """What arrived, printable and short, for a sentence."""
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def document(message: str, action: str, path: str = "") -> dict[str, dict[str, str] | str]:
    """The body of every refusal; `path` is the request's."""
    if path == PROTOCOL or path.startswith(f"{PROTOCOL}/"):
        return {"error": f"{message} {action}".strip()}
    return {"error": {"message": message, "action": action}}


def install(app: FastAPI) -> None:
    """Make every refusal of `app`, the framework's own and bugs included, take its path's shape."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusedError)
        body: dict[str, Any] = {**document(error.message, error.action, request.url.path)}
        if isinstance(body["error"], dict):
            body |= error.details
        return JSONResponse(body, error.status, headers=error.headers)

    async def against_contract(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ContractError)
        return JSONResponse(document(error.message, error.action, request.url.path), 422)

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        what = f"{request.method} {shown(request.url.path)}: {error.detail}."
        body = document(what, "See /docs for what there is.", request.url.path)
        return JSONResponse(body, error.status_code, headers=error.headers)

    async def bug(request: Request, error: Exception) -> JSONResponse:
        message = "The server made a mistake; it is not your request's fault, and stands in the server's log."
        return JSONResponse(document(message, "Report it to whoever runs this server.", request.url.path), 500)

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(ContractError, against_contract)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, bug)
