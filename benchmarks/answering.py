"""Texts a second of `Predictor.predict` against raw onnxruntime on tokens made beforehand, in one run, as a ratio.

    python -m benchmarks.answering BUNDLE [ROUNDS]

The raw figure is the ceiling: the same graph and threads, length-sorted batches, no tokenizer, no checks, no
probabilities. Rounds alternate, so that a machine that slows down slows both.
"""

import sys
import time
from pathlib import Path
from statistics import median

from headstart.evaluation import golden
from headstart.predictor import Predictor

BATCH = 32
COPIES = 16


def main() -> None:
    """Print the median of each and the median ratio of pairs."""
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    predictor = Predictor.load(folder)
    raw = list(golden.read(folder).inputs) * COPIES
    prepared = sorted(predictor.preprocessor.prepare(raw), key=len)
    batches = [prepared[start : start + BATCH] for start in range(0, len(prepared), BATCH)]
    ours, ceiling = [], []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        predictor.predict(raw)
        ours.append(len(raw) / (time.perf_counter() - started))
        started = time.perf_counter()
        for batch in batches:
            predictor.run(batch)
        ceiling.append(len(raw) / (time.perf_counter() - started))
    pairs = list(zip(ours[1:], ceiling[1:], strict=True))  # the first round warms up
    print(f"Predictor.predict  {median(a for a, _ in pairs):8.1f} inputs/s")
    print(f"raw onnxruntime    {median(b for _, b in pairs):8.1f} inputs/s")
    print(f"ratio              {median(a / b for a, b in pairs):8.2f}")


if __name__ == "__main__":
    main()
