"""The whole data door at size: ingest, then prepare with every check that sees payloads; seconds and peak memory.

    python benchmarks/data/door.py --rows 2000 100000 2000000 --images 2000 200000

Each size runs in a process of its own. The backbone is left out: it is shown `checks.featured` rows at most, whatever
the size.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from faults import IMAGE, TEXT, plain
from PIL import Image
from sources import peak_mb, write_csv

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Make the files, run each size, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[2_000, 100_000])
    parser.add_argument("--images", type=int, nargs="*", default=[2_000])
    parser.add_argument("--file", type=Path, help="run this file here and print its figures")
    given = parser.parse_args()
    if given.file:
        one(given.file)
        return
    print(f"{'rows':>10} {'what':<6} {'ingest s':>9} {'prepare s':>10} {'rows/s':>9} {'peak MB':>8}")
    for count, modality in [*((n, "text") for n in given.rows), *((n, "image") for n in given.images)]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = write_csv(folder / "a.csv", count) if modality == "text" else pictures(folder / "a.parquet", count)
            run = [sys.executable, __file__, "--file", str(path)]
            done = subprocess.run(run, check=True, capture_output=True, text=True, cwd=folder)
            figures = json.loads(done.stdout.splitlines()[-1])
        speed = count / (figures["ingest"] + figures["prepare"])
        seconds = f"{figures['ingest']:>9.1f} {figures['prepare']:>10.1f}"
        print(f"{count:>10,} {modality:<6} {seconds} {speed:>9,.0f} {figures['peak_mb']:>8.0f}", flush=True)


def one(path: Path) -> None:
    """Ingest and prepare one file beside it; figures as a JSON line."""
    from headstart import settings
    from headstart.data import ingest, prepare
    from headstart.data.checks import inspectors, rows
    from headstart.params.data import Data
    from headstart.params.loader import load

    settings.disable_telemetry()
    warnings.simplefilter("ignore")
    modality = "text" if path.suffix == ".csv" else "image"
    spec = TEXT if modality == "text" else IMAGE
    params = load(ROOT / "params.yaml").models["apidocs" if modality == "text" else "digits"].prepare
    raw, out = path.parent / "raw/m", path.parent / "out"
    out.mkdir()
    started = time.perf_counter()
    ingest.ingest("m", modality, Data(source=str(path), columns=plain()), raw)
    ingested = time.perf_counter()
    looking = inspectors.of_payloads(spec, lambda texts: [len(text.split()) for text in texts])
    prepare.prepare(raw, params, out=out, decodes=rows.by_contract(spec), inspectors=looking)
    figures = {"ingest": ingested - started, "prepare": time.perf_counter() - ingested, "peak_mb": peak_mb()}
    print(json.dumps(figures))


def pictures(path: Path, count: int) -> Path:
    """PNG files of 28 pixels a side, each a smooth picture of its own."""
    source = np.random.default_rng(7)
    schema = pa.schema({"image": pa.binary(), "label": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, 5000):
            payload = [drawn(source) for _ in range(min(5000, count - start))]
            labels = [str(number % 10) for number in range(start, start + len(payload))]
            writer.write_table(pa.table([payload, labels], schema=schema))
    return path


def drawn(source: np.random.Generator) -> bytes:
    file = io.BytesIO()
    coarse = Image.fromarray(source.integers(0, 256, (5, 5), dtype=np.uint8))
    coarse.resize((28, 28), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
