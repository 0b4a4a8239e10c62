"""One version of a model, loaded: what the server asks, how it answers a batch, and whether it answers as it should."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart import bundle as bundles
from headstart import profile
from headstart.batchnorm.instrumented import Instrumented
from headstart.contract.spec import Contract
from headstart.errors import BundleError, ContractError, UsageError
from headstart.evaluation import golden
from headstart.evaluation.gates import replay
from headstart.evaluation.golden import Golden
from headstart.faults import clients
from headstart.faults.clients import Comparison
from headstart.findings import Finding
from headstart.predictor import Outputs, Prediction, Predictor
from headstart.serving.batching import Raw
from headstart.serving.plausibility import Plausibility


class Examining(Protocol):
    """What the server needs of a `predictor.Preprocessor`."""

    def examine(self, raw: Sequence[Any], *, first: int = 0) -> list[tuple[NDArray[Any], dict[str, float]]]: ...


class Answering(Protocol):
    """What the server needs of a `predictor.Predictor`; called by several threads at once."""

    @property
    def contract(self) -> Contract: ...

    @property
    def preprocessor(self) -> Examining: ...

    def run(self, items: Sequence[NDArray[Any]]) -> Outputs: ...

    def predictions(self, logits: NDArray[np.floating[Any]]) -> list[Prediction]: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model said of one input.

    Attributes:
        features: what the network computed before its head, `(width,)`.
        properties: of the input, by name.
        warnings: what is odd about the input, a sentence each.
        moments: of what entered the network's layers, `(2, channels)`; None where it does not say.
    """

    prediction: Prediction
    features: NDArray[np.float32]
    properties: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    moments: NDArray[np.float32] | None = None


Outcome = Answered | ContractError


def incomparable(raw: Raw, computed: Any, *, limit_s: float) -> Comparison:
    """What a version without a bundle says to a client that asks for a comparison."""
    raise UsageError("this version has no contract at hand to compare with.", action="Try again later.")


@dataclass(frozen=True)
class LoadedModel:
    """A version that can answer.

    Attributes:
        version: its number in the registry.
        predictor: with one thread a run; the server has several workers.
        golden: raw inputs and the answers that the version must give before it takes traffic.
        difference_allowed: the largest difference of one probability from a golden answer.
        bundle: SHA-256 of the bundle's manifest.
        plausibility: says what is odd about an input.
        role: `champion`, `canary` or `shadow`, for the journal.
        earlier: contracts of other registered versions by their short hash, to say what differs to a client of theirs.
        compare: holds what a client computed from a raw input against what the contract computes.
        instrumented: measures what enters its BatchNorms; None where it has none.
    """

    name: str
    version: int
    predictor: Answering
    golden: Golden
    difference_allowed: float
    bundle: str = ""
    plausibility: Plausibility = field(default_factory=lambda: Plausibility({}))
    role: str = "champion"
    earlier: Mapping[str, Contract] = field(default_factory=dict)
    compare: Callable[..., Comparison] = incomparable
    instrumented: Instrumented | None = None

    @classmethod
    def open(
        cls,
        name: str,
        version: int,
        bundle: Path,
        *,
        difference_allowed: float,
        earlier: Mapping[str, Contract] | None = None,
    ) -> "LoadedModel":
        """A registered version from its bundle, every file compared with the manifest first.

        Raises:
            BundleError: if the bundle is incomplete, altered, inconsistent, or of another format.
        """
        digest = bundles.manifest_hash(bundle)
        predictor = Predictor.load(bundle, threads=1)
        plausibility = Plausibility.of(profile.read(bundle))
        return cls(
            name,
            version,
            predictor,
            golden.read(bundle),
            difference_allowed,
            digest,
            plausibility,
            earlier=earlier or {},
            compare=partial(clients.compare, bundle, predictor),
            instrumented=Instrumented.load(bundle, predictor.preprocessor, threads=1),
        )

    @property
    def contract(self) -> Contract:
        return self.predictor.contract

    @cached_property
    def contract_hash(self) -> str:
        """The contract's short hash, computed once: every answer carries it."""
        return self.contract.hash

    def answer(self, inputs: Sequence[tuple[int, Raw]]) -> list[Outcome]:
        """One answer, or the contract's refusal, for each input; an input comes with its place in its request."""
        outcomes: list[Outcome | None] = []
        items, described, odd = [], [], []
        for place, raw in inputs:
            try:
                ((item, properties),) = self.predictor.preprocessor.examine([raw], first=place)
            except ContractError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
                items.append(item)
                described.append(properties)
                odd.append(self.plausibility.warnings(raw, properties))
        if not items:
            return [outcome for outcome in outcomes if outcome is not None]
        logits, features, moments = self.predictor.run(items)
        measured = [None] * len(items) if moments is None else moments
        answered = iter(map(Answered, self.predictor.predictions(logits), features, described, odd, measured))
        return [next(answered) if outcome is None else outcome for outcome in outcomes]

    def replay(self) -> Finding:
        """Whether the golden inputs, sent the way requests go, get the answers that are expected of them.

        It warms the version up, too: the first client does not pay for what is done only once.
        """
        classes = len(self.contract.labels)
        if self.golden.probabilities.shape[1] != classes:
            compared = None
        else:
            try:
                compared = golden.compare(self.golden, self._predictions)
            except ContractError as error:
                reason = f"The contract refuses a golden example: {error.message}"
                return Finding(replay.CHECK, "fail", None, self.difference_allowed, reason, replay.ACTION)
        return replay.judge(compared, self.difference_allowed)

    def require_golden_answers(self) -> None:
        """Refuse a version that does not give its golden answers.

        Raises:
            BundleError: saying what differs.
        """
        found = self.replay()
        if found.verdict != "pass":
            raise BundleError(f"{self.name} version {self.version}: {found.reason}", action=found.action)

    def _predictions(self, raw: Sequence[Raw]) -> list[Prediction]:
        predictions = []
        for outcome in self.answer(list(enumerate(raw))):
            if isinstance(outcome, ContractError):
                raise outcome
            predictions.append(outcome.prediction)
        return predictions
