"""Backbones compared on one model's examples."""

import shutil

import pytest
import torch

from headstart.data import dataset
from headstart.errors import UsageError
from headstart.params.loader import load
from headstart.transfer import probe, ranking
from tests.tiny import workspace
from tests.unit import tiny_transfer

LABELS = tuple(sorted(workspace.TOPICS))


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """A backbone that knows the words, one whose words were dealt anew, and the first again, one block shorter."""
    from transformers import AutoModel

    folder = tiny_transfer.text_model(tmp_path_factory.mktemp("ranking") / "model")
    backbones = {"knowing": folder / "backbone"}
    for name in ("ignorant", "short"):
        backbones[name] = folder / name
        shutil.copytree(folder / "backbone", backbones[name])
        network = AutoModel.from_pretrained(folder / "backbone", add_pooling_layer=False)
        if name == "ignorant":
            with torch.no_grad():
                for value in network.parameters():
                    value.normal_(generator=torch.Generator().manual_seed(0))
        else:
            network.encoder.layer = network.encoder.layer[:1]
            network.config.num_hidden_layers = 1
        network.save_pretrained(backbones[name])
    for home in backbones.values():
        (home / "backbone.json").write_text('{"modality": "text", "shape": null}')
    params, _ = tiny_transfer.sections("text")
    limits = load(workspace.ROOT / "params.yaml").models["apidocs"].prepare.limits
    learn = dataset.read(folder / "data/train.parquet")
    own = {"limits": limits, "params": params.probe, "cache": folder / "cache", "level": 0.9}
    return ranking.rank(backbones, learn, LABELS, **own), (backbones, learn, params, own)


def test_the_backbone_that_knows_the_words_is_ahead_beyond_doubt(ranked):
    ranks, _ = ranked
    last = ranks[-1]
    assert last.backbone == "ignorant"
    assert not last.tied and last.behind.interval.low > 0
    assert last.log_me < min(one.log_me for one in ranks[:-1])
    assert ranks[0].behind is None and ranks[0].tied


def test_of_those_that_cannot_be_told_apart_the_smallest_is_recommended(ranked):
    ranks, _ = ranked
    by_name = {one.backbone: one for one in ranks}
    assert by_name["short"].parameters < by_name["knowing"].parameters
    tied = [one.backbone for one in ranks if one.tied]
    assert ranking.recommended(ranks).backbone == ("short" if "short" in tied else "knowing")


def test_the_probe_is_the_one_that_the_plan_fits(ranked):
    ranks, (_, learn, params, own) = ranked
    features, _, _ = ranking._measured(ranked[1][0]["knowing"], learn, LABELS, own["limits"], own["cache"])
    _, logits = probe.choose(features, learn.targets(LABELS), 3, params.probe, groups=learn.groups)
    right = float((logits.argmax(axis=1) == learn.targets(LABELS)).mean())
    assert {one.backbone: one for one in ranks}["knowing"].probe.value == pytest.approx(right)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["nobody"], "no backbone 'nobody' in params.yaml; it has minilm, glyphs"),
        (["glyphs"], "glyphs is for images, apidocs has texts"),
        ([], "minilm is the only candidate for apidocs; ranking needs two"),
        (["minilm", "minilm"], "minilm is the only candidate"),
    ],
)
def test_what_cannot_be_ranked_is_refused(asked, sentence):
    from headstart.cli.rank import candidates

    with pytest.raises(UsageError, match=sentence):
        candidates(load(workspace.ROOT / "params.yaml"), "apidocs", asked)
