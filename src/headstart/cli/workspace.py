"""What every command needs first: the workspace, its checked parameters, and the models that were named."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from tempfile import NamedTemporaryFile

from headstart import artifacts, settings
from headstart.children import die_with_parent
from headstart.cli.output import say
from headstart.errors import HeadstartError, OutsideError, UsageError
from headstart.params.loader import load
from headstart.params.workspace import Params
from headstart.settings import Workspace

SECONDS_A_GLYPH = 40 / (12 * 150)  # of each class, drawn once: measured at 12 epochs of 150, 32 pixels a side


def enter() -> tuple[Workspace, Params]:
    """Find the workspace from here up, check its parameters, and work there from now on.

    Raises:
        UsageError: if there is no workspace, or `params.yaml` cannot be used.
    """
    workspace = settings.find_workspace()
    params = load(workspace.params)
    os.chdir(workspace.root)
    return workspace, params


def chosen(params: Params, names: Sequence[str]) -> list[str]:
    """The models named, or all of them.

    Raises:
        UsageError: if a name is no model of this workspace, or it has no model yet.
    """
    if not names and not params.models:
        raise UsageError(
            "params.yaml has no model yet.", action="Add the first: headstart add NAME --data SOURCE; then run it."
        )
    for name in names:
        if name not in params.models:
            close = get_close_matches(name, params.models, n=1)
            known = ", ".join(params.models) or "none yet"
            raise UsageError(
                f"there is no model {name!r} in params.yaml; it has {known}.",
                action=f"Did you mean {close[0]}?" if close else f"Add it: headstart add {name} --data SOURCE ...",
            )
    return list(dict.fromkeys(names)) or list(params.models)


def announce_pretraining(params: Params, models: Sequence[str]) -> None:
    """Say which backbones of these models will be pretrained here, and roughly how long that takes."""
    for name in dict.fromkeys(params.models[model].backbone for model in models):
        pretrain = params.backbones[name].pretrain
        if pretrain is None or (artifacts.backbone(name) / "backbone.json").is_file():
            continue
        seconds = SECONDS_A_GLYPH * pretrain.epochs * pretrain.glyphs_per_class * (pretrain.size / 32) ** 2
        say(f"the backbone {name} will be pretrained here, once: about {seconds:.0f} s on two idle cores")


def start_flow(workspace: Workspace, flow: str, models: Sequence[str], *options: str) -> HeadstartError | None:
    """Run one of the workspace's own flows as a program; its output goes to standard error.

    Returns:
        The refusal that ended it, the gravest where several models were refused; None when all went well.

    Raises:
        OutsideError: if it was killed, or failed in a way that it did not name.
    """
    from headstart.stages import revive

    workspace.state.mkdir(parents=True, exist_ok=True)
    named = [part for name in models for part in ("--model", name)]
    with NamedTemporaryFile(dir=workspace.state, suffix=".json") as refusal:
        command = [sys.executable, "-m", "pipelines", flow, *named, "--refusal", refusal.name, *options]
        status = subprocess.run(
            command, cwd=workspace.root, stdout=sys.stderr, check=False, preexec_fn=die_with_parent
        ).returncode
        if status == 0:
            return None
        if text := Path(refusal.name).read_text(encoding="utf-8"):
            return revive(json.loads(text))
    raise OutsideError(
        f"the {flow} flow ended with status {status} and left no reason.",
        action="Read what it printed above; run the same command again to go on where it was.",
    )
