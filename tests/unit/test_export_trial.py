"""A stored backbone is tried the whole way, from its contract to the exported file, before anything is trained."""

import importlib
from pathlib import Path

import pytest

from headstart.backbones import store
from headstart.errors import BackboneError
from headstart.export import trial
from headstart.params.backbones import Backbone
from headstart.stages import backbone
from tests.unit import backbone_folders as tiny

pytestmark = pytest.mark.slow

IMAGE = Backbone(modality="image", source="x", sha256={}, pretrain=None)
PERCEIVER = {
    "image_processor_type": "PerceiverImageProcessor",  # cuts by a share of the shorter side, and before it resizes
    "size": {"height": 16, "width": 16},
    "crop_size": {"height": 20, "width": 20},
    "image_mean": [0.5],
    "image_std": [0.5],
    "resample": 2,
    "do_convert_rgb": False,
}


@pytest.fixture
def families(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("backbones")


@pytest.mark.parametrize("kind", ["bert", "data2vec-text", "dinov3_vit", "resnet"])
def test_a_backbone_that_can_be_prepared_for_batched_and_exported_passes(families, tmp_path, kind):
    found = families.outcome(families.FAMILIES[kind], tmp_path)
    assert (found["stage"], found["sentence"]) == ("works", "")


def test_a_processor_that_does_more_than_its_options_say_is_refused_by_name(tmp_path):
    store.make(tiny.write_image(tmp_path / "from", PERCEIVER), IMAGE, tmp_path / "to")
    with pytest.raises(BackboneError, match=r"PerceiverImageProcessor \(.*\) does something that its size, crop"):
        trial.run(tmp_path / "to")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("xlnet", "xlnet can't be served: torch cannot express xlnet in ONNX: "),
        ("mamba", "mamba can't be served: the file that torch exports does not run on every batch: "),
    ],
)
def test_what_can_t_be_served_is_refused_before_training(families, tmp_path, kind, sentence):
    found = families.outcome(families.FAMILIES[kind], tmp_path)
    assert found["stage"] == "refused"
    assert found["sentence"].startswith(sentence)


def test_the_stage_leaves_no_backbone_that_was_refused(tmp_path, monkeypatch):
    tiny.write_image(tmp_path / "data/backbones/odd", PERCEIVER)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError, match="PerceiverImageProcessor"):
        backbone.run("odd", IMAGE)
    assert not list((tmp_path / "artifacts/backbones/odd").iterdir())


@pytest.mark.nightly
def test_every_architecture_ends_as_the_table_in_the_docs_says(families):
    """A new transformers may change a row: run `python benchmarks/backbones.py --write docs/backbones.md`."""
    lines = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8").splitlines()
    works, refused, into = set(), set(), None
    for line in lines[lines.index(families.MARKERS[0]) :]:
        if line.startswith("| architecture |"):
            into = works
        elif line.startswith("| refused |"):
            into = refused
        elif line.startswith("| ") and into is not None and not line.startswith("| ---"):
            into.add(line.split(" | ")[0].strip("| "))
    found = families.rows(list(families.FAMILIES.values()), lambda line: None)
    assert {kind for kind, row in found.items() if row["stage"] == "works"} == works
    assert {kind for kind, row in found.items() if row["stage"] == "refused"} == refused
