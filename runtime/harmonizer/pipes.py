"""Standard output whose reader has gone, as in ``harmonizer doctor | head -1``."""

import contextlib
import os
import sys


def leave_pipe() -> None:
    """Let what is still to be written go nowhere, so that Python does not complain at its end.

    The files of a command are written by then or will not be; a full pipe is no fault of theirs.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
