"""`data`: where a model's examples come from. Read by the ingest task."""

from typing import Any

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from headstart.params.section import Section


class Columns(Section):
    """Names of columns where a source calls them something else."""

    input: str | None
    label: str | None
    id: str | None
    group: str | None
    time: str | None
    split: str | None


class Data(Section):
    """`source`: one or several of a file, a folder, `builtin:NAME`, `s3://…`, `hub:…@commit`, `feedback:MODEL`.

    `unlabelled`: one more, whose labels are not looked at; None, which is what its absence says, for none.
    """

    source: str | list[str]
    unlabelled: str | None = None
    columns: Columns

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """One sentence for all that can be wrong, instead of one for each kind that would do."""
        named = value if isinstance(value, list) else [value]
        if not named or not all(isinstance(name, str) and name for name in named):
            raise PydanticCustomError("source", "a source, or a list of sources")
        return value

    @property
    def sources(self) -> list[str]:
        """The labelled sources in order."""
        return [self.source] if isinstance(self.source, str) else list(self.source)
