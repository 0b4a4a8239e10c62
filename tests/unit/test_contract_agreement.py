"""Ours against theirs."""

import numpy as np
import pytest

from headstart.contract.agreement import compare, tolerance
from headstart.errors import DataError
from headstart.report.finding_words import told
from tests.unit.contract_examples import image_spec, text_spec, tokenizer_json

IDS = [np.array([2, 4, 3]), np.array([2, 3])]


def test_equal_ids_agree():
    finding = compare(IDS, [ids.copy() for ids in IDS], 0.0)
    assert (finding.check, finding.verdict, finding.statistic) == ("contract_agreement", "pass", 0.0)


def test_one_other_id_is_found_and_named():
    finding = compare(IDS, [IDS[0], np.array([2, 7])], 0.0)
    assert (finding.verdict, finding.statistic, finding.evidence["worst"]) == ("fail", 4.0, 1)
    assert "input 1" in told(finding)["action"]
    # one of five values differs, by 4
    assert finding.evidence["share_different"] == pytest.approx(0.2)
    assert finding.evidence["mean_difference"] == pytest.approx(0.8)


def test_another_length_fails_whatever_the_tolerance():
    finding = compare(IDS, [IDS[0], np.array([2, 4, 3])], 1e9)
    assert (finding.verdict, finding.statistic) == ("fail", None)
    assert "input 1 becomes (2,) here and (3,)" in told(finding)["reason"]


def test_pictures_agree_within_the_tolerance():
    ours = np.zeros((3, 4, 4), dtype=np.float32)
    theirs = ours.copy()
    theirs[1, 2, 3] = 0.0078
    assert compare([ours], [theirs], 1 / 127.5).verdict == "pass"
    assert compare([ours], [theirs], 1 / 255).verdict == "fail"


def test_values_that_are_no_numbers_do_not_agree():
    ours = np.array([1.0, np.nan])
    finding = compare([ours], [np.array([1.0, 1.0])], 0.1)
    assert finding.verdict == "fail"


@pytest.mark.parametrize(("ours", "theirs"), [([], []), (IDS, IDS[:1])])
def test_nothing_to_compare_is_refused(ours, theirs):
    with pytest.raises(DataError, match="cannot be compared"):
        compare(ours, theirs, 0.0)


def test_token_ids_have_no_tolerance_and_pictures_one_level():
    assert tolerance(text_spec(tokenizer_json())) == 0.0
    # (level / 255 - 0.5) / 0.5: one level is 2 / 255; the smallest deviation stretches it most
    halves = image_spec(rescale=1 / 255, mean=(0.5,) * 3, std=(0.5, 0.5, 1.0))
    assert tolerance(halves) == pytest.approx(2 / 255, rel=0.02)


def test_one_odd_input_of_many_is_told_and_does_not_stop_the_run():
    ours = [np.array([2, 4, 3])] * 19 + [np.array([2, 9, 3])]
    theirs = [np.array([2, 4, 3])] * 20
    finding = compare(ours, theirs, 0.0)
    assert (finding.verdict, finding.evidence["differing"]) == ("unsure", [19])
    assert "1 of 20 inputs differ" in told(finding)["reason"]
    assert "input 19 of train" in told(finding)["action"]
    reshaped = compare([*ours[:19], np.array([2])], theirs, 0.0)
    assert (reshaped.verdict, reshaped.statistic, reshaped.evidence["differing"]) == ("unsure", None, [19])


def test_more_than_one_odd_input_in_ten_fails():
    ours = [np.array([2, 4, 3])] * 17 + [np.array([2, 9, 3])] * 3
    assert compare(ours, [np.array([2, 4, 3])] * 20, 0.0).verdict == "fail"
