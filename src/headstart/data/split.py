"""Which split an example stands in: the source's answer where it gives one, else a hash, the same for ever.

The hash is of the example's group, or of its content. It does not know how many other examples there are: when
data grows, no example changes sides. One number in [0, 1) decides both carvings:

    0          test              test + validation                1
    |-- test --|-- validation ---|------------ train -------------|

so that a source which starts to bring its own test split leaves the carved validation split as it was.
"""

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import SPLITS
from headstart.determinism import fraction
from headstart.params.prepare import Split

TRAIN, VALIDATION, TEST = range(len(SPLITS))


def position(key: str, params: Split) -> float:
    """Where an example stands in [0, 1): by its group, or by its content."""
    return fraction(key, seed=params.seed)


def assign(positions: NDArray[np.float64], given: NDArray[np.int8], params: Split) -> NDArray[np.int8]:
    """The split of each example, as an index into `SPLITS`.

    Splits that the source names are kept. What it leaves out (test, validation or both) is carved from its training
    rows; rows for which it names none count as training rows.

    Args:
        positions: one an example, from `position`.
        given: the source's split, as an index into `SPLITS`; -1 where it names none.
        params: shares and seed. A share is of the rows that are carved from.
    """
    missing = carved({SPLITS[code] for code in np.unique(given) if code >= 0})
    home = np.where(given < 0, TRAIN, given).astype(np.int8)
    free = home == TRAIN
    test = free & (positions < params.test)
    validation = free & ~test & (positions < params.test + params.validation)
    home[test if "test" in missing else []] = TEST
    home[validation if "validation" in missing else []] = VALIDATION
    return home


def carved(given: Container[str | None]) -> list[str]:
    """The splits that the source does not name, and that `assign` makes."""
    return [split for split in ("validation", "test") if split not in given]
