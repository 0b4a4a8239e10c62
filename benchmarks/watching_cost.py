"""What watching costs a server: features in the journal and what enters the network's layers, against neither.

    python benchmarks/watching_cost.py WORKSPACE/digits

Two servers of the same bundle, each a process of its own; one client asks them by turns, on, off, off, on, with one
input a request. Prints the server's processor time a request of both, and their ratio with the range of the pairs:
seconds on the clock depend on what else the machine does. No input comes twice, since repeats are measured once.
What a server measures while nobody asks takes nothing from anybody, and is not counted.
"""

import argparse
import base64
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from unittest.mock import patch

import httpx
import onnx
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from headstart import settings
from headstart.bundle import CALIBRATION, MODEL, Calibration
from headstart.contract import documents
from headstart.data import dataset
from headstart.evaluation.gates import replay
from headstart.journal.writer import Journal
from headstart.params.loader import load
from headstart.predictor import MOMENTS, Predictor
from headstart.serving import server
from headstart.serving.fleet import Fleet
from headstart.serving.models import LoadedModel
from headstart.serving.sampling import SHARE

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure one model, or be one of its servers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="WORKSPACE/NAME, of a finished workspace")
    parser.add_argument("--rounds", type=int, default=6, help="of two pairs each")
    parser.add_argument("--requests", type=int, default=200, help="in each half of a pair")
    parser.add_argument("--serve", choices=["on", "off"], help="be the server")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.model, watched=arguments.serve == "on")
    else:
        compare(arguments.model, rounds=arguments.rounds, requests=arguments.requests)


def compare(model: Path, *, rounds: int, requests: int) -> None:
    """Ask both servers, and print what that cost them."""
    rows = dataset.read(model.parent / f"artifacts/models/{model.name}/data/train.parquet").inputs
    inputs = endless(list(rows))
    times: dict[str, list[float]] = {"on": [], "off": []}
    with started(model, "on") as on, started(model, "off") as off:
        for turn in range(rounds + 1):
            for name in ("on", "off", "off", "on"):
                url, process = {"on": on, "off": off}[name]
                asked = [next(inputs) for _ in range(requests)]
                spent = cost(url, process, asked)
                if turn:  # the first round warms up
                    times[name].append(spent)
    ratios = sorted(a / b for a, b in zip(times["on"], times["off"], strict=True))
    print(f"{model.name}: on {1e3 * median(times['on']):.2f} ms, off {1e3 * median(times['off']):.2f} ms")
    print(f"ratio {median(ratios):.3f}, of {len(ratios)} pairs {ratios[0]:.3f} to {ratios[-1]:.3f}")
    print(f"ratio of sums {sum(times['on']) / sum(times['off']):.3f}")


def serve(place: Path, *, watched: bool) -> None:
    """Serve the bundle until standard input ends."""
    params = load(place.parent / "params.yaml").models[place.name]
    journal = params.journal if watched else params.journal.model_copy(update={"features": 0})
    bundle = place.parent / "artifacts/models" / place.name / "bundle"
    model = LoadedModel.open(place.name, 1, bundle, difference_allowed=replay.DIFFERENCE)
    if not watched:
        model = replace(model, instrumented=None, predictor=without_moments(bundle))
    capped = patch.object(
        server, "Fleet", lambda *what, **how: Fleet(*what, **{**how, "sampled": SHARE})
    )  # not a drill's
    with tempfile.TemporaryDirectory() as folder:
        book = Journal(Path(folder), journal, clock=settings.now, key=b"key")
        with capped, server.in_background(model, params.serve, book, clock=lambda: datetime.now(UTC)) as (url, _):
            print(f"{url}/predict/{place.name}", flush=True)
            sys.stdin.read()


def without_moments(bundle: Path) -> Predictor:
    """The predictor of a bundle whose `model.onnx` measures no layer."""
    network = onnx.load(bundle / MODEL)
    for output in [each for each in network.graph.output if each.name == MOMENTS]:
        network.graph.output.remove(output)
    del network.metadata_props[:]
    calibration = Calibration.from_document(documents.read(bundle / CALIBRATION))
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(network, Path(folder) / MODEL)
        return Predictor.open(model=Path(folder) / MODEL, contract=bundle, calibration=calibration, threads=1)


@contextmanager
def started(place: Path, which: str) -> Iterator[tuple[str, int]]:
    """A server's address and its process."""
    command = [sys.executable, __file__, str(place), "--serve", which]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.stdin.close()
        process.wait()


def endless(rows: list[object]) -> Iterator[str]:
    """Inputs as JSON holds them, no two the same."""
    number = 0
    while True:
        for row in rows:
            number += 1
            if isinstance(row, str):
                yield f"{row} {number}"
                continue
            marked, buffer = PngInfo(), io.BytesIO()
            marked.add_text("number", str(number))
            Image.open(io.BytesIO(row)).save(buffer, "png", pnginfo=marked)  # type: ignore[arg-type]
            yield base64.b64encode(buffer.getvalue()).decode()


def cost(url: str, process: int, inputs: list[str]) -> float:
    """Processor seconds a request."""
    with httpx.Client(timeout=60) as client:
        before = spent(process)
        for each in inputs:
            client.post(url, json={"inputs": [each]}).raise_for_status()
        return (spent(process) - before) / len(inputs)


def spent(process: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
