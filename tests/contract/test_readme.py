"""The README says what is so: its commands exist, its tree stands, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", README, re.S)
TREE = re.search(r"```\n(params\.yaml .*?)```", README, re.S)
HEADSTART = Path(sys.executable).parent / "headstart"


def lines() -> list[str]:
    return [line.split("#")[0].strip() for block in SHELL for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("target", sorted({line.split()[1] for line in lines() if line.startswith("make ")}))
def test_a_make_target_of_the_readme_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("line", [line for line in lines() if "bin/headstart" in line])
def test_a_command_of_the_readme_is_one_with_these_options(line):
    words = line.split("bin/headstart ")[1].split()
    shown = subprocess.run([str(HEADSTART), words[0], "--help"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    for option in re.findall(r"--[a-z-]+", line):
        assert option in shown.stdout


@pytest.mark.parametrize("page", ["README.md", "src/headstart/template/README.md", "params.yaml"])
def test_every_program_of_pipelines_that_is_named_is_there(page):
    programs = re.findall(r"python -m pipelines\.([a-z_]+)", (ROOT / page).read_text())
    assert programs
    for program in programs:
        assert '__name__ == "__main__"' in (ROOT / f"pipelines/{program}.py").read_text()


def test_every_command_stands_in_the_readme():
    shown = subprocess.run([str(HEADSTART), "--help"], capture_output=True, text=True, check=True).stdout
    for command in re.findall(r"^  ([a-z]+) ", shown.partition("Commands:")[2], re.M):
        assert re.search(rf"`(headstart )?{command}\b", README), command


def test_the_tree_is_the_tree():
    assert TREE
    folder, named = ROOT, set()
    for line in TREE.group(1).splitlines():
        name = line.split()[0]
        place = ROOT / "src/headstart" / name if line.startswith("  ") else ROOT / name
        assert place.exists() or name == "state/", place
        named.add(place.resolve())
    for folder in (ROOT / "src/headstart").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert folder.resolve() in named, folder


@pytest.mark.parametrize("page", ["README.md", "docs/transfer-learning.md", "docs/security.md", "CHANGELOG.md"])
def test_every_link_leads_to_a_file(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_continuous_integration_runs_the_readmes_test_command():
    assert "make test" in (ROOT / ".ci/run").read_text()
