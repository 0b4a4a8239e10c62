"""`diff-client`: what a client computed from a raw input, against what the contract computes."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.output import Json, emit
from headstart.cli.predict import raw_inputs
from headstart.cli.workspace import chosen, enter
from headstart.errors import UsageError


def diff_client(
    name: Annotated[str, typer.Argument(help="The model.")],
    raw: Annotated[str, typer.Argument(help="The raw input: an image file, a text file or a string.")],
    tensor: Annotated[str, typer.Argument(help="What the client made of it: a .npy or .json file, or JSON.")],
    as_json: Json = False,
) -> int:
    """Say where a client's own preprocessing first differs from the contract, and which known mistake explains it.

    The client's numbers are the tensor or token ids that it feeds to the network, or the logits it gets back; as JSON
    also {"input_ids": [...], "attention_mask": [...]}. One input is enough. Exit status 1 where they differ.
    """
    here = Path.cwd()
    workspace, params = enter()
    chosen(params, [name])
    with contextlib.chdir(here):  # files are named from where the person stands
        [given] = raw_inputs([raw], params.models[name].modality)
        numbers = _numbers(tensor)
    from headstart import registry, tracking
    from headstart.faults import clients
    from headstart.predictor import Predictor

    tracking.open(workspace)
    folder = registry.download(name)
    found = clients.compare(folder, Predictor.load(folder), given, numbers)
    emit(found.document(), as_json, _lines)
    return 0 if found.agrees else 1


def _numbers(value: str) -> Any:
    """The array in a file, or in the argument itself."""
    path = Path(value)
    try:
        if len(value) < 4096 and path.is_file():
            if path.suffix == ".npy":
                import numpy as np

                return np.load(path, allow_pickle=False)
            return json.loads(path.read_text(encoding="utf-8"))
        return json.loads(value)
    except (ValueError, OSError) as error:  # no JSON, no array, or pickled objects
        raise UsageError(
            f"{value[:60]!r} is no .npy or .json file with an array, and no JSON: {error}.",
            action="Save it with numpy.save, or as nested lists in JSON.",
        ) from None


def _lines(found: dict[str, Any]) -> Any:
    kind = found["kind"].replace("_", " ")
    yield f"{kind}: {'agrees' if found['agrees'] else 'differs'}; {found['where']}."
    if not found["agrees"]:
        yield found["meaning"]
