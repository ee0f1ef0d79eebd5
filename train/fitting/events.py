"""TensorBoard's event file, written in this thread.

`torch.utils.tensorboard.SummaryWriter` writes in a thread of its own, where a full disk shows as
that thread's traceback, and in the run only some steps later.
"""

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from harmonizer.errors import HarmonizerError

BINS = 50
"""Of a histogram."""


class MissingPackageError(HarmonizerError, RuntimeError):
    """What watching needs is not installed."""


class Events:
    """One run's scalars, histograms and pictures.

    Args:
        folder: Where the file goes.
        first: Steps already done; TensorBoard then drops what other files say of later ones.

    Raises:
        MissingPackageError: If tensorboard is not installed.
        OSError: If the file cannot be written; so do all methods.
    """

    def __init__(self, folder: Path, first: int) -> None:
        try:
            from tensorboard.compat.proto import event_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
            from torch.utils.tensorboard import summary
        except ImportError as error:
            raise MissingPackageError(
                "TensorBoard's files need the package tensorboard, which is not installed. Install "
                "it with pip install 'harmonizer[train]', or give --no-tensorboard."
            ) from error
        self._messages: Any = event_pb2
        self._summary: Any = summary
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.path = folder / name
        self._file = self.path.open("xb")
        self._writer = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(step=first, session_log=start)

    def close(self) -> None:
        """Close the file; what could not be written was raised by its own call."""
        with contextlib.suppress(OSError):
            self._file.close()

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a point of a curve."""
        self._write(step=step, summary=self._summary.scalar(name, value))

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        """Add a distribution of finite values."""
        self._write(step=step, summary=self._summary.histogram(name, values, BINS))

    def image(self, name: str, picture: Tensor, step: int) -> None:
        """Add a picture, (3, H, W) in [0, 1]."""
        shown = self._summary.image(name, picture, dataformats="CHW")
        self._write(step=step, summary=shown)

    def _write(self, **fields: Any) -> None:
        event = self._messages.Event(wall_time=time.time(), **fields)
        self._writer.write(event.SerializeToString())
        self._file.flush()
