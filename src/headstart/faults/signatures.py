"""What each fault of inputs looks like to this model's monitor, so that a window that alarms can be given its name.

Every injector is applied to reference inputs, and the change of every input property is kept: its signature, one
Cliff's delta a property. A window's own deltas are held against all of them, in standard errors. Deltas are linear in
mixtures, so a window of which a part is damaged lies on the line from "nothing changed" to the signature, and the best
share is found too.

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
from headstart.contract.spec import TextSpec
from headstart.errors import ContractError
from headstart.faults import corpus, images, texts
from headstart.faults.table import CAUSES, FAULTS, Fault
from headstart.predictor import Preprocessor
from headstart.statistics.two_sample import cliffs_delta

FORMAT, READABLE = 2, (1, 2)
FILE = "signatures.json"
INPUTS = {"text": 200, "image": 70}  # 70 pictures take 16 seconds of one processor for a network of 224 by 224
PIXELS = 160 * 160  # of a picture, on average: properties that show structure are those of its middle 128 by 128
OF_THE_FILE = {"kilobytes"}  # says how a picture was encoded; injectors write PNG, whatever clients write
ERASERS = (texts.lower_cased,)  # what many tokenizers do first; each erases a property
LEAST_SHARE = 0.2  # of the window that has to be damaged
SEEN = 4.0  # squared standard errors a property, on average, by which a window must differ before anything is said
TOLD = 25.0  # squared standard errors in all that a fault would move a window like this: less could not be told
EXPLAINED = 0.93  # share of the window's squared deltas, in standard errors, that a signature has to explain
ENOUGH = 0.85  # likewise where what is left unexplained is no more than is passed over in a window (`SEEN`)
APART = 0.05  # by so much more than any signature of another cause
STEADY = 0.1  # of the variance without ties, at least: values that hardly ever differ would outweigh all others
"""`EXPLAINED` was chosen on trec6 and cifar10_jpeg, also on short texts against newsgroups, which look cut, `ENOUGH` on
trec6; the others were set before anything was measured. What came of it stands in `docs/monitoring.md`."""


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
        explained: share of the window's squared deltas, in standard errors, that the signature explains.
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
    seen, errors = _moved(reference, window)
    length, free = float((seen**2).sum()), len(errors)
    if length <= SEEN * free:
        return []
    matches, left = dict[str, Match](), dict[str, float]()
    for signature in signatures:
        along = _expected(signature, errors)
        if (size := float((along**2).sum())) < TOLD:
            continue
        found = min(1.0, max(0.0, float(along @ seen) / size))
        residual = float(((seen - found * along) ** 2).sum())
        explained = 1.0 - max(0.0, residual - free) / (length - free)
        if found >= LEAST_SHARE and (signature.fault not in matches or explained > matches[signature.fault].explained):
            matches[signature.fault] = Match(FAULTS[signature.fault], found, explained, signature)
            left[signature.fault] = residual
    ordered = sorted(matches.values(), key=lambda found: -found.explained)
    if not ordered:
        return []
    best = ordered[0]
    if best.explained < (ENOUGH if left[best.fault.name] <= SEEN * free else EXPLAINED):
        return []
    rivals = [found for found in ordered[1:] if group(found.fault) != group(best.fault)]
    return [best, *(found for found in rivals if found.explained > best.explained - APART)]


def share(
    found: Match, reference: Mapping[str, NDArray[np.float64]], window: Mapping[str, NDArray[np.float64]]
) -> float:
    """Which share of some of the window's inputs looks damaged as the match says, in [0, 1]."""
    seen, errors = _moved(reference, window)
    along = _expected(found.signature, errors)
    size = float((along**2).sum())
    return min(1.0, max(0.0, float(along @ seen) / size)) if size else 0.0


def group(fault: Fault) -> str:
    """Which faults are named alike as far as the looks of inputs tell."""
    return "world" if CAUSES[fault.cause].family == "world" else fault.cause


def unseen(preprocessor: Preprocessor, inputs: Sequence[Any], *, seed: int) -> list[str]:
    """Properties of inputs that cannot reach the network, whatever they are, besides `OF_THE_FILE`.

    Shown by erasing one, as `lower_cased` erases capitals: what the network takes stays the same for every input, and
    the property, which differed, becomes the same for all, hard inputs included. So the network answers by what is left
    of an input, and other properties describe that. A property that can be changed without the network's noticing, as
    the share of spaces where a tokenizer takes several for one, but not erased is not unseen: words depend on it.

    Args:
        preprocessor: the contract's.
        inputs: undamaged raw inputs; at most `INPUTS` of them are used.
        seed: of their choice.
    """
    if not isinstance(form := preprocessor.contract.input, TextSpec):
        return []
    kept = [inputs[row] for row in np.random.default_rng(seed).permutation(len(inputs))[: INPUTS["text"]]]
    generator, found = np.random.default_rng(seed), set[str]()
    for erase in ERASERS:
        erased = [erase(raw, 1, generator) for raw in kept]
        pairs = zip(preprocessor.prepare(kept), preprocessor.prepare(erased), strict=True)
        if all(np.array_equal(before, after) for before, after in pairs):
            hard = list(corpus.texts(form.max_characters).values())
            before = _columns(preprocessor, [*kept, *hard])
            after = _columns(preprocessor, [*erased, *(erase(raw, 1, generator) for raw in hard)])
            found |= {name for name in before if np.ptp(before[name]) > 0 and np.ptp(after[name]) == 0}
    return sorted(found)


def write(folder: Path, signatures: Sequence[Signature], *, unseen: Sequence[str] = ()) -> None:
    """Write `signatures.json` into `folder`, with the properties that cannot reach the network."""
    entries = [
        {"fault": each.fault, "severity": each.severity, "deltas": {k: round(v, 4) for k, v in each.deltas.items()}}
        for each in signatures
    ]
    artifacts.write_json(folder / FILE, {"format": FORMAT, "signatures": entries, "unseen": list(unseen)})


def seal(folder: Path, preprocessor: Preprocessor, inputs: Sequence[Any], *, seed: int) -> None:
    """Find and write both for reference inputs."""
    write(folder, build(preprocessor, inputs, seed=seed), unseen=unseen(preprocessor, inputs, seed=seed))


def read(folder: Path) -> list[Signature]:
    """The signatures that `write` wrote; none where the bundle was sealed before there were any.

    Those of faults that the table does not have (any more) are left out.
    """
    if (document := _document(folder)) is None:
        return []
    entries = [each for each in document["signatures"] if each["fault"] in FAULTS]
    return [Signature(each["fault"], int(each["severity"]), each["deltas"]) for each in entries]


def read_unseen(folder: Path) -> frozenset[str]:
    """Properties that cannot reach the network: those of the file alone where the bundle does not say which."""
    document = _document(folder) or {}
    return frozenset({*OF_THE_FILE, *document.get("unseen", ())})  # format 1 has none


def _document(folder: Path) -> Mapping[str, Any] | None:
    if not (folder / FILE).is_file():
        return None
    document = documents.read(folder / FILE)
    documents.check_format(document, READABLE, str(folder / FILE))
    return document


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
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """The delta of each property in standard errors, and these errors by property; without those that never differ.

    A delta's variance where nothing changed is that of the rank sum with ties, `(n + m + 1) / 3 n m` without any: few
    texts hold markup, so that a few more say much. Source: Lehmann 1975, Nonparametrics, appendix 4.
    """
    errors, deltas = {}, []
    for name in sorted(name for name in reference if name in window and name not in OF_THE_FILE):
        before, after = (side[name][np.isfinite(side[name])] for side in (reference, window))
        n, m = len(before), len(after)
        counts = np.unique(np.concatenate([before, after]), return_counts=True)[1].astype(np.float64)
        if not n or not m or len(counts) < 2:
            continue
        untied = (n + m + 1) / (3 * n * m)
        ties = float((counts**3 - counts).sum()) / ((n + m) ** 3 - (n + m))
        errors[name] = float(np.sqrt(untied * max(STEADY, 1.0 - ties)))
        deltas.append(cliffs_delta(before, after) / errors[name])
    return np.array(deltas), errors


def _expected(signature: Signature, errors: Mapping[str, float]) -> NDArray[np.float64]:
    """A signature's deltas in standard errors of the window."""
    return np.array([signature.deltas.get(name, 0.0) / error for name, error in errors.items()])
