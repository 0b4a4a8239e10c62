"""The application: which path does what. `/docs` shows it to people.

A request is read in bounded memory, checked, queued, and answered by one version as a whole; its journal rows are
made by the worker once the answer is on its way.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from importlib.metadata import version as installed
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi_offline import FastAPIOffline

from headstart import rollout as rollouts
from headstart.contract.labels import nearest, normal
from headstart.determinism import digest
from headstart.errors import BundleError, ContractError, HeadstartError, UsageError
from headstart.journal.schema import CHAMPION, FAILED, Answer, Label
from headstart.registry.rollouts import Rollout
from headstart.serving import agreement, documentation, protocol, refusals
from headstart.serving.access import Access, KeyFile
from headstart.serving.batching import QueueFullError, Raw, RetiredError
from headstart.serving.candidates import Candidate
from headstart.serving.fleet import Fleet
from headstart.serving.intake import MEGABYTE, Intake, media_type, parts
from headstart.serving.metrics import Metrics
from headstart.serving.models import Answered, LoadedModel, Outcome
from headstart.serving.protocol import EXTENSIONS, Taken
from headstart.serving.refusals import RefusedError, busy, shown
from headstart.serving.sampling import Offered

JSON = "application/json"
MULTIPART = "multipart/form-data"
OCTETS = "application/octet-stream"
HEAD_LENGTH = "Inference-Header-Content-Length"
HINTS = 10  # unknown labels of one request that are compared with the classes
VERDICT_S = 2.0  # for so long a verdict stands; to make one costs a look through the journal
logger = logging.getLogger("headstart.serving")
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def create_app(fleet: Fleet, *, clock: Callable[[], datetime], keys: KeyFile | None = None) -> FastAPI:
    """The application over a fleet; the caller starts and closes the fleet.

    Args:
        fleet: the models.
        clock: the time in the journal, aware.
        keys: of those who may call; None lets everybody.
    """
    app = FastAPIOffline(  # its pages need no network; FastAPI's own ask a content delivery network
        title="headstart",
        version=installed("headstart"),
        description="Raw inputs in, answers out. A refusal has the shape {error: {message, action}}, under /v2 "
        "{error: message}, as the Open Inference Protocol has it.",
        openapi_url="/openapi.json",
        redoc_url=None,
    )
    handlers = Handlers(fleet, clock)
    refusals.install(app)
    app.get("/health", tags=["operation"])(handlers.health)
    app.get("/metrics", tags=["operation"])(handlers.metrics_page)
    app.post("/predict/{name}", tags=["headstart"], **documentation.PREDICT)(
        handlers.counted("predict", handlers.predict)
    )
    app.post("/verify/{name}", tags=["headstart"], **documentation.VERIFY)(handlers.counted("verify", handlers.verify))
    app.post("/feedback/{name}", tags=["headstart"], **documentation.FEEDBACK)(
        handlers.counted("feedback", handlers.feedback)
    )
    for method in (app.get, app.post):
        method("/rollout/{name}/verdict", tags=["operation"], **documentation.VERDICT)(handlers.verdict)
    app.get("/v2", tags=["open inference protocol"])(handlers.server)
    app.get("/v2/health/live", tags=["open inference protocol"])(handlers.live)
    app.get("/v2/health/ready", tags=["open inference protocol"])(handlers.ready)
    app.post("/v2/repository/index", tags=["open inference protocol"])(handlers.index)
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        app.get(path, tags=["open inference protocol"], **documentation.PROTOCOL)(handlers.model)
        app.get(f"{path}/ready", tags=["open inference protocol"], **documentation.PROTOCOL)(handlers.model_ready)
        app.get(f"{path}/config", tags=["open inference protocol"], **documentation.PROTOCOL)(handlers.model_config)
        app.post(f"{path}/infer", tags=["open inference protocol"], **documentation.INFER)(
            handlers.counted("infer", handlers.infer)
        )
    documentation.install(app)
    rates = {name: fleet.slot(name).params.requests_a_minute for name in fleet.names}
    app.add_middleware(Access, keys=keys, a_minute=rates, refused=handlers.refused)
    return app


class Handlers:
    """Where requests arrive: one method an endpoint."""

    def __init__(self, fleet: Fleet, clock: Callable[[], datetime]) -> None:
        self._fleet = fleet
        self._clock = clock
        self._metrics = Metrics(fleet)
        largest = max(fleet.slot(name).params.megabytes for name in fleet.names)
        self._intake = Intake(largest * MEGABYTE)
        self._verifying: set[str] = set()
        self._verdicts: dict[str, tuple[Rollout | None, float, dict[str, Any]]] = {}
        self._judging = {name: asyncio.Lock() for name in fleet.names}
        self.refused = self._metrics.request

    async def health(self) -> Response:
        """200 once every model is warm that can be served; `troubles` says what is wrong and what to do."""
        if cold := self._fleet.cold:
            raise busy(f"Warming up: {', '.join(cold)}.")
        fleet = self._fleet
        document = {
            "ready": fleet.ready,
            "versions": {name: fleet.version(name) for name in fleet.names},
            "bundles": {name: model.bundle for name in fleet.names if (model := fleet.at_work(name))},
            "troubles": fleet.troubles,
            "journal_troubles": {name: fleet.journal(name).health.trouble for name in fleet.names},
        }
        return JSONResponse(document, 200 if fleet.ready else 503)

    async def metrics_page(self) -> Response:
        """Prometheus' text format."""
        return Response(self._metrics.page(), media_type=PROMETHEUS)

    async def server(self) -> Response:
        """What this server is."""
        return JSONResponse({"name": "headstart", "version": installed("headstart"), "extensions": list(EXTENSIONS)})

    async def live(self) -> Response:
        """200 as long as the process answers."""
        return JSONResponse({"live": True})

    async def ready(self) -> Response:
        """200 once every model is warm that can be served."""
        return JSONResponse({"ready": self._fleet.ready}, 200 if self._fleet.ready else 503)

    async def index(self, request: Request) -> Response:
        """Every model, with the version that answers, or why none does."""
        rows = []
        for name in self._fleet.names:
            version, trouble = self._fleet.version(name), self._fleet.troubles.get(name, "")
            state = "READY" if version else "UNAVAILABLE"
            rows.append({"name": name, "version": str(version or ""), "state": state, "reason": trouble})
        return JSONResponse(rows)

    async def model(self, request: Request) -> Response:
        """A model's inputs and outputs."""
        return JSONResponse(protocol.metadata(self._fleet.active(*_target(request)).model))

    async def model_ready(self, request: Request) -> Response:
        """200 once this model is warm."""
        name, version = _target(request)
        return JSONResponse({"name": self._fleet.active(name, version).model.name, "ready": True})

    async def model_config(self, request: Request) -> Response:
        """A model's inputs and outputs, as Triton's clients ask for them."""
        return JSONResponse(protocol.config(self._fleet.active(*_target(request)).model))

    async def predict(self, request: Request) -> Response:
        """Answers to raw inputs: {"inputs": [...]}, or a file each in multipart/form-data."""
        name, _ = _target(request)
        arrived = time.perf_counter()
        slot = self._fleet.slot(name)
        modality = self._fleet.active(name).model.contract.modality
        most = slot.params.items
        kind = _expected(request, JSON, MULTIPART)
        async with self._intake.body(
            request, limit=slot.params.megabytes * MEGABYTE, timeout_s=slot.params.timeout_s
        ) as body:
            given = client = built_for = None
            sent: Sequence[Any]
            if kind == MULTIPART:
                sent = parts(request, body, most=most)
                raw = protocol.raw_parts(sent, modality=modality, most=most)
            else:
                asked = protocol.parse(protocol.PredictRequest, body)
                given, client, built_for, sent = asked.id, asked.client, asked.contract, asked.inputs
                raw = protocol.raw_inputs(sent, modality=modality, most=most)
            id_ = protocol.request_id(given)
            key = self._key(request, client)
            client = protocol.client(client, _user_agent(request))
            built_for = protocol.contract(built_for, request.headers.get(agreement.HEADER))
            order = Order(name, None, id_, sent, raw, client, arrived, contract=built_for, key=key)
            model, outcomes = await self._answer(order)
        return JSONResponse(*protocol.predict_answer(id_, model, outcomes))

    async def verify(self, request: Request) -> Response:
        """How what a client computed from one raw input compares with the contract, and which mistake explains it.

        {"input": a text or a picture in base64, "computed": its tensor, token ids or logits}. Nothing is journalled.
        One comparison a model runs at a time, beside the answers and not among them.
        """
        name, _ = _target(request)
        slot = self._fleet.slot(name)
        model = self._fleet.active(name).model
        timeout_s = slot.params.timeout_s
        _expected(request, JSON)
        header = request.headers.get(agreement.HEADER)
        async with self._intake.body(request, limit=slot.params.megabytes * MEGABYTE, timeout_s=timeout_s) as body:
            if name in self._verifying:
                raise busy(f"Another comparison for {name} is running; one at a time is made.", retry_after_s=2)
            self._verifying.add(name)
            work = asyncio.get_running_loop().run_in_executor(None, _compared, model, body, header, timeout_s)
            work.add_done_callback(partial(self._verified, name))
            try:
                document = await asyncio.wait_for(asyncio.shield(work), 2 * timeout_s)
            except TimeoutError:
                raise busy(f"No comparison within {2 * timeout_s:g} s: too much to do.", retry_after_s=5) from None
        return JSONResponse(document)

    def _verified(self, name: str, work: "asyncio.Future[dict[str, Any]]") -> None:
        """Make room for the next comparison; what this one raised is answered, or its client has left."""
        self._verifying.discard(name)
        if not work.cancelled():
            work.exception()

    async def infer(self, request: Request) -> Response:
        """Answers to raw inputs, by the Open Inference Protocol; its binary extension is spoken, in and out.

        One input that is refused refuses the request: the protocol has no place for errors of single inputs.
        """
        name, version = _target(request)
        arrived = time.perf_counter()
        slot = self._fleet.slot(name)
        modality = self._fleet.active(name, version).model.contract.modality
        _expected(request, "", JSON, OCTETS)  # Triton's client sends no media type
        async with self._intake.body(
            request, limit=slot.params.megabytes * MEGABYTE, timeout_s=slot.params.timeout_s
        ) as body:
            asked, binary = protocol.infer_head(body, request.headers.get(HEAD_LENGTH))
            sent, raw = protocol.infer_inputs(asked, binary, modality=modality, most=slot.params.items)
            id_ = protocol.request_id(asked.id)
            parameters = asked.parameters or {}
            key = self._key(request, parameters.get("client"))
            client = protocol.client(parameters.get("client"), _user_agent(request))
            built_for = protocol.contract(parameters.get("contract"), request.headers.get(agreement.HEADER))
            order = Order(name, version, id_, sent, raw, client, arrived, contract=built_for, whole=True, key=key)
            model, outcomes = await self._answer(order)
        predictions = []
        for outcome in outcomes:
            if isinstance(outcome, ContractError):
                raise refusals.unfit(outcome.message, action=outcome.action)
            predictions.append(outcome.prediction)
        answer, length = protocol.infer_answer(id_, model, predictions, asked)
        if length is None:
            return Response(answer, media_type=JSON)
        return Response(answer, media_type=OCTETS, headers={HEAD_LENGTH: str(length)})

    async def feedback(self, request: Request) -> Response:
        """Labels that came later: {"id", "index", "label"}, or a list of them; ids nobody knows are kept, and said."""
        name, _ = _target(request)
        slot = self._fleet.slot(name)
        known = {normal(label): label for label in self._fleet.active(name).model.contract.labels}
        _expected(request, JSON)
        async with self._intake.body(
            request, limit=slot.params.megabytes * MEGABYTE, timeout_s=slot.params.timeout_s
        ) as body:
            items = protocol.parse_feedback(body, most=slot.params.items)
        wanted: dict[str, int] = {}
        for item in items:
            wanted[item.id] = max(item.index + 1, wanted.get(item.id, 0))
        counts = await asyncio.to_thread(slot.journal.seen.counts, wanted)
        protocol.check_indices(items, counts)
        now = self._clock()
        spelled = [known.get(normal(item.label), normal(item.label) or item.label) for item in items]
        slot.journal.feedback(
            [Label(each.id, each.index, label, now) for each, label in zip(items, spelled, strict=True)]
        )
        new = sorted(set(spelled) - set(known.values()))
        meant = {label: near for label in new[:HINTS] if (near := nearest(label, known.values()))}
        unknown = [one for one, count in counts.items() if count == 0]
        self._metrics.unknown_ids(name, len(unknown))
        return JSONResponse({"accepted": len(items), "new_labels": new, "did_you_mean": meant, "unknown_ids": unknown})

    async def verdict(self, request: Request) -> Response:
        """How the running step of a rollout stands: {`verdict`: pass, fail or unsure, `step`, `findings`, ...}.

        GET answers 200 whatever the verdict is. POST, for webhooks that read the status alone, answers 200 if the
        verdict is pass, or the one that the query `is` names, and else 503.
        """
        name, _ = _target(request)
        journal = self._fleet.slot(name).journal
        rollout = self._fleet.rollouts.get(name)
        if rollout is None:
            raise RefusedError(
                404,
                f"No rollout of {name} is known here.",
                action="One begins when a challenger passes its gates, where `rollout.steps` in params.yaml has any.",
            )
        wanted = request.query_params.get("is", "pass")
        if wanted not in ("pass", "fail", "unsure"):
            raise refusals.unfit(f"is={shown(wanted)} arrived; pass, fail or unsure was expected.")
        async with self._judging[name]:  # it reads the journal: once for everybody who asks at the same time
            judged, since, document = self._verdicts.get(name, (None, 0.0, {}))
            if judged is not rollout or time.monotonic() - since > VERDICT_S:
                try:
                    document = await asyncio.to_thread(rollouts.verdict, journal.folder, rollout, self._clock())
                except HeadstartError as error:
                    raise busy(f"The journal cannot be read: {error.message}", retry_after_s=60) from None
                self._verdicts[name] = (rollout, time.monotonic(), document)
        status = 200 if request.method == "GET" or document["verdict"] == wanted else 503
        return JSONResponse(document, status)

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
            finally:
                self._metrics.request(name if name in self._fleet.names else "unknown", endpoint, status)
            return response

        counting.__name__, counting.__doc__ = endpoint, answer.__doc__
        return counting

    async def _answer(self, order: "Order") -> tuple[LoadedModel, Sequence[Outcome]]:
        """What the version at work says of each input, refusals included; journalled once it is on its way."""
        name = order.name
        timeout_s = self._fleet.slot(name).params.timeout_s
        if not order.accepted:
            model = self._fleet.active(name, order.version).model
            self._require_contract(order, model)
            outcomes = order.merged([])
            self._journal(order, model, [])
        elif by_canary := await self._by_canary(order):
            model, outcomes = by_canary
        else:
            try:
                model, future = self._fleet.submit(
                    name,
                    order.version,
                    order.accepted,
                    partial(self._journal, order),
                    places=order.places,
                    check=partial(self._require_contract, order),
                )
                answered = await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
            except QueueFullError as error:
                raise busy(f"Too much to do: {error.message}") from None
            except TimeoutError:
                raise busy(f"No answer within {timeout_s:g} s: too much to do.", retry_after_s=5) from None
            outcomes = order.merged(answered)
        self._fleet.journal(name).seen.add({order.id: len(order.raw)})  # its label may come before its row is made
        refused = sum(isinstance(outcome, ContractError) for outcome in outcomes)
        odd = sum(isinstance(outcome, Answered) and bool(outcome.warnings) for outcome in outcomes)
        self._metrics.inputs(name, model.version, refused=refused, implausible=odd)
        if refused < len(outcomes) and not (order.whole and refused):
            seconds = time.perf_counter() - order.arrived
            self._metrics.answered(name, model.version, len(outcomes) - refused, seconds)
            if model.role == CHAMPION:
                self._fleet.champion_answered(name, seconds)
        return model, outcomes

    async def _by_canary(self, order: "Order") -> tuple[LoadedModel, Sequence[Outcome]] | None:
        """What the canary says of each input, where it is to answer this request; None where the champion has to.

        That is so too where the canary fails, or is too slow: its client never knows.
        """
        name = order.name
        canary = None if order.version else self._fleet.canary(name, lambda: order.sticky)
        if canary is None or canary.batcher is None:
            return None
        model, patience_s = canary.model, self._fleet.patience_s(name)
        try:
            agreement.require(order.contract, model)
            future = canary.batcher.submit(order.accepted, partial(self._journal, order, model), places=order.places)
            answered = await asyncio.wait_for(asyncio.wrap_future(future), patience_s)
        except (RefusedError, RetiredError):
            return None
        except TimeoutError:
            self._canary_failed(order, canary, f"no answer within {patience_s:.1f} s.", late_s=patience_s)
            return None
        except Exception as error:  # noqa: BLE001 - the batcher logs its traceback, and the champion answers
            self._canary_failed(order, canary, f"{type(error).__name__}: {error}")
            return None
        self._fleet.canary_answered(name, canary, time.perf_counter() - order.arrived)
        return model, order.merged(answered)

    def _canary_failed(self, order: "Order", canary: Candidate, reason: str, *, late_s: float | None = None) -> None:
        """Note that the champion has to answer in the canary's place."""
        self._fleet.canary_failed(order.name, canary, reason, late_s=late_s)
        self._fleet.journal(order.name).record(self._failures(order, canary.model, reason))

    def _require_contract(self, order: "Order", model: LoadedModel) -> None:
        """Refuse a client of another contract; each of its inputs leaves a row that says so.

        Raises:
            RefusedError: as `agreement.require`.
        """
        try:
            agreement.require(order.contract, model)
        except RefusedError as error:
            refusal = ContractError(error.message, action=error.action)
            refused = replace(order, raw=[refusal] * len(order.raw), status=error.status)
            self._fleet.journal(order.name).seen.add({order.id: len(order.raw)})
            self._metrics.inputs(order.name, model.version, refused=len(order.raw), implausible=0)
            self._journal(refused, model, [])
            raise

    def _journal(self, order: "Order", model: LoadedModel, answered: Sequence[Outcome]) -> None:
        """Rows of a request's inputs, made by the worker that finished it: of those that were answered or refused.

        Of a request that was refused for one of its inputs, the others got no answer and leave no row.
        """
        now, latency_ms = self._clock(), 1000 * (time.perf_counter() - order.arrived)
        outcomes = order.merged(answered)
        refused = order.whole and any(isinstance(outcome, ContractError) for outcome in outcomes)
        nothing: dict[str, Any] = {"label": None, "probability": None, "probabilities": None, "properties": {}}
        rows: list[Answer] = []
        measured: list[Offered] = []
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, ContractError):
                said = nothing | {"status": order.status, "reason": outcome.message}
            elif refused:
                continue
            else:
                prediction = outcome.prediction
                if not isinstance(raw := order.raw[index], ContractError):
                    measured.append(Offered(raw, outcome.moments))
                said = {
                    "label": prediction.label,
                    "probability": prediction.probability,
                    "probabilities": prediction.probabilities,
                    "properties": outcome.properties,
                    "features": outcome.features,
                }
            rows.append(
                Answer(
                    request_id=order.id,
                    index=index,
                    time=now,
                    model=order.name,
                    version=model.version,
                    role=model.role,
                    contract=model.contract_hash,
                    latency_ms=latency_ms,
                    raw=order.bytes(index),
                    bundle=model.bundle,
                    client=order.client,
                    **said,
                )
            )
        self._fleet.sample(model, now, measured)
        self._fleet.journal(order.name).record(rows)
        other = self._fleet.copied_to(order.name, model) if measured else None
        if other is not None:
            size = sum(len(each) for each in order.accepted)
            self._fleet.copies[order.name].offer(
                partial(self._copied, order, other), inputs=len(order.accepted), size=size
            )

    def _copied(self, order: "Order", model: LoadedModel) -> bool:
        """Let another version answer a copy of a request, for the journal alone; whether it did."""
        started = time.perf_counter()
        try:
            answered = model.answer(list(zip(order.places, order.accepted, strict=True)))
        except Exception as error:
            logger.exception("%s: version %d failed at a copy of a request", order.name, model.version)
            reason = f"{type(error).__name__}: {error}"
            self._fleet.journal(order.name).record(self._failures(order, model, reason))
            return False
        latency_ms = 1000 * (time.perf_counter() - started)
        rows = []
        for index, outcome in zip(order.places, answered, strict=True):
            if isinstance(outcome, ContractError):
                said: dict[str, Any] = {"status": order.status, "reason": outcome.message}
            else:
                prediction = outcome.prediction
                said = {
                    "label": prediction.label,
                    "probability": prediction.probability,
                    "probabilities": prediction.probabilities,
                }
            rows.append(self._silent(order, index, model, latency_ms, **said))
        self._fleet.journal(order.name).record(rows)
        return True

    def _failures(self, order: "Order", model: LoadedModel, reason: str) -> list[Answer]:
        """Rows of a request that a version of a rollout gave no answer to."""
        latency_ms = 1000 * (time.perf_counter() - order.arrived)
        return [self._silent(order, index, model, latency_ms, status=FAILED, reason=reason) for index in order.places]

    def _silent(self, order: "Order", index: int, model: LoadedModel, latency_ms: float, **said: Any) -> Answer:
        """A row that says what no client was told."""
        nothing: dict[str, Any] = {"label": None, "probability": None, "probabilities": None}
        return Answer(
            request_id=order.id,
            index=index,
            time=self._clock(),
            model=order.name,
            version=model.version,
            role=model.role,
            contract=model.contract_hash,
            latency_ms=latency_ms,
            bundle=model.bundle,
            client=order.client,
            properties={},
            **(nothing | said),
        )

    def _key(self, request: Request, client: Any) -> str | None:
        """What keeps a caller on one version: the header that the rollout names, else the request's own `client`."""
        name, _ = _target(request)
        candidate = self._fleet.candidate(name)
        header = candidate.rollout.key if candidate else None
        return (request.headers.get(header) if header else None) or (client if isinstance(client, str) else None)


@dataclass(frozen=True)
class Order:
    """A request's inputs, on their way to the model and to the journal.

    Attributes:
        version: that was asked for; None for whichever is champion.
        sent: the inputs as they came.
        raw: the inputs as the contract takes them, a refusal where it cannot.
        client: who asks.
        arrived: when, by `time.perf_counter()`.
        contract: hash of the contract that the client was built for; None for any.
        whole: whether one refused input refuses the request.
        status: of a refused input, in the journal.
        key: what keeps its caller on one version in a canary; None where only the inputs can.
    """

    name: str
    version: str | None
    id: str
    sent: Sequence[Any]
    raw: Sequence[Taken]
    client: str | None
    arrived: float
    contract: str | None = None
    whole: bool = False
    status: int = 422
    key: str | None = None

    @cached_property
    def sticky(self) -> str:
        """The same for every request that a canary answers, or does not, alike."""
        return self.key or digest([digest(value) for value in self.accepted])

    @cached_property
    def places(self) -> list[int]:
        """Of the inputs that the model is asked about."""
        return [place for place, value in enumerate(self.raw) if not isinstance(value, ContractError)]

    @cached_property
    def accepted(self) -> list[Raw]:
        """The inputs that the model is asked about."""
        return [value for value in self.raw if not isinstance(value, ContractError)]

    def merged(self, answered: Sequence[Outcome]) -> Sequence[Outcome]:
        """What became of each input: the model's outcome, or the refusal that came before it."""
        if len(self.places) == len(self.raw):
            return answered
        outcomes = iter(answered)
        return [value if isinstance(value, ContractError) else next(outcomes) for value in self.raw]

    def bytes(self, place: int) -> bytes | None:
        """An input's bytes for the journal: a text in UTF-8; as it was sent, where it was refused."""
        value = self.raw[place]
        value = self.sent[place] if isinstance(value, ContractError) else value
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        return value if isinstance(value, bytes) else None


def _compared(model: LoadedModel, body: bytes, header: str | None, limit_s: float) -> dict[str, Any]:
    """The `VerifyResponse` to a request's body; known mistakes are tried for as long as `limit_s`.

    Raises:
        RefusedError: if the body is no `VerifyRequest`, or was made for another contract.
        ContractError: if the contract does not accept the raw input.
    """
    asked = protocol.parse(protocol.VerifyRequest, body)
    agreement.require(protocol.contract(asked.contract, header), model)
    raw = protocol.verify_input(asked, modality=model.contract.modality)
    try:
        return model.compare(raw, asked.computed, limit_s=limit_s).document()
    except BundleError as error:
        logger.error("%s: a comparison is not possible: %s", model.name, error)
        raise busy(f"{model.name} cannot be compared with at present.", retry_after_s=60) from None
    except UsageError as error:
        raise refusals.unfit(error.message, action=error.action) from None


def _user_agent(request: Request) -> str | None:
    return request.headers.get("user-agent")


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
            f"{arrived} arrived; {' or '.join(filter(None, kinds))} was expected.",
            action=f"Set the header Content-Type: {JSON}.",
        )
    return kind
