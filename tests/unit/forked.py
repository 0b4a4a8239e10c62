"""Processes that are killed in their work: forked from one that has torch imported, which takes three seconds."""

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["headstart.transfer.training", "headstart.transfer.adapt.pretraining", "peft", "transformers.trainer", "sklearn"]
)


def killed(work: Callable[..., None], *arguments: Any) -> None:
    """Run `work`, which ends itself by kill -9, in a process of its own."""
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"it ended by itself, with {process.exitcode}"
