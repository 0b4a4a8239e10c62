"""A sample of the backbone's own domain, kept beside it: `reference.parquet`, in the form that `data.dataset` reads.

The gap between a model's data and this sample is measured before transfer, and what of it a network still knows
afterwards. It is there where it can be known: pretraining done here draws one, and an entry that names a `reference`
in `params.yaml` gets one with its files. Labels are empty where the source has none.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headstart import artifacts
from headstart.determinism import digest
from headstart.errors import BackboneError
from headstart.findings import Finding
from headstart.params.section import Modality

FILE = "reference.parquet"
COLUMNS = ("id", "label", "group", "time")


def write(path: Path, modality: Modality, inputs: Sequence[Any], labels: Sequence[str]) -> None:
    """Write a sample that was made here, whole or not at all; ids are made of the content and the place."""
    ids = [f"{place:04}-{digest(payload)[:11]}" for place, payload in enumerate(inputs)]
    nothing = pa.nulls(len(inputs), pa.string())
    payload = pa.array(list(inputs), pa.string() if modality == "text" else pa.binary())
    columns = {"id": pa.array(ids), "label": pa.array(list(labels), pa.string()), modality: payload}
    with artifacts.replaced(path) as temporary:
        pq.write_table(pa.table({**columns, "group": nothing, "time": nothing}), temporary, compression="zstd")


def keep(fetched: Path, out: Path, modality: Modality) -> None:
    """Take over the sample that was fetched with the backbone's files, if one was.

    Raises:
        BackboneError: if it has other columns than a data set of the backbone's modality.
    """
    source = fetched / FILE
    if not source.is_file():
        return
    names = pq.read_schema(source).names
    if missing := sorted({*COLUMNS, modality} - set(names)):
        raise BackboneError(
            f"{source} lacks the columns {', '.join(missing)}; it has {', '.join(names)}.",
            action="Fetch the backbone again: headstart run.",
        )
    shutil.copyfile(source, out / FILE)


def finding(out: Path) -> Finding | None:
    """How many examples of how many classes the sample in `out` has; None where there is none."""
    if not (out / FILE).is_file():
        return None
    labels = pq.read_table(out / FILE, columns=["label"])["label"].to_pylist()
    classes = len(set(labels) - {"", None})
    return Finding("reference", "pass", float(len(labels)), None, evidence={"classes": classes})
