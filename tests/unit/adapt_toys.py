"""What tests of adaptation share: toy backbones with and without a head, a contract, and texts of three topics."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM

from headstart.backbones import processor, store
from headstart.backbones.quiet_logging import quiet
from headstart.contract import files, spec
from headstart.params.adapt import Adapt
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits
from headstart.predictor import Preprocessor
from headstart.transfer.adapt import text
from headstart.transfer.adapt.masking import Words
from tests.tiny import workspace

SPEC = Backbone(modality="text", source="unused", sha256={}, pretrain=None)
LIMITS = Limits(tokens=16, characters=400, pixels=10_000, megabytes=1)
CPU = torch.device("cpu")
PARAMS = Adapt(epochs=3, budget=6000, learning_rate=3e-3, held_out=0.15, seed=3)


def topics(count):
    """Sentences of the made-up language, each with words of one topic: hidden ones can be guessed from the others."""
    random = np.random.default_rng(5)
    names = sorted(workspace.TOPICS)
    return [" ".join(random.choice(workspace.TOPICS[names[at % 3]], 6)) for at in range(count)]


def with_params(**changes):
    return PARAMS.model_copy(update=changes)


def contract(backbone, folder):
    """The preprocessor of a contract made for a stored backbone."""
    found, tokenizer_json = processor.input_spec(backbone, LIMITS)
    files.write(folder, spec.Contract("text", found, ("a", "b")), tokenizer_json=tokenizer_json)
    return Preprocessor.load(folder)


def stored(folder, *, head):
    """A tiny BERT as `store` keeps it, with dropout, with or without the head that guesses words."""
    workspace.write_backbone(folder / "fetched")
    if head:
        config = BertConfig.from_pretrained(folder / "fetched")
        torch.manual_seed(1)
        with quiet():
            whole = BertForMaskedLM(config)
            whole.bert.load_state_dict(load_file(folder / "fetched/model.safetensors"))
            whole.save_pretrained(folder / "fetched")
    store.make(folder / "fetched", SPEC, folder / "stored")
    return folder / "stored"


@pytest.fixture(scope="module")
def headed(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("headed"), head=True)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("bare"), head=False)


@pytest.fixture(scope="module")
def preprocessor(bare, tmp_path_factory):
    return contract(bare, tmp_path_factory.mktemp("contract"))


@pytest.fixture(scope="module")
def words(bare, preprocessor):
    return Words.load(bare, preprocessor)


@pytest.fixture(scope="module")
def adapted(headed, preprocessor, tmp_path_factory):
    """One adaptation of the backbone that has a head, and its folder."""
    folder = tmp_path_factory.mktemp("adapted")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HEADSTART_THREADS", "1")
        result = text.adapt(
            headed, topics(150), PARAMS, preprocessor=preprocessor, out=folder / "out", partial=folder / "partial"
        )
    return result, folder / "out"


def run(backbone, folder, texts, preprocessor, **changes):
    return text.adapt(
        backbone, texts, with_params(**changes), preprocessor=preprocessor, out=folder / "out", partial=folder / "p"
    )


# what is hidden
