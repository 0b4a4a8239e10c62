"""Checks that see payloads name rows; which of them go to the quarantine is said in params.yaml."""

import pytest

from tests.unit.test_data_prepare import SOUND, prepared


class Says:
    """An inspector that would put the first row aside under each of these names."""

    def __init__(self, *names):
        self.names = names

    def see(self, first, payloads):
        pass

    def conclude(self, examples):
        return [({0: "so"}, examples.finding(name, "unsure", [0])) for name in self.names]


@pytest.mark.parametrize(("put_aside", "expected"), [([], []), (["markup", "mojibake"], [(1, "mojibake")])])
def test_rows_go_to_the_quarantine_under_the_first_check_that_put_aside_names(tmp_path, put_aside, expected):
    rows = [*SOUND, ("train", "seven", "x")]
    result = prepared(tmp_path, rows, put_aside=put_aside, looking=lambda chosen: [Says("mojibake", "markup")])
    assert [(row["row"], row["check"]) for row in result.quarantine.to_pylist()] == expected
