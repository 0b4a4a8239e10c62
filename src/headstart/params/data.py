"""`data`: where a model's examples come from. Read by the ingest task."""

import math
from typing import Any

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from headstart.params.section import Section, Share

SUM = 1e-3  # how far from 1 the sum of rounded shares may be


class Columns(Section):
    """Names of columns where a source calls them something else; None, which is what absence says: the plain name."""

    input: str | None = None
    label: str | None = None
    id: str | None = None
    group: str | None = None
    time: str | None = None
    split: str | None = None


class Data(Section):
    """`source`: one or several of a file, a folder, `builtin:NAME`, `s3://…`, `hub:…@commit`, `feedback:MODEL`.

    `unlabelled`: one more, whose labels are not looked at; None, which is what its absence says, for none.
    `expected_shares`: the share of each class that production will see, summing to 1; a class left out has none. None,
    which is what its absence says: those of the validation split.
    """

    source: str | list[str]
    unlabelled: str | None = None
    expected_shares: dict[str, Share] | None = None
    columns: Columns = Columns()

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """One sentence for all that can be wrong, instead of one for each kind that would do."""
        named = value if isinstance(value, list) else [value]
        if not named or not all(isinstance(name, str) and name for name in named):
            raise PydanticCustomError("source", "a source, or a list of sources")
        return value

    @field_validator("expected_shares")
    @classmethod
    def _summing_to_one(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and not math.isclose(sum(value.values()), 1.0, abs_tol=SUM):
            raise PydanticCustomError("shares", f"shares that sum to 1, not to {sum(value.values()):.4g},")
        return value

    @property
    def sources(self) -> list[str]:
        """The labelled sources in order."""
        return [self.source] if isinstance(self.source, str) else list(self.source)
