"""Rows a second of `headstart score` against tokenizers and onnxruntime alone, in one run, as a ratio.

    python -m benchmarks.scoring BUNDLE TEXTS.parquet [ROUNDS] [COPIES]

The raw figure is the ceiling: the same texts, graph, threads and groups by length (sorted within a part, 32 a batch),
its tokenizer and `session.run`; no file read or written, no checks, no probabilities. Ours opens the bundle, reads
Parquet, answers, writes parts and joins them to Parquet. Rounds alternate, so that a machine that slows down slows
both; the ratio by processor time does not depend on what else runs on the machine.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from headstart import determinism
from headstart.contract import spec
from headstart.scoring import answers, job


def main() -> None:
    """Print the median of each and the median ratio of pairs."""
    bundle, source = Path(sys.argv[1]), Path(sys.argv[2])
    rounds, copies = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((3, 3), (4, 1)))
    texts = pq.read_table(source, columns=["text"])["text"].to_pylist() * copies
    tokenizer, session = _raw(bundle)
    ours: list[tuple[float, float]] = []
    ceiling: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as temporary:
        rows = Path(temporary) / "rows.parquet"
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), rows)
        for number in range(rounds):
            output = Path(temporary) / f"answers-{number}.parquet"
            with _timed(ours):
                job.score(bundle, rows, output, model="benchmark", version=1, records=Path(temporary) / "records")
            with _timed(ceiling):
                for first in range(0, len(texts), job.PART_ROWS["text"]):
                    _run(tokenizer, session, texts[first : first + job.PART_ROWS["text"]])
    ratios = [[b[clock] / a[clock] for a, b in zip(ours, ceiling, strict=True)] for clock in (0, 1)]
    print(f"{len(texts)} texts, {determinism.threads()} threads, {rounds} rounds")
    print(f"headstart score          {len(texts) / median(wall for wall, _ in ours):8.1f} rows/s")
    print(f"tokenizers + onnxruntime {len(texts) / median(wall for wall, _ in ceiling):8.1f} rows/s")
    print(f"ratio by the clock       {median(ratios[0]):8.2f}")
    print(f"ratio by processor time  {median(ratios[1]):8.2f}")


@contextmanager
def _timed(seconds: list[tuple[float, float]]) -> Iterator[None]:
    """Note the seconds that the block takes, by the clock and of all processors together."""
    clock, processors = time.perf_counter(), time.process_time()
    yield
    seconds.append((time.perf_counter() - clock, time.process_time() - processors))


def _raw(bundle: Path) -> tuple[Tokenizer, ort.InferenceSession]:
    form = spec.read(bundle).input
    assert isinstance(form, spec.TextSpec)
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=form.max_tokens, direction=form.truncation_side)
    options = ort.SessionOptions()
    options.intra_op_num_threads = determinism.threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as ours: the machine may be busy
    return tokenizer, ort.InferenceSession(str(bundle / "model.onnx"), sess_options=options)


def _run(tokenizer: Tokenizer, session: ort.InferenceSession, texts: list[str]) -> None:
    tokens = sorted((encoding.ids for encoding in tokenizer.encode_batch_fast(texts)), key=len)
    for start in range(0, len(tokens), answers.BATCH):
        batch = tokens[start : start + answers.BATCH]
        ids = np.zeros((len(batch), len(batch[-1])), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, each in enumerate(batch):
            ids[row, : len(each)], mask[row, : len(each)] = each, 1
        session.run(["logits"], {"input_ids": ids, "attention_mask": mask})


if __name__ == "__main__":
    main()
