"""What the gates need of a candidate: the documents of its stages, its golden answers, and the champion beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart import artifacts
from headstart.evaluation import comparison, golden
from headstart.evaluation.gates import Evidence
from headstart.params.evaluation import Gates
from headstart.predictor import Predictor


def gather(
    model: str, champion: tuple[int, Path | None] | None, params: Gates, *, served: Mapping[str, Any]
) -> Evidence:
    """The evidence about the bundle that was sealed in this workspace.

    Golden answers are replayed in it, and the champion is scored again on today's test split.

    Args:
        model: its name.
        champion: the champion's version and bundle; no bundle where it was deleted, None where there is no champion.
        params: the section `gates`.
        served: what `serving.rehearsal.rehearse` answered.

    Raises:
        BundleError: if a bundle is incomplete or altered.
    """
    sealed, data = artifacts.stage_output(model, "bundle"), artifacts.stage_output(model, "data")
    export = artifacts.stage_output(model, "export")
    version, rival = champion or (None, None)
    return Evidence(
        evaluation=artifacts.read_json(sealed / "evaluation.json"),
        parity=artifacts.read_json(export / "parity.json"),
        preprocessing=artifacts.read_json(export / "preprocessing.json"),
        batchnorm=artifacts.read_json(export / "batchnorm.json"),
        served=served,
        data_findings=artifacts.read_json(data / "findings.json"),
        replay=golden.replay(Predictor.load(sealed), sealed),
        comparison=comparison.compare(sealed, rival, data, params) if rival is not None else None,
        champion=str(version) if version is not None else None,
        model=model,
        deleted=version is not None and rival is None,
    )
