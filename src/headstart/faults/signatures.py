"""What each fault of inputs looks like to this model's monitor, so that a window that alarms can be given its name.

Every injector is applied to reference inputs, and the change of every input property is kept: its signature, one
Cliff's delta a property. A window's own deltas are held against all of them. Deltas are linear in mixtures, so a window
of which a part is damaged lies on the line from "nothing changed" to the signature, and the best share is found too.

    reference inputs ── injector, severity ──► properties ──► delta against the undamaged    signatures.json
    window           ────────────────────────► properties ──► delta against the profile  ──► nearest signature, or none
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts
from headstart.contract import documents
from headstart.errors import ContractError
from headstart.faults import images
from headstart.faults.table import FAULTS, Fault
from headstart.predictor import Preprocessor
from headstart.statistics.two_sample import cliffs_delta

FORMAT = 1
FILE = "signatures.json"
SEVERITIES = (1, 2, 3, 4, 5)
INPUTS = {"text": 200, "image": 70}  # 70 pictures take 16 seconds of one processor for a network of 224 by 224
PIXELS = 160 * 160  # of a picture, on average: properties that show structure are those of its middle 128 by 128
LEAST_EFFECT = 0.3  # length of a vector of deltas; a signature or window shorter than this says nothing
LEAST_SHARE = 0.2  # of the window that has to be damaged
EXPLAINED = 0.9  # share of the window's squared deltas that a signature has to explain
APART = 0.05  # by so much more than any signature of another cause


@dataclass(frozen=True)
class Signature:
    """What one fault does to the properties.

    Attributes:
        fault: its name in the table.
        severity: 1 to 5.
        deltas: by property, each in [-1, 1].
    """

    fault: str
    severity: int
    deltas: Mapping[str, float]


@dataclass(frozen=True)
class Match:
    """The fault whose signature a window bears.

    Attributes:
        fault: from the table.
        severity: of the signature.
        share: of the window that looks damaged, in (0, 1].
        explained: share of the window's squared deltas that the signature explains.
    """

    fault: Fault
    severity: int
    share: float
    explained: float


def build(preprocessor: Preprocessor, inputs: Sequence[Any], *, seed: int) -> list[Signature]:
    """The signatures of every input fault of the preprocessor's modality.

    Args:
        preprocessor: the contract's.
        inputs: undamaged raw inputs; at most `INPUTS` of them are used, and of large pictures only the middle.
        seed: of the injectors.
    """
    modality = preprocessor.contract.modality
    kept = [inputs[row] for row in np.random.default_rng(seed).permutation(len(inputs))[: INPUTS[modality]]]
    if modality == "image":
        kept = images.middles(kept, PIXELS)
    before = _columns(preprocessor, kept)
    found: list[Signature] = []
    for fault in FAULTS.values():
        if fault.target != modality:
            continue
        for severity in SEVERITIES:
            generator = np.random.default_rng(seed)
            after = _columns(preprocessor, [fault.inject(raw, severity, generator) for raw in kept])
            deltas = {name: cliffs_delta(before[name], after[name]) for name in before}
            signature = Signature(fault.name, severity, deltas)
            if found and found[-1].fault == fault.name and found[-1].deltas == deltas:
                break  # a fault without degrees
            found.append(signature)
    return found


def match(
    signatures: Sequence[Signature],
    reference: Mapping[str, NDArray[np.float64]],
    window: Mapping[str, NDArray[np.float64]],
) -> Match | None:
    """The fault that explains how a window's properties moved; None where none does, or several with other causes do.

    Args:
        signatures: of the model.
        reference: its profile's properties.
        window: those of the window, one value an input.
    """
    names = sorted(name for name in reference if name in window)
    seen = np.array([cliffs_delta(reference[name], window[name]) for name in names])
    length = float(seen @ seen)
    noise = _noise(reference, window, names)
    if length < LEAST_EFFECT**2 + noise:
        return None
    matches = []
    for signature in signatures:
        expected = np.array([signature.deltas.get(name, 0.0) for name in names])
        size = float(expected @ expected)
        if size < LEAST_EFFECT**2:
            continue
        share = min(1.0, max(0.0, float(seen @ expected) / size))
        residual = max(0.0, float(((seen - share * expected) ** 2).sum()) - noise)
        explained = 1.0 - residual / (length - noise)
        matches.append(Match(FAULTS[signature.fault], signature.severity, share, explained))
    matches.sort(key=lambda found: -found.explained)
    if not matches or matches[0].explained < EXPLAINED or matches[0].share < LEAST_SHARE:
        return None
    best = matches[0]
    rivals = [found.explained for found in matches if found.fault.cause != best.fault.cause]
    return None if rivals and max(rivals) > best.explained - APART else best


def write(folder: Path, signatures: Sequence[Signature]) -> None:
    """Write `signatures.json` into `folder`."""
    entries = [
        {"fault": each.fault, "severity": each.severity, "deltas": {k: round(v, 4) for k, v in each.deltas.items()}}
        for each in signatures
    ]
    artifacts.write_json(folder / FILE, {"format": FORMAT, "signatures": entries})


def read(folder: Path) -> list[Signature]:
    """The signatures that `write` wrote; none where the bundle was sealed before there were any."""
    if not (folder / FILE).is_file():
        return []
    document = documents.read(folder / FILE)
    documents.check_format(document, FORMAT, str(folder / FILE))
    return [Signature(each["fault"], int(each["severity"]), each["deltas"]) for each in document["signatures"]]


def _columns(preprocessor: Preprocessor, inputs: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Properties as columns; inputs that the contract refuses once damaged are left out."""
    rows = []
    for raw in inputs:
        try:
            rows += preprocessor.properties([raw])
        except ContractError:
            continue
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in (rows[0] if rows else {})}


def _noise(
    reference: Mapping[str, NDArray[np.float64]], window: Mapping[str, NDArray[np.float64]], names: Sequence[str]
) -> float:
    """Expected squared length of the deltas where nothing changed: `(n + m + 1) / 3 n m` each, less with ties."""
    total = 0.0
    for name in names:
        n, m = np.isfinite(reference[name]).sum(), np.isfinite(window[name]).sum()
        total += (n + m + 1) / (3 * n * m) if n and m else 0.0
    return float(total)
