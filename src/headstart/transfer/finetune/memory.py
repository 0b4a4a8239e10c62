"""Out of memory: whether an exception says so, and into how many pieces a batch is cut then."""

import gc

import torch

SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "defaultcpuallocator")


def ran_out(error: BaseException) -> bool:
    """Whether memory, of the machine or of the device, is what was short."""
    told = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(sign in told for sign in SIGNS)


def release() -> None:
    """Give back what the failed step held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def more(batch: int, pieces: int) -> int:
    """Into how many equal pieces a batch is cut next: twice as many, or the next number that divides it."""
    return next(count for count in range(min(2 * pieces, batch), batch + 1) if batch % count == 0)
