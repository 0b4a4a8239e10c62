"""What is asked of a network before and after it is trained."""

import pytest
import torch

from headstart.backbones import masked_language, reference
from headstart.backbones.network import Network
from headstart.data import dataset
from headstart.transfer import retention
from tests.unit import tiny_transfer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("headed", "known"), [(True, True), (False, True), (True, False)])
def test_words_of_the_reference_are_asked_of_a_backbone_that_brought_a_head_for_them(tmp_path, headed, known):
    folder = tiny_transfer.text_model(tmp_path / "model")
    if headed:
        masked_language.write(masked_language.fresh(folder / "backbone", seed=1), folder / "backbone")
    if known:
        rows = dataset.read(folder / "data/train.parquet")
        reference.write(folder / "backbone" / reference.FILE, "text", rows.inputs, rows.labels)
    own = tiny_transfer.context(folder)
    network = Network.from_backbone(own.backbone, own.classes, dropout=0.0)
    before = retention.remember(network, own, dataset.read(folder / "data/validation.parquet"), 20)
    same = retention.measure(network, own, before, 0.9)
    with torch.no_grad():
        network.backbone.encoder.layer[1].output.dense.weight.normal_(generator=torch.Generator().manual_seed(1))
    wrecked = retention.measure(network, own, before, 0.9)
    assert (same.kept is None) is (not known)
    if known:
        assert (same.kept.wins, same.kept.losses, same.lost) == (0, 0, 0.0), "nothing was trained"
        assert wrecked.kept.losses > 0
    if not (headed and known):
        assert before.words is wrecked.words is wrecked.document()["words"] is None
        return
    assert same.words == (before.words, before.words)
    assert wrecked.document()["words"]["before"] == before.words.document()
    assert wrecked.words[1].value != pytest.approx(before.words.value)
    assert wrecked.moved["encoder.layer.1"] > 1.0 > wrecked.moved["embeddings"] == 0.0
