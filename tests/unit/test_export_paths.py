"""Hard inputs go both ways from raw bytes to logits; a planted fault is named by the gate."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest

from headstart.backbones import processor, store
from headstart.backbones.network import Network
from headstart.contract import preprocess, text
from headstart.contract.files import write
from headstart.contract.spec import PREPROCESS_FILE, Contract, read
from headstart.evaluation.gates import preprocessing
from headstart.export import graph, paths
from headstart.faults import corpus
from headstart.params.backbones import Backbone
from headstart.params.prepare import Limits
from tests.unit import backbone_folders as tiny

LIMITS = Limits(tokens=16, characters=200_000, pixels=5_000_000, megabytes=5)
LABELS = ("a", "b", "c")

pytestmark = pytest.mark.slow


def judged(found):
    """The gate's finding where the server answers as the bundle does."""
    served = {"inputs": 1, "refused": 0, "max_difference": 0.0, "label_flips": 0, "wrong": []}
    return preprocessing.judge(found, 1e-3, served)


def made(folder, modality):
    """A network under a head that is no constant, its contract's folder and its exported file."""
    writer = tiny.write_text if modality == "text" else tiny.write_image
    backbone = Backbone(modality=modality, source="x", sha256={}, pretrain=None)
    store.make(writer(folder / "from"), backbone, folder / "backbone")
    network = Network.from_backbone(folder / "backbone", 3, dropout=0.1)
    weight = np.sin(np.arange(3 * network.hidden_size)).reshape(3, network.hidden_size)
    network.set_head(weight, [0.1, 0.2, 0.3])
    spec, tokenizer_json = processor.input_spec(folder / "backbone", LIMITS)
    write(folder / "contract", Contract(modality, spec, LABELS), tokenizer_json=tokenizer_json)
    graph.export(network, modality, folder / "model.onnx", 20)
    return network, folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return made(tmp_path_factory.mktemp("texts"), "text")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return made(tmp_path_factory.mktemp("pictures"), "image")


def test_hard_texts_come_out_alike_and_what_no_contract_accepts_is_refused(texts):
    network, folder = texts
    found = paths.check(network, folder / "model.onnx", folder / "contract")
    assert found["refused"] == ["empty", "invisible", "binary", "half_a_pair"]
    assert {"long", "longest", "emoji", "right_to_left"} <= {case["name"] for case in found["cases"]}
    assert all(case["prepared_difference"] == 0.0 and not case["mistakes"] for case in found["cases"])
    assert judged(found).verdict == "pass"
    json.dumps(found, allow_nan=False)


def test_hard_pictures_come_out_alike_and_what_no_contract_accepts_is_refused(pictures):
    network, folder = pictures
    found = paths.check(network, folder / "model.onnx", folder / "contract")
    assert found["refused"] == ["cut_off", "empty", "no_picture"]
    assert {"wide", "one_pixel", "cmyk", "16_bit", "exif_6"} <= {case["name"] for case in found["cases"]}
    assert judged(found).verdict == "pass"
    json.dumps(found, allow_nan=False)


def test_inputs_beyond_the_contracts_limits_are_refusals_and_no_fault(texts, tmp_path):
    network, folder = texts
    contract = read(folder / "contract")
    tokenizer = (folder / "contract" / "tokenizer.json").read_bytes().decode()
    smaller = replace(contract, input=replace(contract.input, max_characters=1000))
    write(tmp_path, smaller, tokenizer_json=tokenizer)
    found = paths.check(network, folder / "model.onnx", tmp_path)
    assert "long" in found["refused"] and "longest" not in found["refused"]
    assert judged(found).verdict == "pass"


def test_a_preprocessing_graph_with_another_filter_is_blocked_by_name(pictures, tmp_path):
    network, folder = pictures
    contract = shutil.copytree(folder / "contract", tmp_path / "contract")
    spec = read(contract).input
    other = "bicubic" if spec.resample != "bicubic" else "bilinear"
    onnx.save(preprocess.author(replace(spec, resample=other)), contract / PREPROCESS_FILE)
    finding = judged(paths.check(network, folder / "model.onnx", contract))
    assert finding.verdict == "fail"
    assert f"the difference starts before the network: resized by the {other} filter." in finding.reason


def test_a_preprocessing_graph_that_divides_twice_is_blocked_by_name(pictures, tmp_path):
    network, folder = pictures
    contract = shutil.copytree(folder / "contract", tmp_path / "contract")
    spec = read(contract).input
    onnx.save(preprocess.author(replace(spec, rescale=spec.rescale / 255)), contract / PREPROCESS_FILE)
    finding = judged(paths.check(network, folder / "model.onnx", contract))
    assert "the difference starts before the network: levels were divided by 255 twice." in finding.reason


def test_a_tokenizer_with_another_truncation_is_blocked_by_name(texts, monkeypatch):
    network, folder = texts
    begin = text.Encoder.__init__

    def shorter(self, spec, tokenizer_json):
        begin(self, spec, tokenizer_json)
        self._tokenizer.enable_truncation(max_length=spec.max_tokens - 4)

    monkeypatch.setattr(text.Encoder, "__init__", shorter)
    finding = judged(paths.check(network, folder / "model.onnx", folder / "contract"))
    assert finding.verdict == "fail"
    assert "the difference starts before the network: cut to 12 tokens instead of 16." in finding.reason


def test_a_network_that_answers_otherwise_is_told_apart_from_its_input(pictures, tmp_path):
    network, folder = pictures
    other = Network.from_backbone(folder / "backbone", 3, dropout=0.1)
    other.set_head(np.cos(np.arange(3 * network.hidden_size)).reshape(3, -1), [0.3, 0.2, 0.1])
    graph.export(other, "image", tmp_path / "model.onnx", 20)
    finding = judged(paths.check(network, tmp_path / "model.onnx", folder / "contract"))
    assert "it is prepared alike, so the difference starts in model.onnx" in finding.reason


def test_the_corpus_is_the_same_on_every_run():
    assert corpus.pictures() == corpus.pictures()
    assert corpus.texts(1000) == corpus.texts(1000)
    assert len(corpus.texts(1000)["longest"]) == 1000


def test_files_that_give_no_answer_are_blocked(pictures, monkeypatch):
    from headstart.predictor import UNANSWERED, Predictor

    def broken(self, items):
        raise UNANSWERED[0]("no such thing")

    network, folder = pictures
    monkeypatch.setattr(Predictor, "run", broken)
    finding = judged(paths.check(network, folder / "model.onnx", folder / "contract"))
    assert (finding.verdict, finding.statistic) == ("fail", None)
    assert "give no answer at all" in finding.reason


def test_answers_that_are_no_numbers_are_blocked(pictures, monkeypatch):
    from headstart.predictor import Predictor

    run = Predictor.run

    def without_numbers(self, items):
        given = run(self, items)
        return given._replace(logits=given.logits * np.nan, features=given.features * np.nan)

    monkeypatch.setattr(Predictor, "run", without_numbers)
    network, folder = pictures
    found = paths.check(network, folder / "model.onnx", folder / "contract")
    assert judged(found).verdict == "fail"
    json.dumps(found, allow_nan=False)
