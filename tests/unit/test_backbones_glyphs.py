from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, ResNetConfig

from headstart.backbones import glyphs, processor, store
from headstart.backbones.network import Network
from headstart.determinism import folder_digest
from headstart.errors import BackboneError
from headstart.params.backbones import Backbone, Pretrain
from headstart.params.loader import load
from headstart.params.prepare import Limits

BUILT_IN = load(Path(__file__).parents[2] / "params.yaml").backbones["glyphs"].pretrain
SMALL = {"embedding": 4, "hidden": [4, 8], "depths": [1, 1], "glyphs_per_class": 4, "epochs": 1, "batch_size": 32}
PARAMS = Pretrain(**{**BUILT_IN.model_dump(), **SMALL})
LIMITS = Limits(tokens=1, characters=1, pixels=5000, megabytes=1)


@pytest.fixture(scope="module")
def fonts():
    wanted = ("DejaVuSans.ttf", "cmr10.ttf")
    return [Path(str(entry.locate())) for entry in metadata.files("matplotlib") if entry.name in wanted]


@pytest.fixture(scope="module")
def every(fonts):
    return glyphs.templates(fonts)


def test_each_character_is_drawn_once_a_font_and_stroke(every):
    characters = sum(len(letters) for letters in glyphs.CLASSES)
    assert characters == 62  # 26 capitals, 26 small letters, 10 digits
    assert len(every.targets) == 62 * 2 * len(glyphs.STROKES)
    assert every.targets.unique().tolist() == list(range(len(glyphs.CLASSES)))


def test_ink_is_bright_fills_its_square_and_stays_inside_the_margin(every):
    inside = torch.zeros_like(every.images[0, 0], dtype=torch.bool)
    inside[glyphs.MARGIN : -glyphs.MARGIN, glyphs.MARGIN : -glyphs.MARGIN] = True
    assert every.images[:, 0, ~inside].max() == 0.0
    assert every.images.amax(dim=(1, 2, 3)).min() > 0.9


def test_glyphs_are_in_range_and_vary_from_draw_to_draw(every):
    rows = torch.zeros(8, dtype=torch.int64)
    drawn = glyphs.draw(every, rows, PARAMS, torch.Generator().manual_seed(1))
    assert drawn.shape == (8, 1, 32, 32)
    assert drawn.min() == -1.0
    assert -1.0 < drawn.max() <= 1.0
    assert all(not torch.equal(drawn[0], other) for other in drawn[1:])


def test_an_upright_glyph_is_its_template_and_nothing_else(every):
    # no rotation, slant, shift or bend: mass stays centred, black all around
    still = PARAMS.model_copy(update={"rotation": 0.0, "slant": 0.0, "shift": 0.0, "warp": 0.0, "coarse": 0.0})
    ring = glyphs.CLASSES.index("Oo")
    rows = torch.nonzero(every.targets == ring)[:4, 0]
    ink = (glyphs.draw(every, rows, still, torch.Generator().manual_seed(1))[:, 0] + 1) / 2
    places = torch.arange(32.0) - 15.5
    assert (ink.sum(dim=1) @ places / ink.sum(dim=(1, 2))).abs().max() < 0.5
    assert (ink.sum(dim=2) @ places / ink.sum(dim=(1, 2))).abs().max() < 0.5
    assert ink[:, 0].max() < 0.5 * ink.max()


def test_a_coarse_glyph_keeps_fewer_details(every):
    rows = torch.arange(12)
    fine, coarse = (
        glyphs.draw(every, rows, PARAMS.model_copy(update={"coarse": share}), torch.Generator().manual_seed(1))
        for share in (0.0, 1.0)
    )
    assert coarse.diff(dim=3).abs().amax() < fine.diff(dim=3).abs().amax()


def test_no_font_is_refused():
    with pytest.raises(BackboneError, match="no font arrived"):
        glyphs.templates([])


@pytest.mark.parametrize(("width", "last"), [(7, False), (8, True)])
def test_images_lie_channels_last_from_eight_channels_on(every, width, last, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, **how: asked.append(how) or module)
    tiny = PARAMS.model_copy(update={"embedding": width, "hidden": [8, 8], "glyphs_per_class": 1})
    config = ResNetConfig(num_channels=1, embedding_size=width, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
    glyphs._train(Network(AutoModel.from_config(config), len(glyphs.CLASSES), dropout=0.0), every, tiny)
    assert asked == ([{"memory_format": torch.channels_last}] if last else [])


@pytest.fixture(scope="module")
def pretrained(fonts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    fetched = folder / "fetched"
    fetched.mkdir()
    for path in fonts:
        (fetched / path.name).write_bytes(path.read_bytes())
    spec = Backbone(modality="image", source=None, sha256={}, pretrain=PARAMS)
    for name in ("one", "another"):
        store.make(fetched, spec, folder / name)
    return folder


def test_pretraining_twice_gives_the_same_bytes(pretrained):
    assert folder_digest(pretrained / "one") == folder_digest(pretrained / "another")


def test_batchnorms_learned_their_statistics_from_glyphs(pretrained):
    weights = load_file(pretrained / "one/model.safetensors")
    means = [value for name, value in weights.items() if name.endswith("running_mean")]
    variances = [value for name, value in weights.items() if name.endswith("running_var")]
    assert means
    assert all(value.ne(0).all() for value in means)  # where random weights start: 0 and 1
    assert all(value.ne(1).all() for value in variances)


def test_its_processor_is_loaded_by_transformers_and_makes_what_was_trained_on(pretrained):
    from transformers import AutoImageProcessor

    loaded = AutoImageProcessor.from_pretrained(pretrained / "one", backend="pil")
    levels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    pixels = loaded(Image.fromarray(levels), return_tensors="np")["pixel_values"]
    stretched = np.asarray(Image.fromarray(levels).resize((32, 32), Image.Resampling.BILINEAR))
    assert pixels.shape == (1, 1, 32, 32)
    np.testing.assert_allclose(pixels[0, 0], stretched / 127.5 - 1.0, atol=1e-6)


def test_its_specification_is_one_channel_stretched(pretrained):
    spec, _ = processor.input_spec(pretrained / "one", LIMITS)
    assert (spec.mode, spec.resize, spec.height, spec.width) == ("L", "stretch", 32, 32)


@pytest.mark.slow
def test_a_few_epochs_read_glyphs_far_better_than_chance(fonts, tmp_path):
    params = PARAMS.model_copy(update={"glyphs_per_class": 60, "epochs": 4, "embedding": 16, "hidden": [32, 64]})
    [finding] = glyphs.pretrain(fonts, params, tmp_path)
    assert finding.verdict == "pass"
    assert finding.statistic > 10 * finding.bar
