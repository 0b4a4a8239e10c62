"""Every refusal headstart makes on purpose, and the exit status each one ends a command with.

    HeadstartError
    ├── UsageError            2   the command line, a parameter or an input is wrong
    │   ├── ParamsError           params.yaml
    │   │   └── StrategyError         a strategy that was asked for and is impossible
    │   ├── DataError             a data set, a row, an image, a text
    │   ├── BackboneError         a pretrained network's files
    │   ├── ContractError         raw input that the contract refuses
    │   └── BundleError           a deployable folder that is incomplete or altered
    ├── GateError             1   a gate or a monitor said no, or could not be sure
    └── OutsideError          3   a server, a disk or a network failed

A message says which (key, path, row), what arrived, what was expected; `action` says what to do next.
"""

from collections.abc import Mapping, Sequence
from typing import Any

LISTED = 10


class HeadstartError(Exception):
    """The root: one sentence for people, one for what to do next."""

    exit_status = 3

    def __init__(self, message: str, *, action: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.action = action

    def __str__(self) -> str:
        return f"{self.message} {self.action}".strip()


class UsageError(HeadstartError):
    """The input or the configuration is wrong."""

    exit_status = 2


class ParamsError(UsageError):
    """`params.yaml` cannot be used as it stands."""


class StrategyError(ParamsError):
    """A strategy that `plan.strategy` asks for is impossible; `reason` is why: a code and its numbers."""

    def __init__(self, strategy: str, reason: Mapping[str, Any]) -> None:
        super().__init__(f"{strategy} is impossible: {dict(reason)}.", action="Set plan.strategy to auto.")
        self.strategy = strategy
        self.reason = dict(reason)


class DataError(UsageError):
    """A data set cannot be used as it stands."""


class BackboneError(UsageError):
    """A backbone's files are absent, altered or of an unknown kind."""


class ContractError(UsageError):
    """Raw input that the contract does not accept; `index` is its place in the batch."""

    def __init__(self, message: str, *, index: int = 0, action: str = "") -> None:
        super().__init__(message, action=action)
        self.index = index


class BundleError(UsageError):
    """A bundle is incomplete, altered or of a newer format."""


class GateError(HeadstartError):
    """A gate or a monitor refused; `findings` are the documents of what it found."""

    exit_status = 1

    def __init__(self, message: str, *, action: str = "", findings: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message, action=action)
        self.findings = [dict(finding) for finding in findings]


class OutsideError(HeadstartError):
    """Something outside this process failed."""

    exit_status = 3


def listed(problems: Sequence[str]) -> str:
    """One line a problem, ten at most, and how many more there are."""
    lines = [f"  - {problem}" for problem in problems[:LISTED]]
    if len(problems) > LISTED:
        lines.append(f"  - and {len(problems) - LISTED} more")
    return "\n".join(lines)
