"""A bar on standard error for whatever takes longer than a moment; standard output stays for answers."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(total: int, saying: str, unit: str) -> Iterator[Callable[[int], None]]:
    """A function to call with how many more are done; the bar ends with the block."""
    from tqdm import tqdm

    with tqdm(total=total, desc=saying, unit=f" {unit}", file=sys.stderr, mininterval=0.5, leave=False) as shown:

        def advance(count: int) -> None:
            shown.update(count)

        yield advance
