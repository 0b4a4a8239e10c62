"""What the registry knows of a model's versions, and the window that its last look recorded."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from headstart import artifacts, layer_statistics, profile
from headstart.data import dataset
from headstart.errors import UsageError
from headstart.faults import signatures
from headstart.faults.table import Fault
from headstart.journal.moments import LayerMoments
from headstart.monitoring import prior, recalibration, remedies, watch
from headstart.monitoring.recalibration import Replay
from headstart.monitoring.remedies import Recorded
from headstart.params.operation import Monitor
from headstart.settings import Workspace


def of(name: str, registry: Any) -> Callable[[int], watch.Reference]:
    """What is known of a version of the model, by its number; its files are fetched when they are asked for.

    Args:
        name: of the model.
        registry: the package `headstart.registry`, or what stands in for it.
    """

    def reference(version: int) -> watch.Reference:
        bundle = registry.describe(name, version).bundle

        @cache
        def folder() -> Path:
            return Path(registry.download(name, version))

        return watch.Reference(
            bundle,
            lambda: profile.read(folder()),
            lambda: signatures.read(folder()),
            unseen=lambda: signatures.read_unseen(folder()),
            prior=lambda: prior.read(folder()),
            layers=lambda: layer_statistics.read(folder()),
            effect=lambda sample: recalibration.effect(folder(), profile.read(folder()), sample),
            replay=lambda fault, measured: _replay(name, folder(), fault, measured),
        )

    return reference


def _replay(name: str, bundle: Path, fault: Fault, measured: LayerMoments) -> Replay | None:
    """A fault in the labelled test split; None where this workspace has none, as where it only monitors."""
    path = artifacts.stage_output(name, "data") / "test.parquet"
    if not path.is_file():
        return None
    test = dataset.read(path)
    return recalibration.replay(bundle, profile.read(bundle), test.inputs, test.labels, fault, measured)


def latest(workspace: Workspace, name: str) -> dict[str, Any]:
    """The document of the model's last look.

    Raises:
        UsageError: if there was none that saw a window.
    """
    path = workspace.monitor(name) / "latest.json"
    document: dict[str, Any] = artifacts.read_json(path) if path.is_file() else {}
    if not document or document["window"]["start"] is None:
        raise UsageError(f"the monitor has not looked at {name} yet.", action=f"Look: headstart monitor {name}.")
    return document


def recorded(
    workspace: Workspace, name: str, params: Monitor, registry: Any, *, images: Sequence[Any] | None = None
) -> Recorded:
    """The window that the model's last look saw, and what its version is held against.

    Args:
        workspace: of the model.
        name: of the model.
        params: the section `monitor`.
        registry: the package `headstart.registry`, or what stands in for it.
        images: to estimate BatchNorm statistics from; those that the journal kept where not given.

    Raises:
        UsageError: if there was no look, or the journal has no answer of its window any more.
    """
    return remedies.recorded(
        workspace.journal(name),
        latest(workspace, name),
        of(name, registry),
        params,
        bundle=lambda version: Path(registry.download(name, version)),
        images=images,
    )
