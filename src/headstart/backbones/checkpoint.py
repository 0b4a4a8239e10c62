"""Folders in the Hugging Face layout, loaded and written through transformers, on one set of terms.

Safetensors only, float32, eager attention (its graph exports smaller), no learned pooler, no code from the folder, no
chatter; and no weight that would be random because the file lacks it.
"""

import inspect
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from headstart import artifacts
from headstart.backbones.quiet_logging import quiet
from headstart.errors import BackboneError, listed

FAILURES = (
    AssertionError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What architectures raise when they are built or run in a way they were not made for."""


def pretrained(folder: Path) -> tuple[Any, list[str]]:
    """The model of a folder in float32 and evaluation mode, and the names of weights in the file it has no use for.

    Raises:
        BackboneError: if transformers does not know the architecture, the files do not load, or weights are missing
            or of another shape (they would be random numbers).
    """
    from transformers import AutoModel

    config = configuration(folder)
    extra = {"add_pooling_layer": False} if _optional_pooler(config) else {}
    model, info = loaded(AutoModel, folder, config, **extra)
    problems = [f"{name}: missing from the file" for name in sorted(info["missing_keys"])]
    problems += [
        f"{entry}: another shape than the configuration's" for entry in sorted(map(str, info["mismatched_keys"]))
    ]
    if problems:
        raise BackboneError(
            f"{folder} lacks weights that {config.model_type} needs; they would be random numbers:\n{listed(problems)}",
            action="Take the checkpoint that config.json belongs to.",
        )
    return model.eval(), sorted(info["unexpected_keys"])


def loaded(kind: Any, folder: Path, config: Any, **extra: Any) -> tuple[Any, dict[str, Any]]:
    """What transformers' auto class `kind` makes of a folder, and what it says of missing and unused weights.

    Raises:
        BackboneError: if the files do not load.
    """
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            model, info = kind.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation="eager",
                trust_remote_code=False,  # left out, transformers asks a person at a terminal
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **extra,
            )
        except (OSError, *FAILURES) as error:
            raise BackboneError(
                f"{folder} does not load as {config.model_type}: {' '.join(str(error).split())[:300]}",
                action="Expected config.json and model.safetensors in the Hugging Face layout.",
            ) from error
    return model, info


def untrained(folder: Path) -> Any:
    """The same architecture with the weights torch's global generator gives it."""
    return untrained_of(configuration(folder))


def untrained_of(config: Any) -> Any:
    """The architecture of a configuration, likewise."""
    from transformers import AutoModel

    extra = {"add_pooling_layer": False} if _optional_pooler(config) else {}
    with quiet():
        return AutoModel.from_config(
            config, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False, **extra
        )


def configuration(folder: Path) -> Any:
    """The transformers configuration of a folder; code shipped beside the weights is never run.

    Raises:
        BackboneError: if there is no `config.json`, or its `model_type` is not an architecture of transformers.
    """
    from transformers import AutoConfig

    path = folder / "config.json"
    if not path.is_file():
        there = ", ".join(sorted(file.name for file in folder.iterdir())[:10]) if folder.is_dir() else "no such folder"
        raise BackboneError(f"{path} does not exist ({there}).", action="A backbone folder holds config.json.")
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, *FAILURES) as error:
        kind = artifacts.read_json(path).get("model_type") if _is_json(path) else None
        raise BackboneError(
            f"{path} names model_type {kind!r}, which this version of transformers does not know.",
            action="Use a backbone whose architecture is part of transformers; trust_remote_code stays off.",
        ) from error


def write(model: Any, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, nothing that names a place or a moment."""
    with quiet():
        model.save_pretrained(folder)


def _is_json(path: Path) -> bool:
    try:
        return isinstance(artifacts.read_json(path), dict)
    except ValueError:
        return False


def _optional_pooler(config: Any) -> bool:
    """Whether the architecture can be built without its pooler."""
    from transformers import MODEL_MAPPING

    kind = MODEL_MAPPING.get(type(config), None)
    return kind is not None and "add_pooling_layer" in inspect.signature(kind.__init__).parameters
