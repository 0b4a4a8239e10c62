"""What two contracts differ in, value by value: for a client that was built for another one."""

from dataclasses import asdict, dataclass
from typing import Any

from headstart.contract.spec import Contract, ImageSpec, TextSpec

NAMED = 5


@dataclass(frozen=True)
class Difference:
    """One value that is not the same.

    Attributes:
        name: of the value: a field of the contract's input, `modality`, or `labels`.
        sent: what the client was built for.
        served: what answers now.
    """

    name: str
    sent: Any
    served: Any

    def document(self) -> dict[str, Any]:
        """The difference as plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        if self.name == "labels":
            return f"labels {_labels(self.sent, self.served)}"
        return f"{self.name} is {self.served!r} and was {self.sent!r}"


def between(sent: Contract, served: Contract) -> list[Difference]:
    """Everything that differs, labels last; empty for equal contracts."""
    found: list[Difference] = []
    if sent.modality != served.modality:
        found.append(Difference("modality", sent.modality, served.modality))
    else:
        ours, theirs = _values(served.input), _values(sent.input)
        found += [Difference(name, theirs[name], ours[name]) for name in ours if theirs[name] != ours[name]]
    if sent.labels != served.labels:
        found.append(Difference("labels", list(sent.labels), list(served.labels)))
    return found


def _values(spec: TextSpec | ImageSpec) -> dict[str, Any]:
    """The specification as JSON has it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(spec).items()}


def _labels(sent: list[str], served: list[str]) -> str:
    """How the classes changed: which came, which went, or that only their order is another."""
    added = [label for label in served if label not in sent]
    removed = [label for label in sent if label not in served]
    if not added and not removed:
        first = next(place for place, pair in enumerate(zip(sent, served, strict=True)) if pair[0] != pair[1])
        return f"stand in another order, from place {first} on: {served[first]!r} is there and {sent[first]!r} was"
    parts = [f"have {_listed(added)} in addition"] if added else []
    parts += [f"lack {_listed(removed)}"] if removed else []
    return " and ".join(parts)


def _listed(labels: list[str]) -> str:
    shown = ", ".join(map(repr, labels[:NAMED]))
    return shown if len(labels) <= NAMED else f"{shown} and {len(labels) - NAMED} more"
