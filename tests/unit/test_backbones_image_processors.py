"""Image processors with steps of their own: what a contract makes of them is what transformers' own code computes.

transformers' Pillow processors are the independent implementation; DINOv3's, which needs torchvision, is held against
torch's antialiased interpolation of rescaled levels, which torchvision calls.
"""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ResNetConfig

from headstart.backbones import processor
from headstart.contract import agreement
from headstart.contract.files import write
from headstart.contract.spec import Contract
from headstart.errors import BackboneError
from headstart.params.prepare import Limits
from headstart.predictor import Preprocessor
from tests.unit import backbone_folders as tiny

LIMITS = Limits(tokens=8, characters=10, pixels=10**6, megabytes=2)
SHAPES = ((40, 40), (61, 33), (33, 61), (150, 97), (9, 70), (32, 32), (17, 5))  # height, width
SQUARE = {"size": {"height": 32, "width": 32}}
CUT = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}


def folder_of(folder, kind, **options):
    """A stored backbone of three channels whose processor file says `options`."""
    tiny.write(folder, ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **options}))
    (folder / "backbone.json").write_text('{"modality": "image", "shape": null, "format": 2}')
    return folder


def pictures():
    return [tiny.picture(height, width, "RGB") for height, width in SHAPES]


def prepared(folder, scratch):
    spec, _ = processor.input_spec(folder, LIMITS)
    write(scratch, Contract("image", spec, ("a", "b")), tokenizer_json=None)
    return spec, Preprocessor.load(scratch).prepare(pictures())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("MobileNetV2ImageProcessor", CUT, id="MobileNetV2"),
        pytest.param("EfficientNetImageProcessor", {**SQUARE, "resample": 0}, id="EfficientNet: divided by std twice"),
        pytest.param(
            "EfficientNetImageProcessor",
            {**SQUARE, "rescale_factor": 1 / 127.5, "rescale_offset": True, "image_std": [0.5, 0.25, 2.0]},
            id="EfficientNet: shifted by one",
        ),
        pytest.param(
            "EfficientNetImageProcessor",
            {
                **SQUARE,
                "rescale_factor": 1 / 127.5,
                "rescale_offset": True,
                "do_normalize": False,
                "include_top": False,
            },
            id="EfficientNet: only shifted",
        ),
        pytest.param("EfficientNetImageProcessor", {**SQUARE, "do_normalize": False}, id="EfficientNet: only divided"),
        pytest.param("BeitImageProcessor", SQUARE, id="BEiT"),
        pytest.param("BeitImageProcessor", {**SQUARE, "do_center_crop": True, "crop_size": 28}, id="BEiT, cropped"),
        pytest.param("MobileViTImageProcessor", CUT, id="MobileViT: blue first"),
        pytest.param("MobileViTImageProcessor", {**CUT, "do_flip_channel_order": False}, id="MobileViT: red first"),
        pytest.param(
            "MobileViTImageProcessor", {**CUT, "do_normalize": True}, id="MobileViT: never normalises, whatever it says"
        ),
        pytest.param("PoolFormerImageProcessor", {**CUT, "size": {"shortest_edge": 32}}, id="PoolFormer"),
        pytest.param("PoolFormerImageProcessor", {**CUT, **SQUARE}, id="PoolFormer: a square size keeps proportions"),
        pytest.param(
            "PoolFormerImageProcessor", {**CUT, "size": {"height": 30, "width": 40}}, id="PoolFormer: another size not"
        ),
        pytest.param("PoolFormerImageProcessor", {**CUT, "crop_pct": None}, id="PoolFormer without crop_pct"),
        pytest.param("LevitImageProcessor", {**CUT, "size": {"shortest_edge": 32}}, id="LeViT"),
        pytest.param("LevitImageProcessor", {**CUT, **SQUARE}, id="LeViT: a full size"),
        pytest.param("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.875}, id="ConvNeXt"),
        pytest.param("BitImageProcessor", CUT, id="DINOv2 and BiT"),
        pytest.param("DeiTImageProcessor", {"size": {"height": 40, "width": 40}, "crop_size": 32}, id="DeiT"),
        pytest.param("CLIPImageProcessor", CUT, id="CLIP"),
        pytest.param("SiglipImageProcessor", SQUARE, id="SigLIP"),
        pytest.param("SegformerImageProcessor", SQUARE, id="SegFormer"),
        pytest.param("DPTImageProcessor", {**SQUARE, "do_pad": False}, id="DPT"),
        pytest.param("ViTImageProcessor", {**SQUARE, "resample": 1}, id="ViT, Lanczos"),
        pytest.param("DINOv3ViTImageProcessorFast", SQUARE, id="DINOv3"),
    ],
)
def test_a_contract_computes_what_the_backbones_own_processor_does(tmp_path, kind, options):
    folder = folder_of(tmp_path / "backbone", kind, **options)
    spec, ours = prepared(folder, tmp_path / "contract")
    theirs = processor.reference(folder, LIMITS)(pictures())
    found = agreement.compare(ours, theirs, agreement.tolerance(spec))
    assert found.verdict == "pass", found.reason
    bound = 0.3 if kind.startswith("DINOv3") else 0.01  # of a level; DINOv3's does not round to levels
    assert found.evidence["mean_difference"] <= bound * agreement.tolerance(spec)


def test_blue_comes_first_where_the_network_was_trained_so(tmp_path):
    options = {"do_resize": False, "crop_size": {"height": 2, "width": 2}}
    folder = folder_of(tmp_path / "backbone", "MobileViTImageProcessor", **options)
    spec, _ = processor.input_spec(folder, LIMITS)
    write(tmp_path / "contract", Contract("image", spec, ("a", "b")), tokenizer_json=None)
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), (255, 51, 0)).save(stream, "PNG")
    [pixels] = Preprocessor.load(tmp_path / "contract").prepare([stream.getvalue()])
    assert pixels[:, 0, 0].tolist() == pytest.approx([0.0, 0.2, 1.0])  # blue 0, green 51 / 255, red 1


def test_dinov3_rescales_before_it_resizes_and_rounds_nothing(tmp_path):
    folder = folder_of(tmp_path / "backbone", "DINOv3ViTImageProcessorFast", **SQUARE)
    own = processor.load_processor(folder)
    levels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    [pixels] = own(levels, return_tensors="np", input_data_format="channels_last")["pixel_values"]
    batch = torch.from_numpy(levels).permute(2, 0, 1)[None].float() / 255
    resized = torch.nn.functional.interpolate(batch, (32, 32), mode="bilinear", antialias=True)[0].numpy()
    mean, std = (np.array(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    np.testing.assert_allclose(pixels, (resized - mean) / std, atol=1e-5)


def test_dinov3_without_a_processor_file_has_the_default_of_its_architecture(tmp_path):
    from transformers import DINOv3ViTConfig

    tiny.write(tmp_path, DINOv3ViTConfig(image_size=32, patch_size=16, **tiny.SMALL))
    default = processor.default_processor(tmp_path)
    assert processor.set_sizes(default) == {"height": 224, "width": 224}
    default.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert written["image_processor_type"] == "DINOv3ViTImageProcessor"


def test_a_processor_for_torchvision_alone_is_refused_as_such(tmp_path):
    folder = folder_of(tmp_path, "Sam2ImageProcessorFast")
    sentence = r"names Sam2ImageProcessor, which transformers computes with torchvision only"
    with pytest.raises(BackboneError, match=sentence):
        processor.load_processor(folder)


def test_a_processor_file_that_names_nothing_known_is_not_called_absent(tmp_path):
    folder = folder_of(tmp_path, "NoSuchImageProcessor")
    with pytest.raises(
        BackboneError, match=r"preprocessor_config.json names NoSuchImageProcessor, which this version of transf"
    ):
        processor.load_processor(folder)


def test_contracts_that_do_not_flip_channels_keep_the_hash_they_had(tmp_path):
    plain, _ = prepared(folder_of(tmp_path / "a", "ViTImageProcessor", **SQUARE), tmp_path / "c")
    flipped, _ = prepared(folder_of(tmp_path / "b", "MobileViTImageProcessor", **CUT), tmp_path / "d")
    assert "flip_channels" not in Contract("image", plain, ("a", "b")).document()["input"]
    document = Contract("image", flipped, ("a", "b")).document()
    assert document["input"]["flip_channels"] is True
    assert Contract.from_document(json.loads(json.dumps(document))).input == flipped
