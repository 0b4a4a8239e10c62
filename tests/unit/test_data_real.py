"""Real sets beside the repository: every row accounted for, and the leaks that are known to be there."""

import json
import os
from pathlib import Path

import pytest

from headstart.data import examples, ingest, prepare, schema
from headstart.params.data import Columns, Data
from headstart.params.loader import load
from tests.unit.checked_rows import Result

ROOT = Path(__file__).parents[2]
SETS = Path(os.environ.get("HEADSTART_DATA", ROOT.parent / "shared/data"))
pytestmark = pytest.mark.skipif(not SETS.is_dir(), reason=f"real sets are not here: {SETS} (HEADSTART_DATA)")


def prepared(name, tmp_path):
    found = schema.infer(str(SETS / name), "text", {})
    data = Data(source=str(SETS / name), columns=Columns(**found.columns))
    ingest.ingest(name, "text", data, tmp_path / name)
    params = load(ROOT / "params.yaml").models["apidocs"].prepare
    (tmp_path / "out").mkdir()
    prepared = prepare.prepare(tmp_path / name, params, out=tmp_path / "out", decodes=lambda _: None)
    return found, Result(prepared)


@pytest.mark.parametrize("name", ["acl_arc", "trec6"])
def test_every_row_of_a_real_set_is_kept_or_put_aside(name, tmp_path):
    found, result = prepared(name, tmp_path)
    published = json.loads((SETS / name / "meta.json").read_text())["splits"]
    assert found.rows == {split: counts["rows"] for split, counts in published.items()}
    kept = sum(map(len, result.splits.values()))
    assert kept + len(result.quarantine) == sum(found.rows.values())
    assert len(result.test) == published["test"]["rows"]


@pytest.mark.parametrize(("name", "in_train", "anywhere"), [("acl_arc", 52, 54), ("trec6", 8, 10)])
def test_natural_leaks_are_found(name, in_train, anywhere, tmp_path):
    # in_train is what the set's own description says; two more test rows stand in validation alone
    _, result = prepared(name, tmp_path)
    [leak] = [finding for finding in result.findings if finding.check == "leak"]
    assert (leak.verdict, leak.statistic, leak.evidence["in_train"]) == ("unsure", anywhere, in_train)
    assert not set(result.train.inputs) & set(result.test.inputs)
    assert len(leak.evidence["rows"]) == examples.NAMED
