"""Whether a client was built for the contract that answers: said in the request, refused with 409 where it was not."""

from typing import Any

from headstart.contract import difference
from headstart.serving.models import LoadedModel
from headstart.serving.refusals import RefusedError, shown

HEADER = "headstart-contract"
STATUS = 409
PARTS = ("how inputs are prepared", "the labels")


def require(sent: str | None, model: LoadedModel) -> None:
    """Refuse a request that was built for another contract than the model's; one that names none is taken.

    Raises:
        RefusedError: 409, with what differs: value by value where a registered version has the contract that was sent,
            else by the halves of the hash.
    """
    served = model.contract_hash
    if sent is None or sent == served:
        return
    known = model.earlier.get(sent)
    details: dict[str, Any] = {"contract": served}
    if known is not None:
        found = difference.between(known, model.contract)
        said = f"in it {'; '.join(map(str, found))}"
        details["differences"] = [one.document() for one in found]
    else:
        said = _halves(sent, served)
    raise RefusedError(
        STATUS,
        f"The request was built for the contract {shown(sent)}; version {model.version} of {model.name} has "
        f"'{served}': {said}.",
        action=f"Build the client for the contract and the labels that GET /v2/models/{model.name} shows, or leave the "
        "contract out where it does not matter: raw inputs are prepared by this server.",
        details=details,
    )


def _halves(sent: str, served: str) -> str:
    """Which half of a hash differs that no registered version has."""
    halves, ours = sent.split("."), served.split(".")
    if len(halves) != len(ours) or any(len(one) != len(other) for one, other in zip(halves, ours, strict=True)):
        return "what was sent is no contract's hash, which is two times 12 hex digits with a dot between them"
    same = [part for part, one, other in zip(PARTS, halves, ours, strict=True) if one == other]
    other = " and ".join(part for part in PARTS if part not in same)
    alike = f", {' and '.join(same)} {'are' if same == [PARTS[1]] else 'is'} the same" if same else ""
    return f"it differs in {other}{alike}; no registered version has the one that was sent, so no more can be said"
