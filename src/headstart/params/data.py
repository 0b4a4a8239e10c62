"""`data`: where a model's examples come from. Read by the ingest task."""

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
    """`source`: a file, a folder, or `builtin:apidocs`, `builtin:digits`."""

    source: str
    columns: Columns
