"""Before deployment: a fault is planted in a copy of what the stages made, and the gates judge what comes out."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart import artifacts, registry
from headstart.bundle import MODEL, manifest_hash
from headstart.data import dataset
from headstart.errors import HeadstartError
from headstart.evaluation import gates, judgement
from headstart.evaluation.gates import replay
from headstart.faults.table import Fault
from headstart.findings import Finding
from headstart.params.workspace import Model
from headstart.serving import rehearsal
from headstart.serving.models import LoadedModel
from headstart.stages import errors_of

SEED = 0
SEVERITY = 4
REBUILT = ("export", "evaluate", "seal")  # the stages after a checkpoint
WEIGHTS = Path("model/backbone/model.safetensors")  # of the stage `train`
NO_BATCHNORM = "the network has no BatchNorm."


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate with a fault, or of the clean one.

    Attributes:
        fault: its name; None for the candidate without one.
        meaning: a clause for people.
        gate: the gate that has to block it; None where any may.
        planted: whether it could be planted; `reason` says why not.
        blocked: whether the candidate would not have been deployed.
        by: the gates that failed or were unsure, the stage that refused, or the server's checks that did.
        reason: what the first of them said.
    """

    fault: str | None
    meaning: str
    gate: str | None
    planted: bool
    blocked: bool
    by: tuple[str, ...]
    reason: str

    def document(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return {**asdict(self), "by": list(self.by)}


def artefact(
    fault: Fault, name: str, champion: tuple[int, Path], registered: str, *, others: Sequence[Path]
) -> Outcome:
    """Damage a copy of a registered bundle and ask each check that a server makes before a version takes traffic.

    Args:
        fault: of a bundle.
        name: of the model.
        champion: its number and bundle.
        registered: the hash of its manifest, as the registry has it.
        others: bundles of other models.
    """
    version, bundle = champion
    other = next(iter(others), None)
    if fault.name == "other_files_served" and other is None:
        return _not_planted(fault, "there is no other bundle in this workspace.")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(bundle, Path(temporary) / "bundle"))
        if fault.name == "other_files_served":
            fault.inject(copy, other)
        elif fault.name == "labels_permuted":
            fault.inject(copy, np.random.default_rng(SEED))
        else:
            fault.inject(copy)
        checks: dict[str, Callable[[], None]] = {
            "registered hash": lambda: registry.require_registered(copy, registered),
            "replay": lambda: LoadedModel.open(
                name, version, copy, difference_allowed=replay.DIFFERENCE
            ).require_golden_answers(),
        }
        refusals = {check: said for check, ask in checks.items() if (said := _refusal(ask, copy))}
    reason = next(iter(refusals.values()), "the server would have served it.")
    return Outcome(fault.name, fault.meaning, None, True, bool(refusals), tuple(refusals), reason)


def rebuilt(fault: Fault | None, name: str, champion: tuple[int, Path], registered: str, params: Model) -> Outcome:
    """Damage the trained network or its export in a copy of the workspace, run the stages after it, and ask the gates.

    Args:
        fault: of a checkpoint or of an export; None for a candidate without a fault.
        name: of the model, whose stages have run in this workspace.
        champion: its number and bundle, which the candidate is compared with.
        registered: the hash of its manifest: only where the stages made that very version is anything planted.
        params: of the model.
    """
    about: tuple[str | None, str, str | None] = (None, "nothing was planted", None)
    if fault is not None:
        about = (fault.name, fault.meaning, fault.gate)
    if not (sealed := artifacts.stage_output(name, "bundle")).is_dir() or manifest_hash(sealed) != registered:
        why = "the workspace's stages made another version than the champion; headstart run makes it again."
        return Outcome(*about, False, False, (), why)
    with _copy(name) as copy:
        if fault is not None and fault.target == "checkpoint":
            try:
                _damage(fault, copy / artifacts.stage_output(name, "train") / WEIGHTS)
            except ValueError:
                return _not_planted(fault, NO_BATCHNORM)
        for stage in REBUILT:
            if (ended := _run(stage, name, copy)) is not None:
                planted, blocked, by, reason = ended
                return Outcome(*about, planted, blocked, by, reason)
            if stage == "export" and fault is not None and fault.target == "export":
                with _inside(copy):
                    try:
                        _damage_export(fault, name, params)
                    except ValueError:
                        return _not_planted(fault, NO_BATCHNORM)
        with _inside(copy):
            sealed = artifacts.stage_output(name, "bundle")
            test = dataset.read(artifacts.stage_output(name, "data") / "test.parquet")
            served = rehearsal.rehearse(name, sealed, test.inputs, params)
            findings = gates.judge(judgement.gather(name, champion, params.gates, served=served), params.gates)
    failed = [finding for finding in findings if finding.verdict == "fail"]
    unsure = [finding for finding in findings if finding.verdict == "unsure"]
    stopping = sorted(failed or unsure, key=lambda finding: fault is None or finding.check != fault.gate)
    return Outcome(*about, True, bool(stopping), tuple(each.check for each in stopping), _said(stopping))


def _run(stage: str, name: str, copy: Path) -> tuple[bool, bool, tuple[str, ...], str] | None:
    """Run a stage in a copy of the workspace; where it does not succeed, the end of the outcome."""
    ended = subprocess.run(
        [sys.executable, "-m", f"headstart.stages.{stage}", name],
        cwd=copy,
        env={key: value for key, value in os.environ.items() if key != "HEADSTART_FLOW"},
        capture_output=True,
        text=True,
        check=False,
    )
    if not ended.returncode:
        return None
    refused = copy / errors_of(name, stage)
    if not refused.is_file():
        last = [f"status {ended.returncode}", *ended.stderr.strip().splitlines()][-1]
        return False, False, (), f"the stage {stage} died: {last}"
    return True, True, (f"stage {stage}",), artifacts.read_json(refused)["message"]


def _damage_export(fault: Fault, name: str, params: Model) -> None:
    """Plant a fault in what the stage `export` wrote, and compare it with the network as that stage does.

    Raises:
        ValueError: if the network has nothing that the fault could change.
    """
    from headstart.backbones.network import Network
    from headstart.export import parity

    data, train, out = (artifacts.stage_output(name, stage) for stage in ("data", "train", "export"))
    fault.inject(out)
    inputs = dataset.read(data / "validation.parquet").inputs[: parity.EXAMPLES]
    network = Network.load(train / "model").eval()
    artifacts.write_json(out / "parity.json", parity.check(network, out / MODEL, data / "contract", inputs))


def _damage(fault: Fault, path: Path) -> None:
    """Plant a fault in a checkpoint.

    Raises:
        ValueError: if the network has nothing that the fault could change.
    """
    if fault.name == "statistics_lost":
        fault.inject(path)
    else:
        fault.inject(path, SEVERITY, np.random.default_rng(SEED))


def _refusal(ask: Callable[[], None], folder: Path) -> str:
    """What was refused, in one line without the folder's path; empty where nothing was."""
    try:
        ask()
    except HeadstartError as error:
        return " ".join(error.message.replace(str(folder), "the bundle").split())
    return ""


def _said(findings: list[Finding]) -> str:
    return findings[0].reason if findings else "every gate passed."


def _not_planted(fault: Fault, reason: str) -> Outcome:
    return Outcome(fault.name, fault.meaning, fault.gate, False, False, (), reason)


@contextmanager
def _copy(name: str) -> Iterator[Path]:
    """A copy of what the rebuilt stages of a model read."""
    made = [artifacts.stage_output(name, stage) for stage in ("data", "plan", "train")]
    read = [*made, Path("artifacts/params"), Path("artifacts/code"), artifacts.cures(name)]
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        for folder in read:
            shutil.copytree(folder, copy / folder)
        for file in ("params.yaml", "dvc.yaml", "dvc.lock"):
            shutil.copy(file, copy / file)
        yield copy


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
