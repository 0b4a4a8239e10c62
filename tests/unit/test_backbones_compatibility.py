"""What a network must do to be a backbone, on tiny ones of transformers' architectures and on fakes of ten lines."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from headstart.backbones import checkpoint, compatibility, processor, store
from headstart.backbones.network import Network
from headstart.errors import BackboneError
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits

LIMITS = Limits(tokens=1024, characters=1000, pixels=10**6, megabytes=2)


@pytest.fixture
def families(monkeypatch):
    """The architectures of the table in docs/backbones.md, and how to write them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("backbones")


def stored(families, kind, folder):
    family = families.FAMILIES[kind]
    families.write(family, folder / "fetched")
    spec = Backbone(modality=family.modality, source="x", sha256={}, pretrain=None)
    store.make(folder / "fetched", spec, folder / "made")
    return folder / "made"


@pytest.mark.parametrize(
    ("kind", "tokens"),
    [
        pytest.param("bert", 130, id="BERT counts from 0: all 130 positions"),
        pytest.param("roberta", 128, id="RoBERTa counts from the padding's id, 1: two less"),
        pytest.param("data2vec-text", 128, id="data2vec-text too"),
        pytest.param("roberta-prelayernorm", 128, id="roberta-prelayernorm too"),
        pytest.param("xmod", 128, id="xmod too"),
        pytest.param("mpnet", 128, id="MPNet too"),
        pytest.param("camembert", 128, id="CamemBERT too"),
    ],
)
def test_the_most_tokens_are_those_the_network_takes_not_those_it_claims(families, tmp_path, kind, tokens):
    made = stored(families, kind, tmp_path)
    spec, _ = processor.input_spec(made, LIMITS)  # 1024 asked, and the tokenizer sets no limit
    assert spec.max_tokens == tokens
    model, _ = checkpoint.pretrained(made)
    ids = torch.full((1, tokens), 7)
    with torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))  # one more raises, except where none is lacking


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (
            "longformer",
            r"longformer pads or shortens texts inside: its layer \S+ gives 128 vectors for texts of 127 tok",
        ),
        ("convbert", "convbert gives the same text other features padded beside a longer text than alone"),
        ("nystromformer", "nystromformer gives the same text other features padded beside a longer text than alone"),
        ("vit_mae", "vit_mae does not give the same input the same features twice"),
        ("t5", "t5 does not run as an encoder: .*it is an encoder with a decoder"),
        (
            "perceiver",
            r"holds the architecture perceiver, which takes inputs; a network of texts \(input_ids\) or of images",
        ),
    ],
)
def test_a_network_that_can_be_no_backbone_is_refused_by_name_when_it_is_stored(families, tmp_path, kind, sentence):
    with pytest.raises(BackboneError, match=sentence):
        stored(families, kind, tmp_path)
    assert not (tmp_path / "made" / "backbone.json").exists()


class Pictures(nn.Module):
    """A stand-in for transformers' image networks: each picture's four quarters are its patches."""

    main_input_name = "pixel_values"

    def __init__(self, minus_batch_mean=False):
        super().__init__()
        self.config = SimpleNamespace(model_type="fake", is_encoder_decoder=False)
        self.layer = nn.Linear(4, 4)
        self.minus_batch_mean = minus_batch_mean

    def forward(self, pixel_values):
        if self.minus_batch_mean:
            pixel_values = pixel_values - pixel_values.mean(dim=0)
        return SimpleNamespace(last_hidden_state=self.layer(pixel_values.flatten(1).reshape(-1, 4, 4)))


def test_images_that_are_answered_alike_alone_and_in_a_batch_pass():
    found = compatibility.check(Network(Pictures(), 2, dropout=0.0, shape=(1, 4, 4)).eval())
    assert (found.check, found.verdict) == ("batching", "pass")
    assert found.statistic <= 1e-6


def test_images_whose_features_depend_on_the_batch_are_refused():
    network = Network(Pictures(minus_batch_mean=True), 2, dropout=0.0, shape=(1, 4, 4)).eval()
    with pytest.raises(BackboneError, match="fake gives the same image other features in a batch with other images"):
        compatibility.check(network)


def test_backbones_stored_before_lengths_were_measured_get_less_than_they_claim(families, tmp_path):
    made = stored(families, "roberta", tmp_path)
    document = {"format": 1, "kind": "roberta", "modality": "text", "shape": None}
    (made / "backbone.json").write_text(json.dumps(document))
    assert processor.input_spec(made, LIMITS)[0].max_tokens == 128  # 130 positions, padding id 1
