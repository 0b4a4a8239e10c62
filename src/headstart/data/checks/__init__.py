"""What may be wrong with data, one module a kind: rows in, findings out, and a reason for each row put aside."""

from collections.abc import Sequence
from typing import Any, Protocol

from headstart.data.examples import Examples, Reasons
from headstart.findings import Finding


class Inspector(Protocol):
    """A check that has to see payloads: they pass once, in batches; what it found is asked for at the end."""

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        """Look at the payloads (`str`, or encoded image `bytes`; None where a row has none) of places `first`, ..."""

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        """One entry a check: the rows it says to put aside, and its finding about the rows still in."""
