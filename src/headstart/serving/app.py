"""The application: which path does what. `/docs` shows it to people.

A request is read in bounded memory, checked, queued, and answered by one version as a whole; its journal rows are
made by the worker once the answer is on its way.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import version as installed
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi_offline import FastAPIOffline

from headstart.contract.labels import normal
from headstart.errors import ContractError
from headstart.journal.schema import Answer, Label
from headstart.predictor import Prediction
from headstart.serving import documentation, protocol, refusals
from headstart.serving.batching import QueueFullError, Raw
from headstart.serving.fleet import Fleet
from headstart.serving.intake import MEGABYTE, Intake, media_type, parts
from headstart.serving.metrics import Metrics
from headstart.serving.models import Answered, LoadedModel
from headstart.serving.refusals import RefusedError, busy, shown

JSON = "application/json"
MULTIPART = "multipart/form-data"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def create_app(fleet: Fleet, *, clock: Callable[[], datetime]) -> FastAPI:
    """The application over a fleet; the caller starts and closes the fleet.

    Args:
        fleet: the models.
        clock: the time in the journal, aware.
    """
    app = FastAPIOffline(  # its pages need no network; FastAPI's own ask a content delivery network
        title="headstart",
        version=installed("headstart"),
        description="Raw inputs in, answers out. Every refusal has the shape {error: {message, action}}.",
        openapi_url="/openapi.json",
        redoc_url=None,
    )
    desk = Desk(fleet, clock)
    refusals.install(app)
    app.get("/health", tags=["operation"])(desk.health)
    app.get("/metrics", tags=["operation"])(desk.metrics_page)
    app.post("/predict/{name}", tags=["headstart"], **documentation.PREDICT)(desk.counted("predict", desk.predict))
    app.post("/feedback/{name}", tags=["headstart"], **documentation.FEEDBACK)(desk.counted("feedback", desk.feedback))
    app.get("/v2", tags=["open inference protocol"])(desk.server)
    app.get("/v2/health/live", tags=["open inference protocol"])(desk.live)
    app.get("/v2/health/ready", tags=["open inference protocol"])(desk.ready)
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        app.get(path, tags=["open inference protocol"])(desk.model)
        app.get(f"{path}/ready", tags=["open inference protocol"])(desk.model_ready)
        app.post(f"{path}/infer", tags=["open inference protocol"], **documentation.INFER)(
            desk.counted("infer", desk.infer)
        )
    documentation.install(app)
    return app


class Desk:
    """Where requests arrive: one method an endpoint."""

    def __init__(self, fleet: Fleet, clock: Callable[[], datetime]) -> None:
        self._fleet = fleet
        self._clock = clock
        self._metrics = Metrics(fleet)
        largest = max(fleet.berth(name).params.megabytes for name in fleet.names)
        self._intake = Intake(largest * MEGABYTE)

    async def health(self) -> Response:
        """200 once every named model is warm."""
        cold = self._fleet.cold
        if cold:
            raise busy(f"Warming up: {', '.join(cold)}.")
        versions = {name: self._fleet.version(name) for name in self._fleet.names}
        troubles = {name: self._fleet.journal(name).health.trouble for name in self._fleet.names}
        return JSONResponse({"ready": True, "versions": versions, "journal_troubles": troubles})

    async def metrics_page(self) -> Response:
        """Prometheus' text format."""
        return Response(self._metrics.page(), media_type=PROMETHEUS)

    async def server(self) -> Response:
        """What this server is."""
        return JSONResponse({"name": "headstart", "version": installed("headstart"), "extensions": []})

    async def live(self) -> Response:
        """200 as long as the process answers."""
        return JSONResponse({"live": True})

    async def ready(self) -> Response:
        """200 once every named model is warm."""
        cold = self._fleet.cold
        return JSONResponse({"ready": not cold}, 503 if cold else 200)

    async def model(self, request: Request) -> Response:
        """A model's inputs and outputs."""
        return JSONResponse(protocol.metadata(self._fleet.posted(*_target(request)).model))

    async def model_ready(self, request: Request) -> Response:
        """200 once this model is warm."""
        name, version = _target(request)
        return JSONResponse({"name": self._fleet.posted(name, version).model.name, "ready": True})

    async def predict(self, request: Request) -> Response:
        """Answers to raw inputs: {"inputs": [...]}, or a file each in multipart/form-data."""
        name, _ = _target(request)
        arrived = time.perf_counter()
        berth = self._fleet.berth(name)
        modality = self._fleet.posted(name).model.contract.modality
        most = berth.params.items
        kind = _expected(request, JSON, MULTIPART)
        async with self._intake.body(
            request, limit=berth.params.megabytes * MEGABYTE, timeout_s=berth.params.timeout_s
        ) as body:
            if kind == MULTIPART:
                given = None
                raw = protocol.raw_parts(parts(request, body, most=most), modality=modality, most=most)
            else:
                asked = protocol.parse(protocol.PredictRequest, body)
                given = asked.id
                raw = protocol.raw_inputs(asked.inputs, modality=modality, most=most)
            id_ = protocol.request_id(given)
            model, predictions = await self._answer(name, None, id_, raw, arrived)
        return JSONResponse(protocol.predict_answer(id_, model, predictions))

    async def infer(self, request: Request) -> Response:
        """Answers to raw inputs, by the Open Inference Protocol."""
        name, version = _target(request)
        arrived = time.perf_counter()
        berth = self._fleet.berth(name)
        modality = self._fleet.posted(name, version).model.contract.modality
        _expected(request, JSON)
        if "inference-header-content-length" in request.headers:
            raise refusals.malformed("The protocol's binary extension is not spoken here.", action="Send plain JSON.")
        async with self._intake.body(
            request, limit=berth.params.megabytes * MEGABYTE, timeout_s=berth.params.timeout_s
        ) as body:
            asked = protocol.parse(protocol.InferRequest, body)
            raw = protocol.raw_inputs(protocol.infer_inputs(asked), modality=modality, most=berth.params.items)
            id_ = protocol.request_id(asked.id)
            model, predictions = await self._answer(name, version, id_, raw, arrived)
        wanted = protocol.OUTPUTS if asked.outputs is None else [output.name for output in asked.outputs]
        return JSONResponse(protocol.infer_answer(id_, model, predictions, wanted))

    async def feedback(self, request: Request) -> Response:
        """Labels that came later: {"id", "index", "label"}, or a list of them."""
        name, _ = _target(request)
        berth = self._fleet.berth(name)
        known = {normal(label): label for label in self._fleet.posted(name).model.contract.labels}
        _expected(request, JSON)
        async with self._intake.body(
            request, limit=berth.params.megabytes * MEGABYTE, timeout_s=berth.params.timeout_s
        ) as body:
            items = protocol.parse_feedback(body, most=berth.params.items)
        now = self._clock()
        spelled = [known.get(normal(item.label), normal(item.label) or item.label) for item in items]
        berth.journal.feedback(
            [Label(each.id, each.index, label, now) for each, label in zip(items, spelled, strict=True)]
        )
        new = sorted(set(spelled) - set(known.values()))
        return JSONResponse({"accepted": len(items), "new_labels": new})

    def counted(
        self, endpoint: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint with every request counted by its status; unknown models share one name."""

        async def counting(request: Request) -> Response:
            name, _ = _target(request)
            status = 500
            try:
                response = await answer(request)
                status = response.status_code
            except RefusedError as error:
                status = error.status
                raise
            except ContractError:
                status = 422
                raise
            finally:
                self._metrics.request(name if name in self._fleet.names else "unknown", endpoint, status)
            return response

        counting.__name__, counting.__doc__ = endpoint, answer.__doc__
        return counting

    async def _answer(
        self, name: str, version: str | None, id_: str, raw: Sequence[Raw], arrived: float
    ) -> tuple[LoadedModel, list[Prediction]]:
        """What the version at work says; journalled once it is on its way."""
        timeout_s = self._fleet.berth(name).params.timeout_s
        afterwards = partial(self._journal, name=name, id_=id_, raw=raw, arrived=arrived)
        try:
            model, future = self._fleet.submit(name, version, raw, afterwards)
            answered = await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except QueueFullError as error:
            raise busy(f"Too much to do: {error.message}") from None
        except TimeoutError:
            raise busy(f"No answer within {timeout_s:g} s: too much to do.", retry_after_s=5) from None
        self._metrics.answered(name, model.version, len(answered), time.perf_counter() - arrived)
        return model, [one.prediction for one in answered]

    def _journal(
        self,
        model: LoadedModel,
        answered: Sequence[Answered],
        *,
        name: str,
        id_: str,
        raw: Sequence[Raw],
        arrived: float,
    ) -> None:
        """Rows of a request's answers, made by the worker that finished it."""
        now, latency_ms = self._clock(), 1000 * (time.perf_counter() - arrived)
        self._fleet.journal(name).record(
            [
                Answer(
                    request_id=id_,
                    index=index,
                    time=now,
                    model=name,
                    version=model.version,
                    role=model.role,
                    contract=model.contract_hash,
                    label=one.prediction.label,
                    probability=one.prediction.probability,
                    probabilities=one.prediction.probabilities,
                    properties=one.properties,
                    latency_ms=latency_ms,
                    features=one.features.tolist(),
                    raw=value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value,
                )
                for index, (one, value) in enumerate(zip(answered, raw, strict=True))
            ]
        )


def _target(request: Request) -> tuple[str, str | None]:
    """The model, and the version if one was asked for, in the request's path."""
    parameters: dict[str, Any] = request.path_params
    return parameters["name"], parameters.get("version")


def _expected(request: Request, *kinds: str) -> str:
    """The body's media type, one of `kinds`.

    Raises:
        RefusedError: 415 if it is another one.
    """
    kind = media_type(request)
    if kind not in kinds:
        arrived = shown(kind) if kind else "no Content-Type"
        raise RefusedError(
            415,
            f"{arrived} arrived; {' or '.join(kinds)} was expected.",
            action=f"Set the header Content-Type: {JSON}.",
        )
    return kind
