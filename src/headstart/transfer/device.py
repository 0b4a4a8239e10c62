"""Where torch computes and in which precision; both are found once and said in the history.

Results repeat to the byte on one kind of machine with one number of threads. Another processor, thread count or
precision rounds otherwise.
"""

import os
import random
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from headstart import determinism

Precision = Literal["float32", "bfloat16"]
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # Intel and AMD, Intel, Arm
CPU_FLAGS = Path("/proc/cpuinfo")
CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")


def settle(seed: int) -> torch.device:
    """Seed every generator, take the threads allowed, and answer with the device to compute on."""
    random.seed(seed)
    np.random.seed(seed)  # transformers draws from it
    torch.manual_seed(seed)  # of every device
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(determinism.threads())
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(asked: Literal["auto", "float32", "bfloat16"], *, flags: Path = CPU_FLAGS) -> Precision:
    """The precision of forward and backward passes; weights and their updates stay in float32.

    `auto` is bfloat16 where the device computes it natively (elsewhere it is slower than float32), else float32.
    """
    if asked != "auto":
        return asked
    native = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else _processor_flags(flags) & BFLOAT16_FLAGS
    return "bfloat16" if native else "float32"


def memory() -> int:
    """Bytes of memory that training may use: the GPU's where there is one, else the machine's or its container's."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CONTAINER_MEMORY.read_text().strip() if CONTAINER_MEMORY.is_file() else "max"
    return min(whole, int(limit)) if limit.isdigit() else whole


def _processor_flags(path: Path) -> set[str]:
    """The features that Linux names for the processor; none where there is no such file."""
    if not path.is_file():
        return set()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}
