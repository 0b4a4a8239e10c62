"""Which rows a drill sends, and what its monitor compares them with: both have to come from one population.

Validation rows are in no bundle's reference, so they are sent, and test rows too where they are too few, but none that
the monitor may plant a fault in itself (`recalibration.replay`). Where the
monitor takes validation itself for changed traffic, since the test split is the user's own and asks something else, the
test split is halved: one half takes the place of the reference, the other half is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import artifacts, profile
from headstart.batchnorm import instrumented
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.drill import traffic
from headstart.drill.traffic import HeldOut
from headstart.errors import UsageError
from headstart.journal.moments import LayerMoments
from headstart.monitoring import prior as priors
from headstart.monitoring import recalibration, watch
from headstart.monitoring.windows import Window
from headstart.params.operation import Monitor
from headstart.predictor import Predictor


@dataclass(frozen=True)
class Population:
    """Rows and reference of a drill.

    Attributes:
        held: the rows, and which of them may be sent.
        sound: places of those that clean windows are made of.
        reference: what the monitor compares with.
        rows: how many rows may be sent: of `validation`, of `test`, and of these `known` to the reference.
        unlike: checks by which validation is unlike the test split; empty where it is not.
    """

    held: HeldOut
    sound: NDArray[np.int64]
    reference: watch.Reference
    rows: dict[str, int]
    unlike: Sequence[str]


def of(name: str, bundle: Path, reference: watch.Reference, params: Monitor, *, seed: int) -> Population:
    """The rows of a model's validation and test split, and a reference for them.

    Args:
        name: of the model.
        bundle: of the version that is drilled.
        reference: of the same version.
        params: the section `monitor`.
        seed: of the halves.

    Raises:
        UsageError: if the data is not here.
    """
    validation, test = _splits(name)
    first = len(validation)
    held = HeldOut.of(bundle, _together(validation, test), validation=first)
    of_validation = np.arange(first)
    unlike = _alarms(held, of_validation[: traffic.LOOKS[-1]], reference, params)
    if not unlike:
        enough = first >= traffic.LOOKS[-1]
        places = of_validation if enough else np.arange(len(held.rows))
        layers = reference.layers()
        if layers is not None and layers.layers.kind == "batchnorm":
            places = np.setdiff1d(places, first + recalibration.replayed(len(test)))
        known = len(places) - first
        counts = {"validation": first, "test": known, "known": known}
        return Population(replace(held, sent=places), of_validation, reference, counts, ())
    order = np.random.default_rng(seed).permutation(np.arange(first, len(held.rows)))
    half, places = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    halved = _reference(held, half, reference)
    counts = {"validation": 0, "test": len(places), "known": 0}
    return Population(replace(held, sent=places, profile=halved.profile()), places, halved, counts, unlike)


def _alarms(held: HeldOut, rows: NDArray[np.int64], reference: watch.Reference, params: Monitor) -> tuple[str, ...]:
    """The tests that would alarm if these rows were all traffic of a window."""
    known = priors.reference(reference.profile(), reference.prior())
    now = traffic.START
    inputs = [held.rows.inputs[row] for row in rows]
    properties = held.predictor.preprocessor.properties(inputs)
    window = Window(
        start=now,
        end=now,
        version=None,
        predicted=[held.labels[row] for row in rows],
        confidence=held.probabilities[rows].max(axis=1),
        properties={key: np.array([each[key] for each in properties]) for key in known.properties},
        truth=[None] * len(rows),
        probabilities=held.probabilities[rows],
        answers=len(rows),
        most_repeated=1,
        bundles={},
    )
    moments = held.predictor.outputs(inputs).moments  # None where the network has BatchNorm
    measured = moments if moments is None else LayerMoments(now, 0, "", len(rows), *moments.sum(axis=0, dtype=float))
    found = watch.judge(known, window, params, layers=reference.layers(), measured=measured, unseen=reference.unseen())
    return tuple(finding.check for finding in found if finding.verdict == "fail")


def _reference(held: HeldOut, rows: NDArray[np.int64], whole: watch.Reference) -> watch.Reference:
    """A reference of some rows alone, as the stage `seal` makes that of the test split."""
    predictor: Predictor = held.predictor
    inputs: list[Any] = [held.rows.inputs[row] for row in rows]
    labels = [held.rows.labels[row] for row in rows]
    logits, features, moments = predictor.outputs(inputs)
    seen = profile.build(
        predictor.predictions(logits),
        labels,
        predictor.preprocessor.properties(inputs),
        predictor.labels,
        features=features,
        seed=0,
        rows=len(rows),
    )
    layers = instrumented.reference(held.bundle / instrumented.GRAPH, predictor, inputs, moments, seed=0)
    return replace(
        whole,
        profile=lambda: seen,
        layers=lambda: layers,
        effect=lambda sample: recalibration.effect(held.bundle, seen, sample),
        replay=lambda fault, measured: recalibration.replay(held.bundle, seen, inputs, labels, fault, measured),
    )


def _splits(name: str) -> tuple[Dataset, Dataset]:
    """Validation and test.

    Raises:
        UsageError: if they are not here.
    """
    folder = artifacts.stage_output(name, "data")
    paths = [folder / f"{split}.parquet" for split in ("validation", "test")]
    if missing := [path for path in paths if not path.is_file()]:
        raise UsageError(f"{missing[0]} is not here.", action=f"Make it: headstart run {name}, or dvc pull.")
    validation, test = (dataset.read(path) for path in paths)
    return validation, test


def _together(*sides: Dataset) -> Dataset:
    return Dataset(
        modality=sides[0].modality,
        ids=list(chain.from_iterable(side.ids for side in sides)),
        labels=list(chain.from_iterable(side.labels for side in sides)),
        inputs=list(chain.from_iterable(side.inputs for side in sides)),
        groups=list(chain.from_iterable(side.groups for side in sides)),
        times=list(chain.from_iterable(side.times for side in sides)),
    )
