"""The masked-language head: kept beside the backbone it came with, and put together with it as transformers does."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, DistilBertConfig, ElectraConfig, MPNetConfig, RobertaConfig

from headstart.backbones import masked_language, store
from headstart.backbones.masked_language import HEAD_FILE
from headstart.backbones.quiet_logging import quiet
from headstart.determinism import file_digest
from headstart.errors import BackboneError
from headstart.params.backbones import Backbone
from headstart.report.finding_words import told
from tests.unit import backbone_folders as tiny

SPEC = Backbone(modality="text", source="unused", sha256={}, pretrain=None)
SIZES = {"vocab_size": len(tiny.WORDS), "max_position_embeddings": 32, "pad_token_id": 0}
CONFIGS = {
    "bert": tiny.bert(),
    "roberta": RobertaConfig(**SIZES, **tiny.SMALL),
    "distilbert": DistilBertConfig(**SIZES, dim=8, n_layers=2, n_heads=2, hidden_dim=16),
    "mpnet": MPNetConfig(**SIZES, **tiny.SMALL),
    "electra": ElectraConfig(**SIZES, embedding_size=8, **tiny.SMALL),
}
IDS = torch.tensor([[2, 5, 4, 7, 3], [2, 6, 4, 3, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS != 0).long()}
HIDDEN = IDS == 4


def checkpoint(folder, config):
    """What transformers saves of a masked-language model, every parameter a sine of its place."""
    tiny.write_text(folder)
    with quiet():
        whole = AutoModelForMaskedLM.from_config(config)
        with torch.no_grad():
            for shift, parameter in enumerate(whole.parameters()):
                places = torch.arange(parameter.numel(), dtype=torch.float64) + shift
                parameter.copy_((0.3 * torch.sin(places * 1.7)).reshape(parameter.shape))
        whole.save_pretrained(folder)
    return whole.eval()


def made(folder, config):
    """The checkpoint below `folder`, and what `store` makes of it."""
    (folder / "fetched").mkdir()
    whole = checkpoint(folder / "fetched", config)
    store.make(folder / "fetched", SPEC, folder / "stored")
    return whole


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    made(folder, CONFIGS["bert"])
    return folder / "stored"


@pytest.mark.parametrize("kind", CONFIGS)
def test_hidden_tokens_get_the_logits_that_transformers_gives_them(tmp_path, kind):
    whole = made(tmp_path, CONFIGS[kind])
    model = masked_language.load(tmp_path / "stored")
    assert model is not None
    with torch.no_grad():
        expected = whole(**INPUTS).logits[HIDDEN]
        assert torch.allclose(model(HIDDEN, **INPUTS), expected, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_tied_embeddings_stay_one_matrix_and_are_stored_once(tmp_path, kind):
    made(tmp_path, CONFIGS[kind])
    whole = masked_language.load(tmp_path / "stored").whole
    assert whole.get_output_embeddings().weight is whole.get_input_embeddings().weight
    assert (len(tiny.WORDS), 8) not in [value.shape for value in load_file(tmp_path / "stored" / HEAD_FILE).values()]


def test_a_matrix_that_is_not_tied_is_stored_with_the_head(tmp_path):
    config = tiny.bert()
    config.tie_word_embeddings = False
    whole = made(tmp_path, config)
    with torch.no_grad():
        expected = whole(**INPUTS).logits[HIDDEN]
        assert torch.allclose(masked_language.load(tmp_path / "stored")(HIDDEN, **INPUTS), expected, atol=1e-5)


def test_the_description_names_the_head_and_says_that_it_is_kept(stored):
    found = json.loads((stored / "backbone.json").read_text())
    assert found["files"][HEAD_FILE] == file_digest(stored / HEAD_FILE)
    [weights] = [finding for finding in found["findings"] if finding["check"] == "weights"]
    # the transform's matrix and bias, its norm's two, and the bias of the words
    assert told(weights)["reason"] == "5 weights of its masked-language head are kept beside it."


def test_a_checkpoint_without_a_head_has_no_such_file(tmp_path):
    (tmp_path / "fetched").mkdir()
    tiny.write_text(tmp_path / "fetched")
    store.make(tmp_path / "fetched", SPEC, tmp_path / "stored")
    assert not (tmp_path / "stored" / HEAD_FILE).exists()
    assert masked_language.load(tmp_path / "stored") is None


def test_half_a_head_is_left_out_and_named(tmp_path):
    (tmp_path / "fetched").mkdir()
    checkpoint(tmp_path / "fetched", CONFIGS["bert"])
    weights = load_file(tmp_path / "fetched/model.safetensors")
    del weights["cls.predictions.transform.dense.weight"]
    save_file(weights, tmp_path / "fetched/model.safetensors", metadata={"format": "pt"})
    store.make(tmp_path / "fetched", SPEC, tmp_path / "stored")
    assert masked_language.load(tmp_path / "stored") is None
    found = json.loads((tmp_path / "stored/backbone.json").read_text())["findings"]
    assert "4 weights are no part of the backbone and were left out: cls." in told(found[0])["reason"]


def test_a_head_of_another_backbone_is_refused_with_both_shapes(stored, tmp_path):
    folder = shutil.copytree(stored, tmp_path / "b")
    weights = load_file(folder / HEAD_FILE)
    weights["cls.predictions.bias"] = torch.zeros(5)
    del weights["cls.predictions.transform.dense.bias"]
    save_file(weights, folder / HEAD_FILE)
    with pytest.raises(BackboneError, match=r"(?s)dense\.bias: missing.*bias: shape \(5,\), expected \(12,\)"):
        masked_language.load(folder)


def test_a_fresh_head_depends_on_its_seed_alone_and_draws_no_number_of_the_callers(stored):
    before = torch.get_rng_state()
    heads = [masked_language.fresh(stored, seed=seed).head_parameters() for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    name = "cls.predictions.transform.dense.weight"
    assert torch.equal(heads[0][name], heads[1][name])
    assert not torch.equal(heads[0][name], heads[2][name])


def test_an_architecture_without_such_a_head_is_refused_by_name(tmp_path):
    tiny.write_image(tmp_path)
    with pytest.raises(BackboneError, match="is a resnet; a head that guesses hidden words is known for bert, roberta"):
        masked_language.fresh(tmp_path, seed=1)
