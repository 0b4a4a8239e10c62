"""dvc.yaml, the stage modules and the parameters tell the same story."""

from pathlib import Path

import pytest
import yaml

from headstart.params.loader import load
from headstart.params.workspace import STAGES
from headstart.stages import graph

ROOT = Path(__file__).parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
MODULES = {path.stem for path in (ROOT / "src/headstart/stages").glob("*.py")}
NOT_STAGES = {"__init__", "changes", "code", "cures", "graph", "lineage", "lock", "outcome", "recovery"}


def test_every_stage_has_its_module_and_every_module_its_stage():
    assert set(GRAPH) == MODULES - NOT_STAGES


def test_every_model_stage_has_its_section_of_parameters():
    assert set(GRAPH) - {"resolve", "backbone"} == set(STAGES)


@pytest.mark.parametrize("stage", [name for name in GRAPH if name != "resolve"])
def test_a_stage_depends_on_its_own_parameters_and_code_and_on_no_other_source(stage):
    body = GRAPH[stage]["do"]
    assert body["cmd"] == f"python -m headstart.stages.{stage} ${{key}}"
    if stage == "seal":  # the bundle holds every stage's parameters, and what each was made from
        assert {"artifacts/params/${key}", "artifacts/code"} <= set(body["deps"])
    else:
        assert f"artifacts/params/${{key}}/{stage}.yaml" in body["deps"]
        assert f"artifacts/code/{stage}.txt" in body["deps"]
    for path in body["deps"]:
        assert path.startswith(("artifacts/", "data/"))
    assert "params" not in body


@pytest.mark.parametrize("stage", sorted(MODULES - NOT_STAGES - {"resolve"}))
def test_a_stage_is_a_shell_of_forty_lines_at_most(stage):
    text = (ROOT / f"src/headstart/stages/{stage}.py").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 40


def test_what_dvc_interpolates_stands_in_each_entry():
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert all("backbone" in model for model in document["models"].values())
    assert set(load(ROOT / "params.yaml").models) == set(document["models"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # what DVC's libraries say of each other
@pytest.mark.parametrize("names", [["apidocs", "digits"], ["digits", "apidocs"]])
def test_no_model_waits_for_the_backbone_of_one_that_comes_after_it(names, monkeypatch):
    monkeypatch.chdir(ROOT)
    own = {"apidocs": {"apidocs", "minilm"}, "digits": {"digits", "glyphs"}}
    owners = [step.owner for step in graph.plan(load(ROOT / "params.yaml"), names)]
    first = [owner in own[names[0]] for owner in owners]
    assert set(owners) == own["apidocs"] | own["digits"] and first == sorted(first, reverse=True)
