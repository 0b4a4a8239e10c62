"""One version of a model, loaded: what the server asks, and how it answers a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.contract.spec import Contract
from headstart.errors import ContractError
from headstart.evaluation import golden
from headstart.predictor import Prediction, Predictor
from headstart.serving.batching import Raw


class Examining(Protocol):
    """What the server needs of a `predictor.Preprocessor`."""

    def examine(self, raw: Sequence[Any], *, first: int = 0) -> list[tuple[NDArray[Any], dict[str, float]]]: ...


class Answering(Protocol):
    """What the server needs of a `predictor.Predictor`; called by several threads at once."""

    @property
    def contract(self) -> Contract: ...

    @property
    def preprocessor(self) -> Examining: ...

    def run(self, items: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def predictions(self, logits: NDArray[np.floating[Any]]) -> list[Prediction]: ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model said of one input.

    Attributes:
        features: what the network computed before its head, `(width,)`.
        properties: of the input, by name.
    """

    prediction: Prediction
    features: NDArray[np.float32]
    properties: Mapping[str, float]


@dataclass(frozen=True)
class LoadedModel:
    """A version that can answer.

    Attributes:
        version: its number in the registry.
        predictor: with one thread a run; the server has several workers.
        examples: raw inputs that are answered before the version is called warm: the bundle's golden ones.
        role: `champion`, or what else it is to the journal.
    """

    name: str
    version: int
    predictor: Answering
    examples: tuple[Raw, ...]
    role: str = "champion"

    @classmethod
    def open(cls, name: str, version: int, bundle: Path) -> "LoadedModel":
        """A registered version from its bundle, every file compared with the manifest first.

        Raises:
            BundleError: if the bundle is incomplete, altered, inconsistent, or of another format.
        """
        predictor = Predictor.load(bundle, threads=1)
        return cls(name, version, predictor, tuple(golden.read(bundle).inputs))

    @property
    def contract(self) -> Contract:
        return self.predictor.contract

    @cached_property
    def contract_hash(self) -> str:
        """The contract's short hash, computed once: every answer carries it."""
        return self.contract.hash

    def answer(self, inputs: Sequence[tuple[int, Raw]]) -> list[Answered | ContractError]:
        """One answer, or the contract's refusal, for each input; an input comes with its place in its request."""
        outcomes: list[Answered | ContractError | None] = []
        items, described = [], []
        for place, raw in inputs:
            try:
                ((item, properties),) = self.predictor.preprocessor.examine([raw], first=place)
            except ContractError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
                items.append(item)
                described.append(properties)
        if not items:
            return [outcome for outcome in outcomes if outcome is not None]
        logits, features = self.predictor.run(items)
        answered = iter(map(Answered, self.predictor.predictions(logits), features, described))
        return [next(answered) if outcome is None else outcome for outcome in outcomes]

    def warm(self) -> None:
        """Answer the examples, so that the first client does not pay for what is done only once.

        Raises:
            ContractError: if the contract refuses an example: then the bundle does not fit itself.
        """
        for outcome in self.answer(list(enumerate(self.examples))):
            if isinstance(outcome, ContractError):
                raise outcome
