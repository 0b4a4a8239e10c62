"""A drill of a champion by the command: what is planted is blocked or seen, and the workspace stays as it was."""

from pathlib import Path

import pytest

from headstart import determinism

pytestmark = pytest.mark.slow


def files(folder: Path) -> dict[str, str]:
    """Hashes of what the stages made, and of the registry's bundles."""
    made = [*(folder / "artifacts/models").rglob("*"), *(folder / "state/mlflow").rglob("MANIFEST.json")]
    return {str(path): determinism.file_digest(path) for path in made if path.is_file()}


def test_a_drill_scores_faults_before_and_after_and_changes_nothing(finished, headstart):
    before = files(finished)
    faults = ("--fault", "file_altered", "--fault", "last_batch_kept", "--fault", "inverted")
    answer = headstart(finished, "drill", "bars", *faults, "--json")
    assert answer.status == 0, answer.err
    found = answer.document["bars"]
    assert [(row["fault"], row["blocked"]) for row in found["before"]] == [
        ("file_altered", True),
        ("last_batch_kept", True),
        (None, False),
    ]
    [inverted] = found["after"]
    assert (inverted["detected_after"], inverted["cause"]) == (50, "preprocessing_mismatch")
    assert inverted["accuracy"]["broken"] < inverted["accuracy"]["clean"] == inverted["accuracy"]["cured"]
    assert Path(found["page"]).read_text().startswith("<!doctype html>")
    assert files(finished) == before


def test_a_fault_that_does_not_exist_is_refused_with_the_nearest_one(finished, headstart):
    answer = headstart(finished, "drill", "bars", "--fault", "invertd", "--json")
    assert answer.status == 2
    assert "there is no fault 'invertd'" in answer.document["error"]["message"]
    assert answer.document["error"]["action"] == "Did you mean inverted?"
