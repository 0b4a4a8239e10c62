"""`headstart add --backbone SOURCE`: a backbone of this machine is tried before a line is written."""

import importlib
import shutil
from pathlib import Path

import pytest
import yaml

from headstart.backbones import store
from headstart.cli.add import add
from headstart.errors import BackboneError
from tests.unit import backbone_folders as tiny

pytestmark = pytest.mark.slow

ROWS = "text,label\nmy card is lost,card\nwhere is my money,money\na card was eaten,card\nmoney came late,money\n"


@pytest.fixture
def workspace(initialised):
    (initialised / "rows.csv").write_text(ROWS)
    return initialised


@pytest.fixture
def families(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("backbones")


def test_a_longformer_is_refused_in_a_sentence_and_nothing_is_written(workspace, families):
    families.write(families.FAMILIES["longformer"], workspace / "longformer")
    before = (workspace / "params.yaml").read_text()
    with pytest.raises(BackboneError, match="longformer pads or shortens texts inside"):
        add("long", data=["rows.csv"], backbone="longformer/")
    assert (workspace / "params.yaml").read_text() == before


def test_a_backbone_that_works_is_written_and_not_tried_again(workspace, monkeypatch, capsys):
    tiny.write_text(workspace / "tinybert")
    add("first", data=["rows.csv"], backbone="tinybert/", as_json=True)
    assert yaml.safe_load((workspace / "params.yaml").read_text())["backbones"]["tinybert"]["source"] == "tinybert"
    assert "trying whether tinybert can be prepared for, batched and exported" in capsys.readouterr().err

    def fail(*_):
        raise AssertionError("tried again")

    monkeypatch.setattr(store, "make", fail)
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("tinybert:", "other:").replace("source: tinybert", "source: x"))
    add("second", data=["rows.csv"], backbone="tinybert/", as_json=True)  # a new entry, the same files and code


def test_files_that_changed_are_tried_again(workspace, families):
    tiny.write_text(workspace / "encoder")
    add("first", data=["rows.csv"], backbone="encoder/", as_json=True)
    shutil.rmtree(workspace / "encoder")
    families.write(families.FAMILIES["longformer"], workspace / "encoder")
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(text.replace("encoder:", "old:").replace("source: encoder", "source: x"))
    with pytest.raises(BackboneError, match="longformer"):
        add("second", data=["rows.csv"], backbone="encoder/")
