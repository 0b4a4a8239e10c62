"""Cures are files that stages depend on: there from the start, changed by a remedy, taken back."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from headstart.data import cures
from headstart.errors import DataError


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_model_without_cures_has_empty_ones_that_repeat_byte_for_byte():
    folder = cures.ensure("m")
    assert cures.read_prior(folder, ["a", "b"]) is None
    assert load_file(folder / cures.BATCHNORM) == {}
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in cures.clear("m").iterdir()} == first


def test_what_is_there_is_left_alone():
    folder = cures.ensure("m")
    cures.write_prior(folder, {"a": 0.9, "b": 0.1}, source={"window": "w"})
    save_file({"x": np.ones(1)}, folder / cures.BATCHNORM)
    cures.ensure("m")
    assert cures.read_prior(folder, ["a", "b"]) == {"a": 0.9, "b": 0.1}
    assert set(load_file(folder / cures.BATCHNORM)) == {"x"}


def test_a_class_added_since_has_no_share_and_one_that_is_gone_makes_the_cure_useless():
    folder = cures.ensure("m")
    cures.write_prior(folder, {"a": 0.9, "b": 0.1}, source={})
    assert cures.read_prior(folder, ["a", "b", "c"]) == {"a": 0.9, "b": 0.1, "c": 0.0}
    with pytest.raises(DataError, match="class 'b', which the model no longer has"):
        cures.read_prior(folder, ["a", "c"])
