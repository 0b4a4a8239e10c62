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
from headstart.faults.table import CAUSES, FAULTS, Fault
from headstart.predictor import Preprocessor
from headstart.statistics.two_sample import cliffs_delta

FORMAT = 1
FILE = "signatures.json"
INPUTS = {"text": 200, "image": 70}  # 70 pictures take 16 seconds of one processor for a network of 224 by 224
PIXELS = 160 * 160  # of a picture, on average: properties that show structure are those of its middle 128 by 128
OF_THE_FILE = {"kilobytes"}  # says how a picture was encoded; injectors write PNG, whatever clients write
LEAST_EFFECT = 0.3  # length of a vector of deltas; a signature or window shorter than this says nothing
LEAST_SHARE = 0.2  # of the window that has to be damaged
NOISES = 2.0  # so often the expected noise must a window's deltas exceed that; small windows say less
EXPLAINED = 0.93  # share of the window's squared deltas that a signature has to explain
FORGIVEN = 0.5  # of the expected noise, which no signature explains
APART = 0.05  # by so much more than any signature of another cause
"""Chosen on trec6 and cifar10_jpeg, `EXPLAINED` also on short texts against newsgroups, which look cut; what came of it
stands in `docs/monitoring.md`."""


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
        share: of the window that looks damaged, in (0, 1].
        explained: share of the window's squared deltas that the signature explains.
        signature: the one of its severities that explains most.
    """

    fault: Fault
    share: float
    explained: float
    signature: Signature


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
        of_fault: dict[int, Mapping[str, float]] = {}
        for severity in (1, 5, 2, 3, 4):
            if severity == 2 and of_fault[1] == of_fault[5]:
                break  # a fault without degrees, or one that changes nothing here
            generator = np.random.default_rng(seed)
            after = _columns(preprocessor, [fault.inject(raw, severity, generator) for raw in kept])
            deltas = {name: cliffs_delta(before[name], after[name]) for name in before}
            if deltas not in of_fault.values() or severity == 5:
                of_fault[severity] = deltas
        if of_fault[1] == of_fault[5]:
            del of_fault[5]
        found += [Signature(fault.name, severity, of_fault[severity]) for severity in sorted(of_fault)]
    return found


def match(
    signatures: Sequence[Signature],
    reference: Mapping[str, NDArray[np.float64]],
    window: Mapping[str, NDArray[np.float64]],
) -> list[Match]:
    """The fault that explains how a window's properties moved, and others that explain it as well; the best first.

    Each fault stands in it once. Those with the best one's cause are left out: that cause is named either way. So are
    other changes of the world where the best one is one: whether BatchNorm statistics are to blame shows elsewhere.
    Empty where nothing explains the window.

    Args:
        signatures: of the model.
        reference: its profile's properties.
        window: those of the window, one value an input.
    """
    seen, noise = _moved(reference, window)
    length = sum(delta**2 for delta in seen.values())
    if length < LEAST_EFFECT**2 + NOISES * noise:
        return []
    matches: dict[str, Match] = {}
    for signature in signatures:
        size = sum(signature.deltas.get(name, 0.0) ** 2 for name in seen)
        if size < LEAST_EFFECT**2:
            continue
        found = _share(seen, signature, size)
        residual = sum((delta - found * signature.deltas.get(name, 0.0)) ** 2 for name, delta in seen.items())
        explained = 1.0 - max(0.0, residual - FORGIVEN * noise) / (length - FORGIVEN * noise)
        if found >= LEAST_SHARE and (signature.fault not in matches or explained > matches[signature.fault].explained):
            matches[signature.fault] = Match(FAULTS[signature.fault], found, explained, signature)
    ordered = sorted(matches.values(), key=lambda found: -found.explained)
    if not ordered or ordered[0].explained < EXPLAINED:
        return []
    best = ordered[0]
    rivals = [found for found in ordered[1:] if group(found.fault) != group(best.fault)]
    return [best, *(found for found in rivals if found.explained > best.explained - APART)]


def share(
    found: Match, reference: Mapping[str, NDArray[np.float64]], window: Mapping[str, NDArray[np.float64]]
) -> float:
    """Which share of some of the window's inputs looks damaged as the match says, in [0, 1]."""
    seen, _ = _moved(reference, window)
    return _share(seen, found.signature, sum(found.signature.deltas.get(name, 0.0) ** 2 for name in seen))


def group(fault: Fault) -> str:
    """Which faults are named alike as far as the looks of inputs tell."""
    return "world" if CAUSES[fault.cause].family == "world" else fault.cause


def write(folder: Path, signatures: Sequence[Signature]) -> None:
    """Write `signatures.json` into `folder`."""
    entries = [
        {"fault": each.fault, "severity": each.severity, "deltas": {k: round(v, 4) for k, v in each.deltas.items()}}
        for each in signatures
    ]
    artifacts.write_json(folder / FILE, {"format": FORMAT, "signatures": entries})


def read(folder: Path) -> list[Signature]:
    """The signatures that `write` wrote; none where the bundle was sealed before there were any.

    Those of faults that the table does not have (any more) are left out.
    """
    if not (folder / FILE).is_file():
        return []
    document = documents.read(folder / FILE)
    documents.check_format(document, FORMAT, str(folder / FILE))
    entries = [each for each in document["signatures"] if each["fault"] in FAULTS]
    return [Signature(each["fault"], int(each["severity"]), each["deltas"]) for each in entries]


def _columns(preprocessor: Preprocessor, inputs: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Properties as columns; inputs that the contract refuses once damaged are left out."""
    rows = []
    for raw in inputs:
        try:
            rows += preprocessor.properties([raw])
        except ContractError:
            continue
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in (rows[0] if rows else {})}


def _moved(
    reference: Mapping[str, NDArray[np.float64]], window: Mapping[str, NDArray[np.float64]]
) -> tuple[dict[str, float], float]:
    """The delta of each property, and their expected squared length where nothing changed: `(n + m + 1) / 3 n m` each.

    Ties make it less.
    """
    names = sorted(name for name in reference if name in window and name not in OF_THE_FILE)
    noise = 0.0
    for name in names:
        n, m = (int(np.isfinite(side[name]).sum()) for side in (reference, window))
        noise += (n + m + 1) / (3 * n * m) if n and m else 0.0
    return {name: cliffs_delta(reference[name], window[name]) for name in names}, noise


def _share(seen: Mapping[str, float], signature: Signature, size: float) -> float:
    """The least squares share of the signature in the deltas."""
    along = sum(delta * signature.deltas.get(name, 0.0) for name, delta in seen.items())
    return min(1.0, max(0.0, along / size)) if size else 0.0
