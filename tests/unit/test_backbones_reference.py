"""The sample of a backbone's own domain: drawn from a source or made here, fetched, stored, read as a data set."""

import io
import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from headstart.backbones import fetch, glyphs, reference, store
from headstart.data import dataset
from headstart.data import reference as own_domain
from headstart.determinism import file_digest
from headstart.errors import BackboneError, DataError, ParamsError
from headstart.params.backbones import Backbone, Pretrain
from headstart.params.loader import load
from headstart.report.finding_words import told
from tests.unit import backbone_folders as tiny

OURS = Path(__file__).parents[2] / "params.yaml"
SMALL = {"embedding": 4, "hidden": [4, 8], "depths": [1, 1], "glyphs_per_class": 2, "epochs": 1, "batch_size": 32}
PARAMS = Pretrain(**{**load(OURS).backbones["glyphs"].pretrain.model_dump(), **SMALL})
TEXT = Backbone(modality="text", source="unused", sha256={}, pretrain=None)
GLYPHS = Backbone(modality="image", source=None, sha256={}, pretrain=PARAMS)


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


# drawn from a source


def test_a_sample_is_a_data_set_with_the_source_s_labels(tmp_path):
    source = table(
        tmp_path / "a.jsonl", [{"text": "rain", "label": "wet", "group": "g"}, {"text": "sun", "label": "dry"}]
    )
    own_domain.write(source, "text", tmp_path / "out.parquet")
    found = dataset.read(tmp_path / "out.parquet")
    assert dict(zip(found.inputs, found.labels, strict=True)) == {"rain": "wet", "sun": "dry"}
    assert dict(zip(found.inputs, found.groups, strict=True)) == {"rain": "g", "sun": None}


def test_a_source_without_labels_gives_empty_ones(tmp_path):
    source = table(tmp_path / "a.jsonl", [{"text": "rain"}, {"text": "sun"}])
    own_domain.write(source, "text", tmp_path / "out.parquet")
    assert dataset.read(tmp_path / "out.parquet").labels == ["", ""]


def test_at_most_a_thousand_rows_are_kept_and_those_do_not_depend_on_order(tmp_path):
    rows = [{"text": f"text {number}"} for number in range(3500)]
    one, other = table(tmp_path / "one.jsonl", rows), table(tmp_path / "other.jsonl", rows[::-1])
    own_domain.write(one, "text", tmp_path / "one.parquet")
    own_domain.write(other, "text", tmp_path / "other.parquet")
    assert len(dataset.read(tmp_path / "one.parquet")) == 1000
    assert dataset.read(tmp_path / "one.parquet").inputs == dataset.read(tmp_path / "other.parquet").inputs


def test_equal_inputs_are_kept_once(tmp_path):
    own_domain.write(table(tmp_path / "a.jsonl", [{"text": "rain"}] * 3), "text", tmp_path / "out.parquet")
    assert dataset.read(tmp_path / "out.parquet").inputs == ["rain"]


def test_a_source_without_an_input_is_refused(tmp_path):
    source = table(tmp_path / "a.jsonl", [{"text": ""}])
    with pytest.raises(DataError, match=r"the reference a\.jsonl holds no text.*backbones\.<name>\.reference"):
        own_domain.write(source, "text", tmp_path / "out.parquet")


def test_images_may_lie_in_class_folders_or_loose(tmp_path):
    for number, name in enumerate(("classes/cats/a.png", "classes/dogs/b.png", "loose/a.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(tiny.picture(8, 8 + number))
    own_domain.write(str(tmp_path / "classes"), "image", tmp_path / "classes.parquet")
    own_domain.write(str(tmp_path / "loose"), "image", tmp_path / "loose.parquet")
    assert sorted(dataset.read(tmp_path / "classes.parquet").labels) == ["cats", "dogs"]
    assert dataset.read(tmp_path / "loose.parquet").labels == [""]


# fetched with the backbone's files


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/config.json").write_text("{}")
    (tmp_path / "source/model.safetensors").write_bytes(b"weights")
    return Backbone(
        modality="text", source=str(tmp_path / "source"), sha256={}, pretrain=None, reference="somewhere/a.jsonl"
    )


def of(mark, content=b"rows"):
    return fetch.Sample(mark, lambda path: path.write_bytes(content))


def test_the_sample_is_one_of_the_fetched_files_and_its_source_stands_beside_it(folder, tmp_path):
    fetch.fetch("b", folder, tmp_path / "into", sample=of("1"))
    document = json.loads((tmp_path / "into/source.json").read_text())
    assert document["reference"] == "somewhere/a.jsonl"
    assert document["files"]["reference.parquet"] == file_digest(tmp_path / "into/reference.parquet")


def test_a_backbone_is_fetched_again_when_its_sample_s_source_has_changed(folder, tmp_path):
    into = tmp_path / "into"
    first = fetch.fetch("b", folder, into, sample=of("1"))
    assert fetch.is_current(folder, into, sample_mark="1")
    assert not fetch.is_current(folder, into, sample_mark="2")
    assert fetch.fetch("b", folder, into, sample=of("2", b"others")) != first
    assert (into / "reference.parquet").read_bytes() == b"others"


def test_another_reference_s_name_alone_makes_it_stale(folder, tmp_path):
    fetch.fetch("b", folder, tmp_path / "into", sample=of("1"))
    assert fetch.is_current(folder, tmp_path / "into")
    assert not fetch.is_current(folder.model_copy(update={"reference": "elsewhere"}), tmp_path / "into")


def test_an_unchanged_sample_is_not_written_again(folder, tmp_path):
    into = tmp_path / "into"
    fetch.fetch("b", folder, into, sample=of("1"))
    written = (into / "reference.parquet").stat().st_mtime_ns
    fetch.fetch("b", folder, into, sample=of("2"))
    assert (into / "reference.parquet").stat().st_mtime_ns == written
    assert fetch.is_current(folder, into, sample_mark="2")


def test_the_flow_s_task_draws_it_from_the_source_that_params_names(tmp_path, monkeypatch):
    from pipelines import world

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world.graph, "record", str)
    tiny.write_text(tmp_path / "bert")
    table(tmp_path / "own.jsonl", [{"text": "rain", "label": "wet"}, {"text": "snow", "label": "wet"}])
    document = yaml.safe_load(OURS.read_text())
    document["models"] = {}
    document["backbones"] = {"bert": {"modality": "text", "source": "bert", "reference": "own.jsonl"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    assert world.fetch.fn("bert", load(tmp_path / "params.yaml")) == "data/backbones/bert"
    assert sorted(dataset.read(tmp_path / "data/backbones/bert/reference.parquet").inputs) == ["rain", "snow"]


def test_a_backbone_pretrained_here_names_no_reference(tmp_path):
    document = yaml.safe_load(OURS.read_text())
    document["backbones"]["glyphs"]["reference"] = "builtin:digits"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ParamsError, match=r"backbones\.glyphs\.reference: .*a sample of its own; leave it out"):
        load(tmp_path / "params.yaml")


def test_files_written_before_there_were_references_stay_valid():
    assert load(OURS).backbones["minilm"].reference is None


# stored beside the backbone


def test_a_fetched_sample_is_kept_byte_for_byte_hashed_and_counted(tmp_path):
    fetched = tiny.write_text(tmp_path / "fetched")
    reference.write(fetched / reference.FILE, "text", ["rain", "snow", "soup"], ["wet", "wet", ""])
    store.make(fetched, TEXT, tmp_path / "out")
    document = json.loads((tmp_path / "out/backbone.json").read_text())
    assert document["files"]["reference.parquet"] == file_digest(fetched / reference.FILE)
    [finding] = [each for each in document["findings"] if each["check"] == "reference"]
    assert (finding["verdict"], finding["statistic"]) == ("pass", 3.0)
    assert told(finding)["reason"] == "3 examples of its own domain are kept beside it, of 1 class."


def test_a_backbone_without_a_sample_has_no_such_file_and_no_finding(tmp_path):
    store.make(tiny.write_text(tmp_path / "fetched"), TEXT, tmp_path / "out")
    document = json.loads((tmp_path / "out/backbone.json").read_text())
    assert "reference.parquet" not in document["files"]
    assert not [each for each in document["findings"] if each["check"] == "reference"]


def test_a_sample_of_the_other_modality_is_refused(tmp_path):
    fetched = tiny.write_text(tmp_path / "fetched")
    reference.write(fetched / reference.FILE, "image", [b"png"], [""])
    with pytest.raises(BackboneError, match=r"reference\.parquet lacks the columns text; it has id, label, image"):
        store.make(fetched, TEXT, tmp_path / "out")


def test_what_is_written_here_has_the_columns_that_data_sets_have(tmp_path):
    reference.write(tmp_path / "one.parquet", "image", [b"png"], ["cat"])
    dataset.write(tmp_path / "other.parquet", dataset.Dataset("image", ["a"], ["cat"], [b"png"], [None], [None]))
    assert pq.read_schema(tmp_path / "one.parquet").equals(pq.read_schema(tmp_path / "other.parquet"))


# pretrained here


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Twice from one font, the second time with fewer glyphs in the sample."""
    folder = tmp_path_factory.mktemp("glyphs")
    (folder / "fetched").mkdir()
    font = next(entry for entry in metadata.files("matplotlib") if entry.name == "DejaVuSans.ttf")
    (folder / "fetched/DejaVuSans.ttf").write_bytes(Path(str(font.locate())).read_bytes())
    store.make(folder / "fetched", GLYPHS, folder / "out")
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(glyphs, "SAMPLE", 1)
        store.make(folder / "fetched", GLYPHS, folder / "fewer")
    return folder


def test_pretraining_leaves_ten_of_its_own_glyphs_of_each_class(pretrained):
    found = dataset.read(pretrained / "out/reference.parquet")
    assert {label: found.labels.count(label) for label in glyphs.CLASSES} == dict.fromkeys(glyphs.CLASSES, 10)
    levels = np.asarray(Image.open(io.BytesIO(found.inputs[0])))
    assert (levels.shape, levels.dtype) == ((32, 32), np.uint8)
    assert len(set(found.inputs)) == len(found)


def test_the_sample_is_in_an_order_of_chance_so_that_coarse_glyphs_are_of_every_class(pretrained):
    # three quarters of a batch are coarse, its first ones: sorted by class, digits (the last ten) would never be
    first = dataset.read(pretrained / "out/reference.parquet").labels[:100]
    assert len(set(first) & set(glyphs.DIGITS)) > 3


def test_the_weights_do_not_depend_on_the_sample(pretrained):
    assert len(dataset.read(pretrained / "fewer/reference.parquet")) == len(glyphs.CLASSES)
    weights = [file_digest(pretrained / name / "model.safetensors") for name in ("out", "fewer")]
    assert weights[0] == weights[1]


def test_its_hash_stands_among_the_backbone_s_files(pretrained):
    document = json.loads((pretrained / "out/backbone.json").read_text())
    assert document["files"]["reference.parquet"] == file_digest(pretrained / "out/reference.parquet")
