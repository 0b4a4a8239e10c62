"""docs/security.md names a test for each threat, and each of them exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests/unit"
PAGE = (ROOT / "docs/security.md").read_text()
THREATS = (
    PAGE.partition("| threat | what stops it | test, in `tests/unit` |\n")[2].partition("\n\n")[0].splitlines()[1:]
)


def test_every_threat_has_a_test_that_exists():
    assert THREATS
    for row in THREATS:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row.split(" | ")[-1])
        assert named, row
        for file, test in named:
            assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), re.M), f"{file}::{test}"
