"""Show how far a build is, through TensorRT's progress monitor."""

import sys
import threading
import time
from typing import Any, TextIO

MAX_DEPTH = 2
WIDTH = 78


class BuildProgress:
    """Prints phases as they run: one line that is rewritten on a terminal, else one line each.

    Args:
        out: Where to print; standard error by default.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stderr if out is None else out
        self._terminal = self._out.isatty()
        self._open: dict[str, list[int]] = {}
        self._began = time.perf_counter()

    def start(self, phase: str, steps: int) -> None:
        """A phase of so many steps begins, inside the one before it."""
        self._open[phase] = [0, steps]
        if self._terminal:
            self._rewrite()
        elif len(self._open) <= MAX_DEPTH:
            seconds = time.perf_counter() - self._began
            indent = "  " * (len(self._open) - 1)
            print(f"{seconds:7.1f} s  {indent}{phase}", file=self._out, flush=True)

    def step(self, phase: str, step: int) -> None:
        """A step of a phase is done."""
        if phase in self._open:
            self._open[phase][0] = step + 1
            if self._terminal:
                self._rewrite()

    def finish(self, phase: str) -> None:
        """A phase is over."""
        self._open.pop(phase, None)
        if self._terminal:
            self._rewrite()

    def _rewrite(self) -> None:
        text = " > ".join(f"{name} {done}/{steps}" for name, (done, steps) in self._open.items())
        self._out.write("\r" + text[:WIDTH].ljust(WIDTH) + ("" if self._open else "\r"))
        self._out.flush()


def make_monitor(trt: Any, progress: BuildProgress) -> Any:
    """An IProgressMonitor that passes everything on.

    An exception must not travel through TensorRT, which would end the process: the first one
    is kept in `error`, the build is told to stop, and the caller raises it.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self._guard = threading.Lock()  # phases may run on TensorRT's own threads

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._pass(progress.start, phase, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            self._pass(progress.step, phase, step)
            return self.error is None

        def phase_finish(self, phase: str) -> None:
            self._pass(progress.finish, phase)

        def _pass(self, method: Any, *arguments: Any) -> None:
            try:
                with self._guard:
                    method(*arguments)
            except BaseException as error:  # also KeyboardInterrupt: see the docstring
                self.error = self.error or error

    return Monitor()
