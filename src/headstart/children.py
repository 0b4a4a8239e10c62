"""Child processes that do not outlive the program that started them."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Called in a child before it starts: ask Linux to end it when its parent dies, be it by kill -9.

    Elsewhere nothing is asked. Source: prctl(2).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
