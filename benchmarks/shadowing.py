"""What a shadow costs the requests of its champion: latency with and without it, in rounds that alternate.

    python -m benchmarks.shadowing BUNDLE [--rate 20] [--rounds 6] [--seconds 10] [--niceness 10]

One server answers golden inputs, at a steady rate from a process of its own; the shadow is the same bundle,
so it computes as much again. `--niceness 0` shows what the low priority of the thread that answers copies is worth.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import numpy as np

from headstart import settings
from headstart.evaluation import golden
from headstart.evaluation.gates import replay
from headstart.journal.writer import Journal
from headstart.params.loader import load
from headstart.params.operation import Shadow, Step
from headstart.registry.rollouts import Rollout
from headstart.serving import candidates, server
from headstart.serving.models import LoadedModel

PARAMS = Path(__file__).parents[1] / "params.yaml"
CONNECTIONS = 16


def main() -> None:
    """Print a row a round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--niceness", type=int, default=candidates.NICENESS)
    parser.add_argument("--client", help="the address of a server: be the client")
    options = parser.parse_args()
    if options.client:
        print(json.dumps(ask(options.client, options.bundle, options.rate, options.seconds)))
        return
    candidates.NICENESS = options.niceness
    params = load(PARAMS).models["apidocs"]
    model = LoadedModel.open("model", 1, options.bundle, difference_allowed=replay.DIFFERENCE)
    now = settings.now()
    step = Step(shadow=Shadow(requests=1, hours=0.0))
    rollout = Rollout(2, 1, [step], 0, now, now, None, 0.02, 0.05, 0.02, 1.5, champion_now=1)
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), params.journal, clock=settings.now)
        with server.in_background(model, params.serve, journal, clock=settings.now) as (url, fleet):
            for number in range(2 * options.rounds + 1):
                shadowed = number % 2 == 1
                if shadowed:
                    fleet.accompany(replace(model, version=2), rollout)
                before = fleet.copies["model"].answered
                words = ["--client", url, "--rate", str(options.rate), "--seconds", str(options.seconds)]
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.shadowing", str(options.bundle), *words],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                fleet.leave("model")
                seconds = json.loads(done.stdout)
                p50, p95 = (1000 * float(np.quantile(seconds, q)) for q in (0.5, 0.95))
                copies = fleet.copies["model"]
                said = f"{copies.answered - before} copies, {copies.dropped} dropped so far" if shadowed else ""
                print(f"{'shadow' if shadowed else 'alone':7} p50 {p50:7.1f} ms  p95 {p95:7.1f} ms  {said}", flush=True)
                if number:
                    found[shadowed].append((p50, p95))
    for index, name in enumerate(("p50", "p95")):
        alone, shadowed_ = (median(row[index] for row in found[which]) for which in (False, True))
        print(f"{name}: alone {alone:.1f} ms, with a shadow {shadowed_:.1f} ms, ratio {shadowed_ / alone:.3f}")


def ask(url: str, bundle: Path, rate: float, seconds: float) -> list[float]:
    """Seconds that each request took, sent when it was due whether or not the ones before are answered."""
    inputs = golden.read(bundle).inputs
    bodies = [
        json.dumps({"inputs": [base64.b64encode(raw).decode() if isinstance(raw, bytes) else raw]}) for raw in inputs
    ]
    started = time.perf_counter() + 0.5

    def one(number: int) -> float:
        due = started + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        body = bodies[number % len(bodies)]
        connection.request("POST", "/predict/model", body, {"Content-Type": "application/json"})
        assert connection.getresponse().read()
        connection.close()
        return time.perf_counter() - due

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(one, range(int(rate * seconds))))


if __name__ == "__main__":
    main()
