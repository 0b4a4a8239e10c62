"""The door to onnxruntime: raw inputs in, predictions out; training, evaluation, server and monitor all come here.

>>> predictor = Predictor.load(Path("bundle"))
>>> predictor.predict(["a text", "another"])[0].label
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as refusals

from headstart import determinism
from headstart.bundle import CALIBRATION, MODEL, Bundle, Calibration
from headstart.contract import documents, spec, text
from headstart.contract.inputs import Examined, Inputs, Item, Pictures, Texts
from headstart.contract.spec import PREPROCESS_FILE, TOKENIZER_FILE, Contract, TextSpec
from headstart.errors import BundleError, ContractError
from headstart.layer_statistics import Layers

LOGITS, FEATURES, MOMENTS = "logits", "features", "moments"
INPUTS = {"text": {"input_ids", "attention_mask"}, "image": {"pixel_values"}}
UNREADABLE = (
    refusals.Fail,
    refusals.InvalidArgument,
    refusals.InvalidGraph,
    refusals.InvalidProtobuf,
    refusals.NoSuchFile,
    refusals.NotImplemented,
    refusals.RuntimeException,
)
UNANSWERED = (refusals.Fail, refusals.InvalidArgument, refusals.NotImplemented, refusals.RuntimeException)
"""What `Predictor.run` raises where a graph does not take a batch: it is a fault of the file, not of the inputs."""


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Attributes:
        label: the most probable class.
        probability: its probability, after calibration.
        probabilities: one a class, in the contract's order.
        abstained: the probability lies below the calibration's `abstain_below`: better ask a person.
    """

    label: str
    probability: float
    probabilities: tuple[float, ...]
    abstained: bool = False


class Outputs(NamedTuple):
    """What a network gives for inputs.

    Attributes:
        logits: before calibration, `(n, classes)`.
        features: what it computed before its head, `(n, width)`.
        moments: mean and mean square of each channel that enters its `Predictor.layers`, `(n, 2, channels)`; None where
            the file gives none.
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    moments: NDArray[np.float32] | None


class Preprocessor:
    """Raw inputs become what the network takes, by the contract in a folder; safe to use from several threads."""

    def __init__(self, contract: Contract, inputs: Inputs) -> None:
        self.contract = contract
        self._inputs = inputs

    @classmethod
    def load(cls, folder: Path, *, threads: int | None = None) -> "Preprocessor":
        """The preprocessor of the contract in `folder` (a contract's or a bundle's).

        Args:
            folder: holds `contract.json` beside `tokenizer.json` or `preprocess.onnx`.
            threads: pictures prepared at once; `determinism.threads()` where not given.

        Raises:
            BundleError: if a file is absent, altered, unreadable, or of another format.
        """
        contract = spec.read(folder)
        if isinstance(contract.input, TextSpec):
            tokenizer_json = _existing(folder / TOKENIZER_FILE).read_bytes().decode("utf-8", "replace")
            return cls(contract, Texts(text.Encoder(contract.input, tokenizer_json)))
        graph = session(folder / PREPROCESS_FILE, threads=1)

        def tensor(levels: NDArray[np.uint8]) -> NDArray[np.float32]:
            result: NDArray[np.float32] = graph.run(None, {"image": levels})[0]
            return result

        return cls(contract, Pictures(contract.input, tensor, threads=threads or determinism.threads()))

    def check(self, raw: Sequence[Any], *, first: int = 0) -> None:
        """Refuse the first input that the contract does not accept; nothing is kept.

        Pictures are decoded for it: an intact header says nothing about the rest.

        Raises:
            ContractError: its `index` is the input's place plus `first`.
        """
        _require_list(raw)
        for index, value in enumerate(raw, first):
            self._inputs.accept(value, index)

    def prepare(self, raw: Sequence[Any], *, first: int = 0) -> list[Item]:
        """One item an input, in order: token ids cut but not padded, or a picture's tensor.

        Raises:
            ContractError: if an input is refused; its `index` is the input's place plus `first`.
        """
        _require_list(raw)
        return [item for item, _ in self._inputs.examine(raw, first=first, describe=False)]

    def properties(self, raw: Sequence[Any]) -> list[dict[str, float]]:
        """What monitors watch of each input, in order; the names are those of `contract.properties`.

        Raises:
            ContractError: as `prepare`.
        """
        return [described for _, described in self.examine(raw)]

    def examine(self, raw: Sequence[Any], *, first: int = 0) -> list[Examined]:
        """`prepare` and `properties` in one go: a server decodes each input once.

        Raises:
            ContractError: as `prepare`.
        """
        _require_list(raw)
        return self._inputs.examine(raw, first=first, describe=True)

    def collate(self, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """One batch for the network: `input_ids` and `attention_mask` padded to the longest, or `pixel_values`."""
        return self._inputs.collate(items)


class Predictor:
    """An exported network under its contract and calibration; safe to use from several threads.

    Attributes:
        layers: those whose inputs the network measures with every answer; None where it measures none.
    """

    def __init__(self, session: ort.InferenceSession, preprocessor: Preprocessor, calibration: Calibration) -> None:
        self.preprocessor = preprocessor
        self.calibration = calibration
        self._session = session
        self.layers = Layers.of_model(session.get_modelmeta().custom_metadata_map)
        self._widths = _widths(session, preprocessor.contract, calibration)
        self._names = [LOGITS, FEATURES, *([MOMENTS] if self.layers else [])]

    @classmethod
    def load(cls, bundle: Path, *, threads: int | None = None) -> "Predictor":
        """The predictor of a sealed bundle; every file is compared with the manifest first.

        Args:
            bundle: the folder.
            threads: of one run; `determinism.threads()` where not given.

        Raises:
            BundleError: if the bundle is incomplete, altered, inconsistent, or of another format.
        """
        sealed = Bundle.open(bundle)
        sealed.verify()
        calibration = Calibration.from_document(documents.read(sealed.path(CALIBRATION)))
        return cls.open(model=sealed.path(MODEL), contract=bundle, calibration=calibration, threads=threads)

    @classmethod
    def open(cls, *, model: Path, contract: Path, calibration: Calibration, threads: int | None = None) -> "Predictor":
        """A predictor from parts, before there is a bundle.

        Args:
            model: the exported network.
            contract: the folder that `contract.spec.write` wrote.
            calibration: `Calibration.identity(classes)` where none was fitted.
            threads: of one run; `determinism.threads()` where not given.

        Raises:
            BundleError: if a file is absent or unreadable, or the parts do not belong together.
        """
        count = threads or determinism.threads()
        preprocessor = Preprocessor.load(contract, threads=count)
        return cls(session(model, threads=count), preprocessor, calibration)

    @property
    def contract(self) -> Contract:
        return self.preprocessor.contract

    @property
    def labels(self) -> tuple[str, ...]:
        return self.contract.labels

    def predict(self, raw: Sequence[Any]) -> list[Prediction]:
        """One prediction an input, in order; none for none.

        Raises:
            ContractError: if an input is refused.
        """
        return self.predictions(self.logits(raw))

    def predictions(self, logits: NDArray[np.floating[Any]]) -> list[Prediction]:
        """What logits `(n, classes)` say, after calibration; of equally probable classes the first."""
        shares = self.probabilities(logits)
        answers = []
        for row, best in zip(shares, shares.argmax(axis=1) if len(shares) else (), strict=True):
            probability = float(row[best])
            abstained = probability < self.calibration.abstain_below
            answers.append(Prediction(self.labels[best], probability, tuple(row.tolist()), abstained))
        return answers

    def logits(self, raw: Sequence[Any], *, batch_size: int = 32) -> NDArray[np.float32]:
        """Logits before calibration, `(n, classes)`, in the order of the inputs.

        Raises:
            ContractError: if an input is refused.
        """
        return self.outputs(raw, batch_size=batch_size).logits

    def outputs(self, raw: Sequence[Any], *, batch_size: int = 32) -> Outputs:
        """What the network gives, in the order of the inputs.

        Texts are run in order of length, so that little is padded; of pictures no more than a batch is held.

        Raises:
            ContractError: if an input is refused.
        """
        _require_list(raw)
        found = self._empty(len(raw))
        at_once = batch_size if self.contract.modality == "image" else max(1, len(raw))
        for first in range(0, len(raw), at_once):
            items = self.preprocessor.prepare(raw[first : first + at_once], first=first)
            order = sorted(range(len(items)), key=lambda place: items[place].shape[0])
            for start in range(0, len(order), batch_size):
                places = order[start : start + batch_size]
                rows = [first + place for place in places]
                for whole, part in zip(found, self.run([items[place] for place in places]), strict=True):
                    if whole is not None:
                        whole[rows] = part
        return found

    def run(self, items: Sequence[Item]) -> Outputs:
        """What the network gives for one batch that is already prepared."""
        if not items:
            return self._empty(0)
        logits, features, *moments = self._session.run(self._names, self.preprocessor.collate(items))
        return Outputs(logits, features, moments[0] if moments else None)

    def probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Calibrated probabilities `(n, classes)` of logits of that shape."""
        return self.calibration.apply(logits)

    def _empty(self, rows: int) -> Outputs:
        logits, features = (np.zeros((rows, width), dtype=np.float32) for width in self._widths)
        moments = None if self.layers is None else np.zeros((rows, 2, self.layers.channels), dtype=np.float32)
        return Outputs(logits, features, moments)


def session(path: Path, *, threads: int | None = None) -> ort.InferenceSession:
    """A graph ready to run: on a CUDA device where onnxruntime has one, else on the CPU.

    Threads don't spin between runs: they would take the cores from the other sessions of a server.

    Args:
        path: the file.
        threads: of one run; `determinism.threads()` where not given.

    Raises:
        BundleError: if the file is absent or unreadable.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or determinism.threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; they are raised as well
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in ort.get_available_providers()]
    try:
        return ort.InferenceSession(str(_existing(path)), sess_options=options, providers=providers)
    except UNREADABLE as error:
        raise BundleError(f"{path} cannot be loaded: {error}", action=documents.REBUILD) from error


def _widths(session: ort.InferenceSession, contract: Contract, calibration: Calibration) -> tuple[int, int]:
    """How many logits and features the graph gives; refused where the parts do not belong together."""
    expected = INPUTS[contract.modality]
    if (arrived := {each.name for each in session.get_inputs()}) != expected:
        raise BundleError(
            f"{MODEL} takes {sorted(arrived)}; the contract is for {contract.modality}: {sorted(expected)}.",
            action=documents.REBUILD,
        )
    shapes = {each.name: each.shape for each in session.get_outputs()}
    if missing := {LOGITS, FEATURES} - set(shapes):
        raise BundleError(f"{MODEL} gives {sorted(shapes)}; it lacks {sorted(missing)}.", action=documents.REBUILD)
    classes, width = shapes[LOGITS][-1], shapes[FEATURES][-1]
    if not isinstance(classes, int) or not isinstance(width, int):
        raise BundleError(f"{MODEL} gives logits {shapes[LOGITS]} and features {shapes[FEATURES]} of no fixed width.")
    for name, count in (("contract", len(contract.labels)), ("calibration", len(calibration.bias))):
        if count != classes:
            raise BundleError(f"{MODEL} has {classes} classes, the {name} {count}.", action=documents.REBUILD)
    return classes, width


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise BundleError(f"{path} does not exist.", action=documents.REBUILD)
    return path


def _require_list(raw: object) -> None:
    """Refuse one bare input: a string is a sequence too, of letters."""
    if isinstance(raw, str | bytes):
        raise ContractError(f"expected a list of inputs; got one {type(raw).__name__}.", action="Put it into a list.")
