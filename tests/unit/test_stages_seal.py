"""What `seal` puts into a bundle, on a network whose answers can be worked out by hand."""

import json
import shutil

import pytest

from headstart.bundle import Bundle
from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.determinism import file_digest
from headstart.faults import signatures
from headstart.params.evaluation import Seal
from headstart.stages import seal
from tests.unit.tiny_bundle import text_bundle

TEXTS = ["Good.", "a bad day, it was", "good and GOOD", "so bad!", "good, is it?", "Bad weather"] * 5
PARAMS = Seal(modality="text", profile=100)


@pytest.fixture
def sealed(tmp_path, monkeypatch):
    """Run the stage on what the stages before it would have left; the bundle."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(seal, "lineage", lambda stage: {})
    monkeypatch.setattr(seal, "resolved_params", lambda model: "")
    parts = text_bundle(tmp_path / "made").with_name("made-parts")
    made, stages = tmp_path / "made", tmp_path / "artifacts/models/moods"
    for place in ("data/contract", "plan", "export", "evaluate"):
        (stages / place).mkdir(parents=True)
    for name in ("contract.json", "tokenizer.json"):
        shutil.copy(made / name, stages / "data/contract" / name)
    shutil.copy(parts / "model.onnx", stages / "export")
    shutil.copy(made / "calibration.json", stages / "evaluate")
    for name in ("plan/plan.json", "evaluate/evaluation.json"):
        (stages / name).write_text("{}")
    nothing = [None] * len(TEXTS)
    truth = ["negative" if "bad" in text.lower() else "positive" for text in TEXTS]
    names = [f"t{row}" for row in range(len(TEXTS))]
    dataset.write(stages / "data/test.parquet", Dataset("text", names, truth, TEXTS, nothing, nothing))

    def run():
        seal.run("moods", PARAMS)
        return Bundle.open(stages / "bundle")

    return run


def test_the_bundle_holds_what_each_fault_does_to_its_inputs(sealed):
    bundle = sealed()
    bundle.verify()
    known = {each.fault: each for each in signatures.read(bundle.folder)}
    assert known["upper_cased"].deltas["upper_share"] > 0.9
    assert bundle.files[signatures.FILE] == file_digest(bundle.folder / signatures.FILE)


def test_the_same_inputs_give_the_same_bytes(sealed):
    first = dict(sealed().files)
    assert dict(sealed().files) == first


def test_a_bundle_of_before_is_valid_and_bears_no_signature(sealed):
    bundle = sealed()
    manifest = json.loads((bundle.folder / "MANIFEST.json").read_text())
    del manifest["files"][signatures.FILE]
    (bundle.folder / signatures.FILE).unlink()
    (bundle.folder / "MANIFEST.json").write_text(json.dumps(manifest))
    Bundle.open(bundle.folder).verify()
    assert signatures.read(bundle.folder) == []
