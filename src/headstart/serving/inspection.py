"""What would be served of a model, looked at from outside: for `headstart doctor`, and before a server is started."""

from pathlib import Path

from headstart import registry
from headstart.errors import HeadstartError
from headstart.findings import Finding
from headstart.serving.models import LoadedModel

VERSION, ARTIFACT = "served_version", "model_artifact"


def inspect(model: str, *, difference_allowed: float) -> list[Finding]:
    """Whether a model's champion can be served: it exists, is the bundle registered, and gives its golden answers.

    Args:
        model: its name in the registry that `tracking.open` opened.
        difference_allowed: the largest difference of one probability from a golden answer.

    Returns:
        One finding for each check up to the first that fails; none for a model without a champion.
    """
    try:
        current = registry.aliases(model)
        version = current.champion
        if version is None:
            gone = current.missing.get("champion")
            return [] if gone is None else [_gone(model, gone)]
        known = registry.describe(model, version)
    except HeadstartError as error:
        return [Finding(VERSION, "fail", None, None, error.message, error.action)]
    found = [Finding(VERSION, "pass", None, None, f"Version {version} is champion.", evidence={"version": version})]
    try:
        folder: Path = registry.download(model, version)
        loaded = LoadedModel.open(model, version, folder, difference_allowed=difference_allowed)
    except HeadstartError as error:
        return [*found, Finding(ARTIFACT, "fail", None, None, error.message.rstrip(), error.action)]
    reason = f"The registered copy of version {version} is the bundle {known.bundle[:12]}, every file as it was."
    found.append(Finding(ARTIFACT, "pass", None, None, reason, evidence={"bundle": known.bundle}))
    return [*found, loaded.replay()]


def _gone(model: str, version: int) -> Finding:
    reason = f"The champion of {model}, version {version}, was deleted in MLflow; there is nothing to serve."
    action = f"Promote another version: headstart promote {model} VERSION; headstart status names them."
    return Finding(VERSION, "fail", None, None, reason, action)
