"""What does items on a cluster and dies of some: imported by the workers."""

import os
import signal
from pathlib import Path

from harmonizer.batch import Entry, Worker
from harmonizer.pairing import Item, Outcome
from harmonizer.picture import FileOptions
from harmonizer.recipes import Recipe, Tools


class Mortal:
    """A worker whose process is killed in the middle of files named `always` and `once`."""

    def __init__(self, tools: Tools, output: Path) -> None:
        self._worker = Worker(tools, output, Recipe(), FileOptions())
        self._marks = output.parent

    def do(self, item: Item, before: Entry | None) -> tuple[Outcome, Entry | None]:
        name = item.composite.stem
        mark = self._marks / f"{name}.mark"
        if name == "refused" and not mark.exists():
            mark.touch()
            return Outcome(item.composite, "failed", error="OSError: try again", again=True), None
        if name == "always" or (name == "once" and not mark.exists()):
            mark.write_text(mark.read_text() + "x" if mark.exists() else "x")
            os.kill(os.getpid(), signal.SIGKILL)
        return self._worker.do(item, before)
