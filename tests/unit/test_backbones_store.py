import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.backbones import processor, store
from headstart.backbones.network import Network
from headstart.determinism import file_digest, folder_digest
from headstart.errors import BackboneError
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits
from headstart.report.finding_words import told
from tests.unit import backbone_folders as tiny

MOBILENET = Path(__file__).parents[3] / "shared/data/weights_mobilenet_v1_025_imagenet"
TEXT = Backbone(modality="text", source="unused", sha256={}, pretrain=None)
IMAGE = Backbone(modality="image", source="unused", sha256={}, pretrain=None)
LIMITS = Limits(tokens=128, characters=1000, pixels=10**6, megabytes=1)


def description(folder):
    return json.loads((folder / "backbone.json").read_text())


def verdicts(folder):
    return {finding["check"]: finding["verdict"] for finding in description(folder)["findings"]}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return tiny.write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return tiny.write_image(tmp_path_factory.mktemp("image"))


def test_a_text_backbone_is_described(text, tmp_path):
    store.make(text, TEXT, tmp_path)
    found = description(tmp_path)
    assert (found["format"], found["kind"], found["modality"], found["shape"]) == (2, "bert", "text", None)
    assert (found["hidden_size"], found["layers"]) == (8, 3)
    assert found["max_tokens"] == 32  # its position embeddings, counted from 0
    # by hand: (12 words + 32 places + 2 kinds) * 8 + norm 16; a layer: 4 * 72 + 144 + 136 + 2 norms of 16
    assert found["parameters"] == 46 * 8 + 16 + 2 * (4 * 72 + 144 + 136 + 32)
    assert found["files"]["model.safetensors"] == file_digest(tmp_path / "model.safetensors")
    assert set(found["files"]) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_an_image_backbone_is_described_with_the_shape_its_processor_makes(image, tmp_path):
    store.make(image, IMAGE, tmp_path)
    found = description(tmp_path)
    assert (found["kind"], found["modality"], found["shape"]) == ("resnet", "image", [1, 16, 16])
    assert Network.from_backbone(tmp_path, 2, dropout=0.0).shape == (1, 16, 16)


def test_a_stored_backbone_computes_what_the_fetched_one_does(image, tmp_path):
    store.make(image, IMAGE, tmp_path)
    inputs = torch.ones(1, 1, 16, 16)
    with torch.no_grad():
        ours, theirs = (
            Network.from_backbone(each, 2, dropout=0.0).features(pixel_values=inputs) for each in (tmp_path, image)
        )
    assert torch.equal(ours, theirs)


def test_the_same_files_give_the_same_bytes_in_any_folder(text, tmp_path):
    elsewhere = shutil.copytree(text, tmp_path / "a longer path to the same")
    store.make(text, TEXT, tmp_path / "one")
    store.make(Path(elsewhere), TEXT, tmp_path / "two")
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "two")


def test_the_tokenizer_is_kept_byte_for_byte(text, tmp_path):
    store.make(text, TEXT, tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (text / "tokenizer.json").read_bytes()


def test_an_older_vocabulary_becomes_a_tokenizer_file(text, tmp_path):
    old = Path(shutil.copytree(text, tmp_path / "old"))
    (old / "tokenizer.json").unlink()
    (old / "vocab.txt").write_text("\n".join(tiny.WORDS) + "\n")
    store.make(old, TEXT, tmp_path / "out")
    [ids] = processor.reference(tmp_path / "out", LIMITS)(["Rain snow maps"])
    assert ids.tolist() == [2, 5, 6, 10, 11, 3]  # [CLS] rain snow map ##s [SEP]


def test_half_precision_is_stored_as_float32(image, tmp_path):
    half = Path(shutil.copytree(image, tmp_path / "half"))
    weights = {
        name: values.half() if values.is_floating_point() else values
        for name, values in load_file(half / "model.safetensors").items()
    }
    save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
    store.make(half, IMAGE, tmp_path / "out")
    kinds = {values.dtype for values in load_file(tmp_path / "out/model.safetensors").values()}
    assert torch.float16 not in kinds


def test_a_head_in_the_file_is_left_out_and_said(image, tmp_path):
    headed = Path(shutil.copytree(image, tmp_path / "headed"))
    weights = load_file(headed / "model.safetensors") | {"classifier.1.weight": torch.ones(2, 8)}
    save_file(weights, headed / "model.safetensors", metadata={"format": "pt"})
    store.make(headed, IMAGE, tmp_path / "out")
    finding = next(each for each in description(tmp_path / "out")["findings"] if each["check"] == "weights")
    assert (finding["verdict"], finding["statistic"]) == ("pass", 1)
    assert "classifier.1.weight" in told(finding)["reason"]


def test_the_wrong_modality_is_refused_with_the_right_one(image, tmp_path):
    with pytest.raises(
        BackboneError, match=r"architecture resnet, which takes pixel_values.*'text'.*Write modality: image"
    ):
        store.make(image, TEXT, tmp_path)


def test_a_tokenizer_of_another_checkpoint_is_refused(text, tmp_path):
    from tokenizers import Tokenizer

    other = Path(shutil.copytree(text, tmp_path / "other"))
    tokenizer = Tokenizer.from_file(str(other / "tokenizer.json"))
    tokenizer.add_tokens(["extra"])
    tokenizer.save(str(other / "tokenizer.json"))
    with pytest.raises(BackboneError, match=r"gives ids up to 12; the network has embeddings for 12"):
        store.make(other, TEXT, tmp_path / "out")


def test_without_a_processor_file_the_architecture_s_default_is_written_and_a_finding_says_so(tmp_path):
    bare = tiny.write(tmp_path / "bare", tiny.vit_224())
    store.make(bare, IMAGE, tmp_path / "out")
    assert verdicts(tmp_path / "out") == {
        "weights": "pass",
        "processor": "unsure",
        "batching": "pass",
        "layers": "pass",
    }
    spec, _ = processor.input_spec(tmp_path / "out", LIMITS)
    assert (spec.resize, spec.height, spec.width, spec.mode) == ("stretch", 224, 224, "RGB")


def test_a_processor_that_does_not_fit_the_network_is_refused(tmp_path):
    folder = tiny.write(tmp_path / "vit", tiny.vit())
    colour = {**tiny.SMOOTH, "size": {"height": 24, "width": 24}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(colour))
    with pytest.raises(BackboneError, match=r"vit does not run as an encoder.*24"):
        store.make(folder, IMAGE, tmp_path / "out")


def test_a_network_that_needs_more_than_one_text_is_refused(text, tmp_path):
    from transformers import T5Config

    folder = Path(shutil.copytree(text, tmp_path / "t5"))
    tiny.write(folder, T5Config(vocab_size=12, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    with pytest.raises(BackboneError, match="t5"):
        store.make(folder, TEXT, tmp_path / "out")


@pytest.mark.skipif(not MOBILENET.is_dir(), reason="shared/data/weights_mobilenet_v1_025_imagenet is not here")
def test_real_mobilenet_weights_get_their_default_processor(tmp_path):
    store.make(MOBILENET, IMAGE, tmp_path)
    assert (description(tmp_path)["parameters"], verdicts(tmp_path)["processor"]) == (213_072, "unsure")
    spec, _ = processor.input_spec(tmp_path, LIMITS)
    assert (spec.resize, spec.shortest_edge, spec.crop, spec.mean) == ("shortest_edge", 256, (224, 224), (0.5,) * 3)
    [pixels] = processor.reference(tmp_path, LIMITS)([tiny.picture(300, 280, "RGB")])
    assert pixels.shape == (3, 224, 224)
    assert np.abs(pixels).max() <= 1.0
