"""transformers' chatter on loading (progress bars, load reports) kept off the terminal: headstart reports itself."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block transformers says errors only and draws no bar; its settings come back afterwards.

    Load reports are silenced, not skipped: callers ask for `output_loading_info` and judge it.
    """
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Tt]orchvision.*")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
