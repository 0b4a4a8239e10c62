"""Planted faults in data: how many of the rows each check names were planted, and how many of the planted it names.

    python benchmarks/data/faults.py --data ../shared/data

Every fault goes through the whole door: a Parquet file, `ingest`, `prepare` with all checks, `put_aside` naming them
all. A row counts as found where the quarantine has it under the check expected; a fault of a whole set (a shortcut, an
order) as found where the finding is unsure, as stated where it passes and counts it. Precision counts every row that
the check named beyond those it names in the clean set. Text sets are ones that no threshold was set on; the picture
sets were looked at when thresholds were set.
"""

import argparse
import gzip
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from plants import PICTURE_FAULTS, TEXT_FAULTS, Plant, Rows

from headstart import settings
from headstart.contract.spec import ImageSpec, TextSpec
from headstart.data import ingest, prepare
from headstart.data.checks import inspectors
from headstart.data.checks import rows as row_checks
from headstart.params.data import Columns, Data
from headstart.params.loader import load

ROOT = Path(__file__).parents[2]
TEXTS, PICTURES = ("pubmedqa_sections", "amazon_books", "tweeteval_sentiment_val_vs_2017"), ("cifar10_jpeg", "mnist")
SEVERITIES = (0.01, 0.05, 0.2)
MOST = 1500  # rows of a set
NAMING = ["near_leak", "near_duplicates", "mojibake", "control_characters", "markup", "personal_data"]
NAMING += ["truncated_images", "animated", "constant_images"]
TEXT = TextSpec(
    max_tokens=128,
    max_characters=20_000,
    pad_id=0,
    pad_token="[PAD]",
    truncation_side="right",
    tokenizer_sha256="0" * 64,
)
IMAGE = ImageSpec(
    mode="RGB", resize="stretch", height=32, width=32, shortest_edge=None, resample="bilinear", crop=None,
    rescale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3, max_pixels=1_000_000, max_bytes=1_000_000,
)  # fmt: skip


def plain() -> Columns:
    """Columns that are called plainly."""
    return Columns()


def original(folder: Path, modality: str) -> Rows:
    """At most `MOST` rows of a set, each payload once, so that the clean set has no exact repeat."""
    payloads, labels, splits, seen = [], [], [], set()
    generator = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for path in folder.glob(f"{split}.*"):
            if modality == "image":
                table = pq.read_table(path).to_pylist()
                found = [(row["image"]["bytes"], row["label"]) for row in table]
            else:
                with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
                    found = [(row["text"], row["label"]) for row in map(json.loads, file)]
            for place in generator.permutation(len(found))[: MOST if split == "train" else MOST // 5]:
                payload, label = found[place]
                key = " ".join(payload.split()) if isinstance(payload, str) else payload
                if key not in seen:
                    seen.add(key)
                    payloads.append(payload)
                    labels.append(str(label))
                    splits.append(split)
    return Rows(payloads, labels, splits)


def said(rows: Rows, modality: Any) -> tuple[dict[str, set[str]], dict[str, tuple[str, float | None]]]:
    """Ids put aside by each check, and the verdict and statistic of each."""
    spec: TextSpec | ImageSpec = TEXT if modality == "text" else IMAGE
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        columns = {"id": rows.ids, modality: rows.payloads, "label": rows.labels, "split": rows.splits}
        if any(rows.times):
            columns["time"] = rows.times
        pq.write_table(pa.table(columns), folder / "set.parquet")
        ingest.ingest("m", modality, Data(source=str(folder / "set.parquet"), columns=plain()), folder / "raw/m")
        model = load(ROOT / "params.yaml").models["apidocs" if modality == "text" else "digits"].prepare
        params = model.model_copy(
            update={"checks": model.checks.model_copy(update={"put_aside": NAMING, "leaked_share": 1.0})}
        )
        (folder / "out").mkdir()
        looking = inspectors.of_payloads(
            spec, (lambda texts: [len(t.split()) for t in texts]) if modality == "text" else None
        )
        done = prepare.prepare(
            folder / "raw/m", params, out=folder / "out", decodes=row_checks.by_contract(spec), inspectors=looking
        )
        named: dict[str, set[str]] = {}
        for row in pq.read_table(folder / "out/quarantine.parquet", columns=["id", "check"]).to_pylist():
            named.setdefault(row["check"], set()).add(row["id"])
        return named, {finding.check: (finding.verdict, finding.statistic) for finding in done.findings}


def score(dirty: Rows, named: dict[str, set[str]], clean: dict[str, set[str]], checks: tuple[str, ...]) -> str:
    """Precision and recall; a planted copy is found where it, or what it was made from, was put aside.

    A copy in train may fall into the validation split that is carved from it: then its original is what leaks.
    """
    found = set().union(*(named.get(check, set()) for check in checks))
    found -= set().union(*(clean.get(check, set()) for check in checks)) - dirty.planted
    hits = {one for one in dirty.planted if one in found or dirty.originals.get(one) in found}
    true = found & (dirty.planted | {dirty.originals[one] for one in hits if one in dirty.originals})
    return f"p {len(true) / max(1, len(found)):.2f} r {len(hits) / max(1, len(dirty.planted)):.2f}"


def measure(rows: Rows, modality: str, faults: dict[str, tuple[str, Plant, bool]], name: str) -> None:
    clean, quiet = said(rows, modality)
    loud = sorted(check for check, (verdict, _) in quiet.items() if verdict != "pass")
    print(f"\n{name}: {len(rows.ids)} rows; as it came, unsure: {', '.join(loud) or 'nothing'}")
    print(f"  {'fault':28} {'check':20}" + "".join(f"{share:>20.0%}" for share in SEVERITIES))
    for fault, (check, plant, by_row) in faults.items():
        cells = []
        for share in SEVERITIES:
            generator, dirty = np.random.default_rng(7), rows.copied()
            chosen = generator.permutation(len(rows.ids))[: max(1, round(share * len(rows.ids)))].tolist()
            plant(dirty, chosen, generator)
            named, verdicts = said(dirty, modality)
            if not by_row:
                verdict, count = verdicts[check]
                told = "found" if verdict == "unsure" else "stated" if count and count != quiet[check][1] else "missed"
                cells.append(told + "  (already)" * (check in loud))
                continue
            cells.append(
                score(dirty, named, clean, ("near_leak", "near_duplicates") if check.startswith("near") else (check,))
            )
        print(f"  {fault:28} {check:20}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the real sets")
    folder = parser.parse_args().data
    settings.disable_telemetry()
    warnings.simplefilter("ignore")
    for name in TEXTS:
        measure(original(folder / name, "text"), "text", TEXT_FAULTS, name)
    for name in PICTURES:
        measure(original(folder / name, "image"), "image", PICTURE_FAULTS, name)


if __name__ == "__main__":
    main()
