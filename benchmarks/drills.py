"""How often is what a drill plants in traffic detected and named, over seeds and severities?

    cd WORKSPACE && python PATH/benchmarks/drills.py digits apidocs --work /tmp/drills

Drills the champions of the workspace that it is started in, as `headstart drill NAME --stage after` does: seeds 0, 1
and 2 at severity 4, seed 0 at severities 3 and 5. Keeps each drill's document in `--work`, makes none that is there,
and prints the tables of `docs/monitoring.md` over all documents there; without models it only prints them.

A fault counts as right where the last look of its window names the cause that `drill.traffic.HeldOut.expected` gives,
and as wrong where that look names another one than `unknown_shift`. `Damage by clients` are faults whose remedy is
`fix_client`; `within 50` counts those detected at the first look. Among changes of the world are light, contrast,
focus, noise, typing errors and text recognition.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headstart import tracking
from headstart.cli.workspace import enter
from headstart.drill import score, traffic
from headstart.faults.table import CAUSES, FAULTS

DRILLS = ((0, 4), (1, 4), (2, 4), (0, 3), (0, 5))  # seed, severity
Row = dict[str, Any]
KINDS: dict[str, Callable[[Row], bool]] = {
    "damage by clients": lambda row: not _stream(row) and CAUSES[FAULTS[row["fault"]].cause].remedy == "fix_client",
    "changes of the world": lambda row: not _stream(row) and CAUSES[FAULTS[row["fault"]].cause].family == "world",
    "of these BatchNorm drift": lambda row: row["expected"] == "batchnorm_drift",
    "label shift": lambda row: row["expected"] == "label_shift",
    "repeated inputs": lambda row: row["fault"] == "inputs_repeated",
}


def _stream(row: Row) -> bool:
    return FAULTS[row["fault"]].target == "stream"


def main() -> None:
    """Drill the models named, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--work", type=Path, required=True, help="where documents are kept")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.models:
        drill(arguments.models, arguments.work)
    tell([json.loads(path.read_text()) for path in sorted(arguments.work.glob("*.json"))])


def drill(models: Sequence[str], work: Path) -> None:
    """Make the documents that are not there."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    workspace, params = enter()
    tracking.open(workspace)
    for name in models:
        for seed, severity in DRILLS:
            path = work / f"{name}-{seed}-{severity}.json"
            if path.is_file():
                continue
            found = score.run(
                name,
                params.models[name],
                stage="after",
                only=None,
                say=lambda _: None,
                seed=seed,
                severity=severity,
            )
            path.write_text(json.dumps(found, indent=1))
            print(f"{name} seed {seed} severity {severity}: {found['summary']}", flush=True)


def tell(documents: Sequence[Row]) -> None:
    """The tables."""
    models = dict.fromkeys(document["model"] for document in documents)
    columns = "planted | detected | within 50 answers | the last by | right | unnamed | wrong"
    print(f"| model | drills | {columns} | sound windows that alarmed |\n|{' --- |' * 10}")
    for name in (*models, "all"):
        made = [document for document in documents if name in (document["model"], "all")]
        alarms, windows = (sum(document["clean"][key] for document in made) for key in ("alarms", "windows"))
        print(f"| {name} | {len(made)} | {_counts(_sent(made))} | {alarms} of {windows} |")
    print(f"\n| faults | {columns} |\n|{' --- |' * 8}")
    for kind, belongs in KINDS.items():
        print(f"| {kind} | {_counts([row for row in _sent(documents) if belongs(row)])} |")
    print("\n| fault | model | expected | not detected, or called |\n| --- | --- | --- | --- |")
    missed: Counter[tuple[str, ...]] = Counter()
    for document in documents:
        for row in _sent([document]):
            if row["cause"] != row["expected"]:
                missed[row["fault"], document["model"], row["expected"], row["cause"] or "not detected"] += 1
    for case, count in sorted(missed.items()):
        print(f"| {' | '.join(case)}: {count} |", flush=True)


def _sent(documents: Sequence[Row]) -> list[Row]:
    return [row for document in documents for row in document["after"] if row["answers"]]


def _counts(rows: Sequence[Row]) -> str:
    detected = [row for row in rows if row["detected_after"]]
    early = sum(row["detected_after"] <= traffic.LOOKS[0] for row in detected)
    latest = max((row["detected_after"] for row in detected), default="")
    right = sum(row["cause"] == row["expected"] for row in detected)
    unnamed = sum(row["cause"] in (None, score.UNNAMED) for row in detected)
    found = (len(rows), len(detected), early, latest, right, unnamed, len(detected) - right - unnamed)
    return " | ".join(map(str, found))


if __name__ == "__main__":
    main()
