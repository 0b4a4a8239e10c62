"""Files appear whole or not at all, and with the same bytes for the same values."""

import numpy as np
import pytest

from headstart import artifacts
from headstart.determinism import digest, folder_digest, fraction


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    artifacts.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), artifacts.replaced(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert artifacts.read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_whole_or_not_there_and_one_built_meanwhile_stays(tmp_path):
    folder = tmp_path / "made" / "it"
    with pytest.raises(RuntimeError), artifacts.built(folder) as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError
    assert list(folder.parent.iterdir()) == []
    with artifacts.built(folder) as slow:
        (slow / "a").write_text("slow")
        with artifacts.built(tmp_path / "elsewhere") as quick:  # another process, with a number of its own
            (quick / "a").write_text("quick")
        (tmp_path / "elsewhere").rename(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["it"]
    assert (folder / "a").read_text() == "quick"


def test_the_order_of_keys_does_not_change_the_bytes(tmp_path):
    artifacts.write_json(tmp_path / "a", {"x": 1, "y": np.float64(0.5)})
    artifacts.write_json(tmp_path / "b", {"y": 0.5, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_digest_is_sha256_of_the_utf8_bytes():
    # printf abc | sha256sum
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_lone_surrogate_has_a_digest_too():
    assert len(digest("\ud800")) == 64


def test_a_folder_has_the_same_digest_in_another_place(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "file").write_text("x")
    assert folder_digest(tmp_path / "one") == folder_digest(tmp_path / "two")
    (tmp_path / "two" / "sub" / "file").rename(tmp_path / "two" / "file")
    assert folder_digest(tmp_path / "one") != folder_digest(tmp_path / "two")


def test_fractions_are_uniform_and_depend_on_the_seed():
    values = np.array([fraction(str(key), seed=1) for key in range(4000)])
    # the standard error of a uniform mean over 4,000 draws is 0.0046: five of them
    assert abs(values.mean() - 0.5) < 0.023
    assert values.min() >= 0 and values.max() < 1
    assert fraction("a", seed=1) != fraction("a", seed=2)
