"""Rows for the checks of data: made ones, and those of real sets; and what an inspector says of them."""

import gzip
import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.data import dataset
from headstart.data.dataset import SPLITS
from headstart.data.examples import Examples
from headstart.data.identity import content_key
from headstart.report.finding_words import told

SETS = Path(os.environ.get("HEADSTART_DATA", Path(__file__).parents[2].parent / "shared/data"))
real = pytest.mark.skipif(not SETS.is_dir(), reason=f"real sets are not here: {SETS} (HEADSTART_DATA)")
LEVEL = 0.001
BATCH = 100


def examples(payloads, labels=None, splits=None, groups=None):
    """Labelled rows that are all still in; one label and train where nothing is said."""
    n = len(payloads)
    labels, splits = labels or ["a"] * n, splits or ["train"] * n
    classes = sorted(set(labels))
    names = sorted(set(groups)) if groups else []
    contents: dict[str, int] = {}
    return Examples(
        ids=pa.array([f"id{place}" for place in range(n)]),
        numbers=np.arange(1, n + 1),
        labels=np.array([classes.index(label) for label in labels], np.int32),
        classes=classes,
        splits=np.array([SPLITS.index(split) for split in splits], np.int8),
        given=np.array([SPLITS.index(split) for split in splits], np.int8),
        contents=np.array([contents.setdefault(content_key(payload), len(contents)) for payload in payloads]),
        groups=np.array([names.index(group) for group in groups]) if groups else np.full(n, -1),
        group_names=names,
        times=pa.nulls(n, pa.string()),
        kept=np.ones(n, np.bool_),
    )


class Result:
    """What prepare returned, and what it wrote."""

    def __init__(self, prepared):
        self.findings, self.classes, self.summary = prepared.findings, prepared.classes, prepared.summary
        self.splits = {name: dataset.read(prepared.folder / f"{name}.parquet") for name in SPLITS}
        self.train, self.validation, self.test = self.splits.values()
        self.quarantine = pq.read_table(prepared.folder / "quarantine.parquet")


def findings(inspector, payloads, rows=None):
    """What the inspector says, by check: `(reasons, finding)`."""
    for first in range(0, len(payloads), BATCH):
        inspector.see(first, payloads[first : first + BATCH])
    said = inspector.conclude(rows or examples(payloads))
    for _, finding in said:
        written = json.loads(json.dumps(finding.document(), allow_nan=False, sort_keys=True))
        shown = told(written)
        assert (finding.reason, finding.action) == ("", ""), "sentences are made where people read them"
        assert shown["reason"]
        assert finding.verdict in ("pass", "unsure")
        assert bool(shown["action"]) == (finding.verdict == "unsure")
    return {finding.check: (reasons, finding) for reasons, finding in said}


def every(payloads):
    """All rows chosen."""
    return np.ones(len(payloads), np.bool_)


def real_rows(name):
    """Payloads and rows of a real set."""
    payloads, labels, splits = [], [], []
    for split in SPLITS:
        for path in SETS.glob(f"{name}/{split}.*"):
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                rows = zip((image["bytes"] for image in table["image"].to_pylist()), table["label"].to_pylist())  # noqa: B905
            else:
                opened = gzip.open if path.suffix == ".gz" else open
                with opened(path, "rt", encoding="utf-8") as file:
                    rows = [(row["text"], row["label"]) for row in map(json.loads, file)]
            for payload, label in rows:
                payloads.append(payload)
                labels.append(str(label))
                splits.append(split)
    return payloads, examples(payloads, labels, splits)


def encoded(picture, form="PNG", **options):
    """The file of a Pillow image, or of an array of grey levels or colours."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture, np.uint8))
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def photo(seed, side=48):
    """A made picture with light and dark fields, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
