"""Backbones compared on one model's examples."""

import shutil

import numpy as np
import pytest
import torch

from headstart.data import dataset
from headstart.data.dataset import Dataset
from headstart.errors import UsageError
from headstart.params.loader import load
from headstart.statistics import paired
from headstart.statistics.interval import Interval
from headstart.transfer import ranking
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
    own = {"limits": limits, "params": params.probe, "cache": folder / "cache"}
    return ranking.rank(backbones, learn, LABELS, **own)


def test_the_backbone_that_knows_the_words_is_ahead_beyond_doubt(ranked):
    last = ranked[-1]
    assert last.backbone == "ignorant"
    assert not last.tied and last.behind.interval.low > 0
    assert ranked[0].behind is None and ranked[0].tied


def one(name: str, parameters: int, behind: tuple[float, float] | None) -> ranking.Rank:
    apart = behind and paired.Difference(Interval(sum(behind) / 2, *behind, 100), 0.5, 9, 5)
    return ranking.Rank(name, Interval(0.8, 0.7, 0.9, 100), apart, parameters, 1.0)


def test_of_those_that_cannot_be_told_apart_the_smallest_is_recommended():
    ranks = [one("best", 90, None), one("tied", 40, (-0.01, 0.05)), one("tiny, worse", 10, (0.01, 0.08))]
    assert ranking.recommended(ranks).backbone == "tied"
    assert ranking.recommended([ranks[0], ranks[2]]).backbone == "best"


def test_equally_good_backbones_are_told_apart_as_seldom_as_the_level_says(monkeypatch, tmp_path):
    # five that err on 30% of 400 rows, each on its own
    told, generator = 0, np.random.default_rng(0)
    none = [None] * 400
    learn = Dataset("text", [*map(str, range(400))], ["a"] * 200 + ["b"] * 200, ["x"] * 400, none, none)
    targets = learn.targets(("a", "b"))
    monkeypatch.setattr(
        ranking, "_measured", lambda folder, *_: (np.full((400, 1), int(folder.name), np.float32), 1, 1.0)
    )
    for _ in range(200):
        right = generator.random((5, 400)) < 0.7
        answered = np.where(right, targets, 1 - targets)
        monkeypatch.setattr(
            ranking.probe, "choose", lambda seen, *_, own=answered, **__: (1.0, np.eye(2)[own[int(seen[0, 0])]])
        )
        folders = {str(name): tmp_path / str(name) for name in range(5)}
        ranks = ranking.rank(folders, learn, ("a", "b"), limits=None, params=None, cache=tmp_path)
        told += any(not rank.tied for rank in ranks)
    assert told / 200 <= 0.1


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (["nobody"], "no backbone 'nobody' in params.yaml; it has minilm, glyphs"),
        (["glyphs"], "glyphs is for images, apidocs has texts"),
        ([], "minilm, which apidocs has, is the only candidate; ranking needs two"),
        (["minilm", "minilm"], "minilm, which apidocs has, is the only candidate"),
    ],
)
def test_what_cannot_be_ranked_is_refused(asked, sentence):
    from headstart.cli.rank import candidates

    with pytest.raises(UsageError, match=sentence):
        candidates(load(workspace.ROOT / "params.yaml"), "apidocs", asked)


def test_the_models_own_backbone_is_always_compared():
    from headstart.cli.rank import candidates

    params = load(workspace.ROOT / "params.yaml")
    entry = params.backbones["minilm"]
    params = params.model_copy(update={"backbones": {**params.backbones, "b2": entry, "b3": entry}})
    assert candidates(params, "apidocs", ["b2"]) == ["minilm", "b2"]
    assert candidates(params, "apidocs", []) == ["minilm", "b2", "b3"]
    with pytest.raises(UsageError) as caught:
        candidates(params, "apidocs", ["minilm"])
    assert "Name another of minilm, b2, b3" in str(caught.value)
