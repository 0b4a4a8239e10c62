"""Reading a large source: `headstart`'s ingest beside pandas and datasets, rows a second and peak memory.

    python benchmarks/data/sources.py --rows 2000000

Each contender reads the same file in a process of its own. What they do differs: pandas and datasets copy columns to
Parquet (Arrow); ingest also checks every row, gives each a unique id by its content, sets unlabelled rows apart and
hashes what it wrote. `--images N` adds a Parquet file of N images of about 5 kB.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SENTENCE = "the card was charged twice and nobody answers my mails about it since monday please help"
WORDS = tuple(dict.fromkeys(SENTENCE.split()))


def main() -> None:
    """Make the files, run each contender, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--contender", choices=sorted(CONTENDERS))
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    if given.contender:
        one(given.contender, given.file)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [(write_csv(folder / "a.csv", given.rows), given.rows)]
        files += [(write_jsonl(folder / "a.jsonl", given.rows), given.rows)]
        files += [(write_images(folder / "images.parquet", given.images), given.images)] if given.images else []
        print(
            f"{'file':<16} {'contender':<10} {'seconds':>8} {'cpu s':>6} {'rows/s':>10} {'peak MB':>8} {'bare MB':>8}"
        )
        for file, rows in files:
            for contender in sorted(CONTENDERS):
                if file.suffix == ".parquet" and contender != "headstart":
                    continue
                run = [sys.executable, __file__, "--contender", contender, "--file", str(file)]
                done = subprocess.run(run, check=True, capture_output=True, text=True, cwd=folder)
                figures = json.loads(done.stdout.splitlines()[-1])
                times = f"{figures['seconds']:>8.1f} {figures['cpu_s']:>6.1f}"
                speed = rows / figures["seconds"]
                sizes = f"{figures['peak_mb']:>8.0f} {figures['bare_mb']:>8.0f}"
                print(f"{file.name:<16} {contender:<10} {times} {speed:>10,.0f} {sizes}", flush=True)


def one(contender: str, file: Path) -> None:
    """Run one contender here; its figures as a JSON line. `bare` is the memory before the first row."""
    with tempfile.TemporaryDirectory() as name:
        prepared = CONTENDERS[contender](file, Path(name))
        bare = peak_mb()
        start, cpu = time.perf_counter(), time.process_time()
        prepared()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = peak_mb()
    print(json.dumps({"seconds": seconds, "cpu_s": cpu, "peak_mb": peak, "bare_mb": bare}))


def peak_mb() -> float:
    """The most memory this process has held so far; `ru_maxrss` would begin with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def with_headstart(file: Path, folder: Path) -> Callable[[], object]:
    """Ingest, as `headstart run` does."""
    from headstart.data.ingest import ingest
    from headstart.params.data import Columns, Data

    columns = Columns()
    modality = "image" if file.suffix == ".parquet" else "text"
    return lambda: ingest("m", modality, Data(source=str(file), columns=columns), folder / "raw/m")


def with_pandas(file: Path, folder: Path) -> Callable[[], object]:
    """The two lines that a notebook has."""
    import pandas as pd

    if file.suffix == ".csv":
        return lambda: pd.read_csv(file).to_parquet(folder / "a.parquet")
    return lambda: pd.read_json(file, lines=True).to_parquet(folder / "a.parquet")


def with_datasets(file: Path, folder: Path) -> Callable[[], object]:
    """`load_dataset`, which writes Arrow files to its cache."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    kind = "csv" if file.suffix == ".csv" else "json"
    return lambda: datasets.load_dataset(kind, data_files=str(file), cache_dir=str(folder))


def write_csv(path: Path, rows: int) -> Path:
    """Texts of about 60 characters, 20 labels."""
    with path.open("w") as file:
        file.write("text,label\n")
        file.writelines(f"{text(number)},class_{number % 20}\n" for number in range(rows))
    return path


def write_jsonl(path: Path, rows: int) -> Path:
    """The same rows."""
    with path.open("w") as file:
        for number in range(rows):
            file.write(json.dumps({"text": text(number), "label": f"class_{number % 20}"}) + "\n")
    return path


def write_images(path: Path, images: int) -> Path:
    """Bytes that do not compress, about 5 kB each, 10 labels."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = np.random.default_rng(7)
    schema = pa.schema({"image": pa.binary(), "label": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, images, 5000):
            count = min(5000, images - start)
            payload = [source.bytes(int(size)) for size in source.integers(4000, 6000, count)]
            labels = [str(number % 10) for number in range(start, start + count)]
            writer.write_table(pa.table([payload, labels], schema=schema))
    return path


def text(number: int) -> str:
    """One of as many different sentences as there are numbers."""
    step = number
    words = []
    for place in range(10):
        step, at = divmod(step * 31 + place, len(WORDS))
        words.append(WORDS[at])
    return f"{' '.join(words)} {number}"


CONTENDERS: dict[str, Callable[[Path, Path], Callable[[], object]]] = {
    "headstart": with_headstart,
    "pandas": with_pandas,
    "datasets": with_datasets,
}

if __name__ == "__main__":
    main()
