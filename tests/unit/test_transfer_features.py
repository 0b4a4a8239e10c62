import numpy as np
import pytest

from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.predictor import Preprocessor
from headstart.transfer import features
from tests.unit import tiny_transfer


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tiny_transfer.text_model(tmp_path_factory.mktemp("text"))
    network = Network.from_backbone(folder / "backbone", 3, dropout=0.5)
    return network, Preprocessor.load(folder / "data/contract"), dataset.read(folder / "data/train.parquet")


def extracted(model, cache, *, rows=None, key="weights"):
    network, preprocessor, examples = model
    chosen = examples if rows is None else examples.select(rows)
    return features.extract(network, preprocessor, chosen, cache=cache, key=key, progress="test")


def test_features_are_the_same_to_the_bit_whatever_order_the_examples_come_in(text, tmp_path):
    straight = extracted(text, tmp_path / "a")
    order = np.random.default_rng(1).permutation(len(straight))
    shuffled = extracted(text, tmp_path / "b", rows=order)
    assert np.array_equal(straight[order], shuffled)


def test_an_example_that_stands_twice_gets_the_same_features_twice(text, tmp_path):
    twice = extracted(text, tmp_path, rows=[3, 5, 3])
    assert np.array_equal(twice[0], twice[2])
    assert not np.array_equal(twice[0], twice[1])


def test_features_are_those_of_the_network_run_on_one_example_alone(text, tmp_path):
    import torch

    network, preprocessor, examples = text
    found = extracted(text, tmp_path, rows=range(8))
    for row in range(8):
        batch = preprocessor.collate(preprocessor.prepare([examples.inputs[row]]))
        with torch.no_grad():
            alone = network(**{name: torch.from_numpy(value) for name, value in batch.items()})["features"]
        assert np.allclose(found[row], alone.numpy()[0], atol=1e-5)


def test_what_was_seen_before_is_read_and_not_computed_again(text, tmp_path, monkeypatch):
    first = extracted(text, tmp_path)
    monkeypatch.setattr(features, "_run", lambda *_, **__: pytest.fail("computed again"))
    assert np.array_equal(extracted(text, tmp_path, rows=reversed(range(len(first)))), first[::-1])


@pytest.mark.parametrize("damage", [b"", b"PK half a file", None], ids=["empty", "no archive", "cut short"])
def test_a_damaged_file_is_named_and_computed_anew(text, tmp_path, damage):
    before = extracted(text, tmp_path)
    [path] = (tmp_path / "features").iterdir()
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged"):
        assert (extracted(text, tmp_path) == before).all()
    assert (extracted(text, tmp_path) == before).all()  # and kept whole, without a warning


@pytest.mark.parametrize(
    ("rows", "key"),
    [pytest.param(range(9), "weights", id="other examples"), pytest.param(range(10), "changed", id="other weights")],
)
def test_other_content_is_computed_anew(text, tmp_path, monkeypatch, rows, key):
    extracted(text, tmp_path, rows=range(10))
    monkeypatch.setattr(features, "_run", lambda *_, **__: (_ for _ in ()).throw(KeyError("computed")))
    with pytest.raises(KeyError, match="computed"):
        extracted(text, tmp_path, rows=rows, key=key)


def test_layers_come_from_the_input_side_and_the_last_is_what_the_probe_sees(text, tmp_path):
    network, preprocessor, examples = text
    found = features.extract_layers(network, preprocessor, examples, cache=tmp_path, key="w", progress="test")
    again = features.extract_layers(network, preprocessor, examples, cache=tmp_path, key="w", progress="test")
    assert [name for name, _ in found] == ["embeddings", "encoder.layer.0", "encoder.layer.1"]
    assert np.allclose(found[-1][1], extracted(text, tmp_path), atol=1e-6)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(found, again, strict=True))


def test_dropout_is_off_and_the_network_keeps_its_mode(text, tmp_path):
    network = text[0]
    network.train()
    one, two = (extracted(text, tmp_path / name) for name in ("a", "b"))
    assert network.training
    network.eval()
    assert np.array_equal(one, two)


def test_a_batch_that_memory_does_not_hold_is_computed_in_halves(text, tmp_path, monkeypatch):
    whole = extracted(text, tmp_path / "whole")
    plain = Network.features
    refused = []

    def short(self, **inputs):
        if (batch := len(next(iter(inputs.values())))) > 3:
            refused.append(batch)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(self, **inputs)

    monkeypatch.setattr(Network, "features", short)
    assert extracted(text, tmp_path / "halves") == pytest.approx(whole, abs=1e-5)
    assert refused == [32, 16, 8, 4]  # once each: the batches that follow are cut from the start
    monkeypatch.setattr(Network, "features", lambda self, **_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        extracted(text, tmp_path / "none")


def test_prepared_examples_beyond_the_memory_allowed_are_prepared_again(text, monkeypatch):
    from headstart.transfer import examples

    monkeypatch.setattr(examples, "KEPT_BYTES", 200)
    prepared = examples.Prepared(text[1], text[2].inputs)
    first, again = prepared.get(range(20)), prepared.get([*range(19, -1, -1), 3, 3])
    assert all(np.array_equal(a, b) for a, b in zip(first, reversed(again[:20]), strict=True))
    assert np.array_equal(again[20], first[3])
