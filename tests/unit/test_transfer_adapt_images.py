"""BatchNorm statistics taken anew from images."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.backbones import processor, store
from headstart.backbones.network import Network
from headstart.contract import files, spec
from headstart.determinism import file_digest
from headstart.errors import BackboneError, DataError
from headstart.params.backbones import Backbone
from headstart.predictor import Preprocessor
from headstart.transfer.adapt import image as image_adaptation
from headstart.transfer.adapt.image import adapt, reestimate
from tests.unit import backbone_folders as tiny
from tests.unit.adapt_toys import LIMITS, adapted, bare, headed, preprocessor, words

pytestmark = pytest.mark.usefixtures("one_thread")


def pictures(count, *, level=0):
    """Grey noise, brighter by `level`."""
    random = np.random.default_rng(7)
    return [_png(random.integers(0, 100, (12, 12)) + level) for _ in range(count)]


def _png(levels):
    file = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A ResNet as `store` keeps it, and its preprocessor."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "fetched").mkdir()
    tiny.write_image(folder / "fetched")
    store.make(folder / "fetched", Backbone(modality="image", source="x", sha256={}, pretrain=None), folder / "stored")
    found, _ = processor.input_spec(folder / "stored", LIMITS)
    files.write(folder / "contract", spec.Contract("image", found, ("a", "b")), tokenizer_json=None)
    return folder / "stored", Preprocessor.load(folder / "contract")


def _inputs_of(network, norm, batch):
    """What a BatchNorm is given, `(values, channels)`, when every BatchNorm normalises by its stored statistics."""
    seen = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.features(pixel_values=batch)
    hook.remove()
    return seen[0].transpose(0, 1).flatten(1).T.double().numpy()


def _norms(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_statistics_are_the_moments_of_all_images_whatever_the_batches(image):
    backbone, preprocessor = image
    network = Network.from_backbone(backbone, 2, dropout=0.0)
    images = pictures(48)
    batch = torch.from_numpy(np.stack(preprocessor.prepare(images)))
    first = _norms(network)[0]
    values = _inputs_of(network, first, batch)
    result = reestimate(network, images, preprocessor, batch_size=16, source_images=0.0)
    assert (result.images, result.norms) == (48, len(_norms(network)))
    np.testing.assert_allclose(first.running_mean, values.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first.running_var, values.var(axis=0, ddof=1), rtol=1e-5)


def test_in_one_batch_every_layer_then_gets_what_its_statistics_say(image):
    backbone, preprocessor = image
    network = Network.from_backbone(backbone, 2, dropout=0.0)
    images = pictures(20)
    batch = torch.from_numpy(np.stack(preprocessor.prepare(images)))
    reestimate(network, images, preprocessor, batch_size=20, source_images=0.0)
    for norm in _norms(network):
        values = _inputs_of(network, norm, batch)
        np.testing.assert_allclose(norm.running_mean, values.mean(axis=0), rtol=2e-2, atol=1e-3)
        np.testing.assert_allclose(norm.running_var, values.var(axis=0, ddof=1), rtol=5e-2)


def test_the_sources_statistics_weigh_as_many_images_as_asked(image):
    backbone, preprocessor = image
    networks = [Network.from_backbone(backbone, 2, dropout=0.0) for _ in range(3)]
    source = _norms(networks[0])[0].running_mean.clone()
    for network, weight in zip(networks[1:], (0.0, 60.0), strict=True):
        reestimate(network, pictures(20), preprocessor, batch_size=16, source_images=weight)
    target, shrunk = (_norms(network)[0].running_mean for network in networks[1:])
    torch.testing.assert_close(shrunk, 0.25 * target + 0.75 * source)  # 20 of 80


def test_reestimating_changes_nothing_but_statistics_and_not_by_order_or_copies(image):
    backbone, preprocessor = image
    one, other, before = (Network.from_backbone(backbone, 2, dropout=0.0) for _ in range(3))
    images = pictures(20)
    reestimate(one, images, preprocessor, batch_size=16, source_images=0.0)
    reestimate(other, [*images[::-1], *images[:5]], preprocessor, batch_size=16, source_images=0.0)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        if "running" not in name:
            assert torch.equal(value, before.state_dict()[name])
    assert not one.training and not any(norm.training for norm in _norms(one))


def test_fewer_than_sixteen_distinct_images_are_refused(image):
    backbone, preprocessor = image
    network = Network.from_backbone(backbone, 2, dropout=0.0)
    with pytest.raises(DataError, match=r"15 distinct images are too few.*16 are the least"):
        reestimate(network, pictures(15) * 2, preprocessor, batch_size=16, source_images=0.0)


def test_a_network_without_batchnorm_is_refused(bare, image):
    network = Network.from_backbone(bare, 2, dropout=0.0)
    with pytest.raises(BackboneError, match="bert has no BatchNorm that keeps statistics"):
        reestimate(network, pictures(20), image[1], batch_size=16, source_images=0.0)


def test_an_adapted_image_backbone_is_a_backbone_with_other_statistics(image, tmp_path, monkeypatch):
    monkeypatch.setattr(image_adaptation, "SOURCE_IMAGES", 0.0)
    backbone, preprocessor = image
    out, images = tmp_path / "out", pictures(20, level=100)
    result = adapt(backbone, images, preprocessor=preprocessor, out=out)
    description = json.loads((out / "backbone.json").read_text())
    assert description["files"]["model.safetensors"] == file_digest(out / "model.safetensors")
    assert Network.from_backbone(out, 2, dropout=0.0).shape == (1, 16, 16)
    again = adapt(out, images, preprocessor=preprocessor, out=tmp_path / "again")
    assert again.moved == pytest.approx(0.0, abs=1e-5) and result.moved > 0.01
