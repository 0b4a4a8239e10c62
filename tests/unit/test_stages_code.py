"""What changes a stage's code hash, and what does not."""

import ast
import re

import pytest

from headstart import syntax
from headstart.stages import code

STAGES = ("backbone", "prepare", "plan", "train", "export", "evaluate", "seal")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in headstart's place: stage `train` imports `layers`, nothing imports `monitor`."""
    files = {
        "__init__.py": "",
        "stages/__init__.py": "",
        "stages/train.py": "from headstart import layers\nimport numpy\n\ndef run():\n    return layers.rate()\n",
        "layers.py": '"""Layers."""\n\ndef rate():\n    """The rate."""\n    return 0.1  # low\n',
        "monitor.py": "x = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(syntax, "PACKAGE", tmp_path)

    def described():
        syntax._module.cache_clear()
        return code.describe("train")

    yield tmp_path, described
    syntax._module.cache_clear()


def test_a_comment_a_docstring_and_a_module_it_does_not_reach_change_nothing(package):
    folder, described = package
    before = described()
    (folder / "layers.py").write_text('"""Other words."""\n\n\ndef rate():\n    """Why."""\n    return 0.1\n')
    (folder / "monitor.py").write_text("x = 2\n")
    assert described() == before


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("    raise DataError(f'row {row} is bad.', action='Go.')", "    raise DataError(f'{row}: bad.')"),
        ("    return OutsideError('away')", "    return OutsideError(sentence(row))"),
        ("    raise errors.DataError('a') from None", "    raise errors.DataError('b') from None"),
        ("    raise refusal(row, 'a')", "    raise refusal(row, 'b')"),
    ],
)
def test_the_words_of_an_exception_change_nothing(package, then, now):
    folder, described = package
    texts = [f"def rate(row=1):\n    if row:\n        return 0.1\n{line}\n" for line in (then, now)]
    found = []
    for text in texts:
        (folder / "layers.py").write_text(text)
        found.append(described())
    assert found[0] == found[1]


def test_the_words_below_a_constant_change_nothing(package):
    folder, described = package
    found = []
    for words in ("Of the top layer.", "Of the topmost layer."):
        (folder / "layers.py").write_text(f'RATE = 0.1\n"""{words}"""\n\n\ndef rate():\n    return RATE\n')
        found.append(described())
    assert found[0] == found[1]


def test_another_exception_changes_it(package):
    folder, described = package
    found = []
    for name in ("DataError", "ValueError"):
        (folder / "layers.py").write_text(f"def rate():\n    raise {name}('a')\n")
        found.append(described())
    assert found[0] != found[1]


@pytest.mark.parametrize("text", ["def rate():\n    return 0.2\n", "import torch\n\ndef rate():\n    return 0.1\n"])
def test_a_number_or_a_library_changes_it(package, text):
    folder, described = package
    before = described()
    (folder / "layers.py").write_text(text)
    assert described() != before


def test_an_upgrade_of_a_numeric_library_changes_it(package, monkeypatch):
    _, described = package
    before = described()
    monkeypatch.setattr(code, "version", lambda name: "99")
    assert described() != before
    assert "numpy==99" in described()


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_reaches_gates_monitors_pages_or_commands(stage):
    reached = {line.split()[0] for line in code.describe(stage).splitlines()}
    outside = ("evaluation.gates", "monitoring", "serving", "report", "cli", "drill", "registry", "journal")
    assert not [name for name in reached if name.removeprefix("headstart.").startswith(outside)]


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_reaches_what_cannot_change_a_number(stage):
    reached = code.describe(stage)
    for module in ("monitoring", "serving", "journal", "registry", "tracking", "report", "cli"):
        assert f"headstart.{module}" not in reached


def test_training_depends_on_the_libraries_that_decide_its_numbers():
    reached = code.describe("train")
    for library in ("torch", "transformers", "scikit-learn", "numpy", "onnxruntime"):
        assert f"{library}==" in reached


@pytest.mark.parametrize("module", ["table", "signatures", "images"])
def test_editing_the_table_of_faults_makes_no_stage_but_seal_stale(module):
    assert [stage for stage in STAGES if f"headstart.faults.{module} " in code.describe(stage)] == ["seal"]


@pytest.mark.parametrize("stage", ["backbone", "prepare", "plan", "train", "evaluate"])
def test_nothing_is_trained_or_measured_again_because_of_a_fault(stage):
    assert "headstart.faults" not in code.describe(stage)


def modules(stage):
    """The modules of the package that a stage depends on."""
    return [line.split()[0] for line in code.describe(stage).splitlines() if line.startswith("headstart.")]


@pytest.mark.parametrize("package", ["evaluation/gates", "report", "cli", "monitoring", "serving"])
def test_editing_what_judges_watches_or_speaks_leaves_every_stage_fresh(package):
    files = (syntax.PACKAGE / package).rglob("*.py")
    names = {"headstart." + ".".join(file.relative_to(syntax.PACKAGE).with_suffix("").parts) for file in files}
    assert len(names) > 5
    assert {stage: names & set(modules(stage)) for stage in STAGES} == {stage: set() for stage in STAGES}


def test_the_words_of_a_data_check_are_no_part_of_the_stage_that_looks(monkeypatch):
    from headstart.report import finding_words

    assert "leak" in finding_words.WORDS
    assert "headstart.data.checks.rows" in modules("prepare")
    assert "headstart.report.finding_words" not in modules("prepare")
    for name in ("rows", "shares", "metadata", "splits", "near", "text", "pictures", "privacy", "truncation"):
        source = (syntax.PACKAGE / f"data/checks/{name}.py").read_text()
        assert "reason=" not in source and "action=" not in source, name


def test_a_refusal_by_findings_gets_its_sentences_outside_of_what_is_hashed():
    assert "headstart.stages" in syntax.HARMLESS
    assert "finding_words" in (syntax.PACKAGE / "stages/__init__.py").read_text()


REFUSALS = {
    "backbones.checkpoint",
    "backbones.compatibility",
    "backbones.processor",
    "contract.documents",
    "contract.spec",
    "data.columns",
    "data.cures",
    "determinism",
    "export.trial",
    "transfer.features",
}
"""Modules whose words are parts of refusals and warnings, put together before they are raised: none is written."""


def sentences(module):
    """Strings of five words or more that are neither docstrings nor arguments of exceptions, and so hashed."""
    tree = ast.parse((syntax.PACKAGE / (module.removeprefix("headstart.").replace(".", "/") + ".py")).read_text())
    tree = syntax._WithoutWords().visit(tree)
    joined = [node.values for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    plain = [[node] for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [
        "".join(str(part.value) for part in parts if isinstance(part, ast.Constant)) for parts in [*joined, *plain]
    ]
    return [text for text in texts if len(re.findall(r"[A-Za-z']{2,}(?= )", text)) >= 4]


def test_no_stage_reaches_a_sentence_so_editing_one_leaves_all_fresh():
    reached = {name for stage in STAGES for name in modules(stage)} | {"headstart.data.ingest"}
    own = [name for name in sorted(reached) if not name.startswith("headstart.faults")]  # names of faults, and samples
    files = [name for name in own if (syntax.PACKAGE / (name[10:].replace(".", "/") + ".py")).is_file()]
    assert len(files) > 100
    found = {name: texts for name in files if name[10:] not in REFUSALS and (texts := sentences(name))}
    assert found == {}


def test_no_stage_makes_a_finding_with_words():
    reached = {name for stage in STAGES for name in modules(stage)} | {"headstart.data.ingest"}
    for name in sorted(reached - {"headstart.findings"}):
        path = syntax.PACKAGE / (name[10:].replace(".", "/") + ".py")
        tree = ast.parse(path.read_text() if path.is_file() else "")
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if getattr(call.func, "id", "") == "Finding":
                assert len(call.args) <= 4 and not {word.arg for word in call.keywords} & {"reason", "action"}, name
