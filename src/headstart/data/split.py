"""Which split an example stands in: the source's answer where it gives one, else a hash, the same for ever.

The hash is of the example's group, or of its content. It does not know how many other examples there are: when
data grows, no example changes sides. One number in [0, 1) decides both carvings:

    0          test              test + validation                1
    |-- test --|-- validation ---|------------ train -------------|

so that a source which starts to bring its own test split leaves the carved validation split as it was.
"""

from collections.abc import Sequence

from headstart.data.dataset import SPLITS
from headstart.determinism import fraction
from headstart.params.prepare import Split


def assign(keys: Sequence[str], given: Sequence[str | None], params: Split) -> list[str]:
    """The split of each example.

    Splits that the source names are kept. What it leaves out (test, validation or both) is carved from its training
    rows; rows for which it names none count as training rows.

    Args:
        keys: one an example; examples with one key stay together wherever the hash decides.
        given: the source's split, or None.
        params: shares and seed. A share is of the rows that are carved from.
    """
    has = {split: any(name == split for name in given) for split in SPLITS}
    result = []
    for key, name in zip(keys, given, strict=True):
        if name is not None and name != "train":
            result.append(name)
            continue
        place = fraction(key, seed=params.seed)
        if place < params.test:
            result.append("train" if has["test"] else "test")
        elif place < params.test + params.validation:
            result.append("train" if has["validation"] else "validation")
        else:
            result.append("train")
    return result


def carved(given: Sequence[str | None]) -> list[str]:
    """The splits that the source does not name, and that `assign` makes."""
    return [split for split in ("validation", "test") if split not in set(given)]
