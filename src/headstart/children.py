"""Child processes that do not outlive the program that started them."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Called in a child before it starts: ask Linux to end it when its parent dies, be it by kill -9.

    Elsewhere nothing is asked. Source: prctl(2), which says nothing of a parent that is dead already: a child that
    starts slowly and knows who its parent was names it here, and ends at once where that is another one by now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
