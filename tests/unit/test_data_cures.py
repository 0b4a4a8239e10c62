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


def test_statistics_come_back_as_they_were_written_with_the_network_that_they_are_for():
    folder = cures.ensure("m")
    assert cures.read_batchnorm(folder) is None
    tensors = {"a.running_mean": np.ones(3, dtype=np.float32), "a.running_var": np.full(3, 2.0, dtype=np.float32)}
    cures.write_batchnorm(folder, tensors, network="f" * 64, source={"images": 500})
    found = cures.read_batchnorm(folder)
    assert (found.network, found.source) == ("f" * 64, {"images": 500})
    assert {name: values.tolist() for name, values in found.tensors.items()} == {
        "a.running_mean": [1, 1, 1],
        "a.running_var": [2, 2, 2],
    }
    cures.clear("m")
    assert cures.read_batchnorm(folder) is None


def test_statistics_of_another_format_are_refused():
    folder = cures.ensure("m")
    save_file({"x": np.ones(1)}, folder / cures.BATCHNORM)
    with pytest.raises(DataError, match=r"format None; this headstart reads 1.*headstart remedy NAME none"):
        cures.read_batchnorm(folder)


def test_a_cure_made_for_other_classes_is_refused():
    """A class that was added would otherwise have share 0, and never be answered."""
    folder = cures.ensure("m")
    cures.write_prior(folder, {"a": 0.9, "b": 0.1}, source={})
    with pytest.raises(
        DataError, match=r"m/prior\.json holds no share of class 'c', which .*\(headstart remedy NAME none"
    ):
        cures.read_prior(folder, ["a", "b", "c"])
    with pytest.raises(DataError, match="class 'b', which the model no longer has"):
        cures.read_prior(folder, ["a", "c"])


def test_a_cure_overrules_what_params_yaml_expects_and_says_so():
    folder = cures.ensure("m")
    expected = {"a": 0.25, "b": 0.75}
    said = cures.prior(folder, ["a", "b", "c"], expected)
    assert (said.shares, said.origin, said.overrules) == ({**expected, "c": 0.0}, "expected_shares", False)
    cures.write_prior(folder, {"a": 0.9, "b": 0.1}, source={"window": "noon"})
    said = cures.prior(folder, ["a", "b"], expected)
    assert (said.shares, said.origin, said.overrules) == ({"a": 0.9, "b": 0.1}, "cure", True)
    assert said.source == {"window": "noon"}
    assert cures.prior(cures.clear("m"), ["a", "b"]) is None


def test_a_class_that_is_expected_and_does_not_exist_is_named_with_the_nearest_that_does():
    with pytest.raises(
        DataError, match=r"names 'billing ', which is not one of the 2 classes\. Did you mean 'billing'"
    ):
        cures.prior(cures.ensure("m"), ["billing", "refund"], {"billing ": 1.0})


def test_cures_in_force_are_the_files_that_are_not_empty():
    folder = cures.ensure("m")
    assert cures.written("m") == []
    cures.write_prior(folder, {"a": 1.0}, source={})
    save_file({"x": np.ones(1)}, folder / cures.BATCHNORM)
    assert cures.written("m") == [cures.PRIOR, cures.BATCHNORM]


def test_cures_that_a_clone_has_a_record_of_are_never_taken_for_none():
    folder = cures.ensure("m")
    folder.with_name("m.dvc").write_text("outs: []\n")
    assert not cures.missing("m") and cures.ensure("m") == folder
    (folder / cures.PRIOR).unlink()
    with pytest.raises(DataError, match=r"whose files are not in data/cures/m\. dvc pull data/cures/m\.dvc"):
        cures.ensure("m")
    assert cures.read_prior(cures.clear("m"), ["a"]) is None  # taken back, they are known to be none
