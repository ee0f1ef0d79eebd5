"""Attack one target in a process of its own: what raised, what was wrong, what hung, and memory."""

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

LONGEST_S, LONGEST_ASLEEP_S = 30.0, 600.0
"""Seconds of processor time for one file, and of the clock's; beyond either it counts as a hang.
Other programs on the machine stretch the clock's alone."""


@dataclass
class Outcome:
    """What came of a campaign.

    Attributes:
        target: Its name.
        files: How many were tried.
        refused: By an error of this package.
        taken: As sound, and found to be.
        tracebacks: Other exceptions, or the end of the process.
        wrong: Taken, and not right.
        hangs: Files that took longer than `LONGEST_S` or `LONGEST_ASLEEP_S`.
        peak_mb: Memory above that of the sound seeds' reader, in MB.
        slowest_s: The longest time of a file.
        findings: What the faults are, a line each.
    """

    target: str
    files: int = 0
    refused: int = 0
    taken: int = 0
    tracebacks: int = 0
    wrong: int = 0
    hangs: int = 0
    peak_mb: float = 0.0
    slowest_s: float = 0.0
    findings: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """All that must be 0."""
        return self.tracebacks + self.wrong + self.hangs


def attack(name: str, count: int, seed: int, kept: Path | None = None) -> Outcome:
    """Try so many mutations of a target's seeds.

    Args:
        name: The target.
        count: How many.
        seed: Decides the mutations.
        kept: Folder for the files that are findings; None to forget them.
    """
    outcome, begun = Outcome(name), 0
    while begun < count:
        command = [sys.executable, str(HERE / "campaign.py"), name, str(begun), str(count)]
        command += [str(seed), str(kept or "")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        watch = _Watch(process)
        done = begun
        assert process.stdout is not None
        for line in process.stdout:
            watch.touch()
            if line.startswith("{"):
                done = json.loads(line)["next"]
                _add(outcome, json.loads(line))
        process.wait()
        watch.stop()
        if done == count:
            break
        # The file in hand hung, or ended the process.
        outcome.hangs += watch.fired
        outcome.tracebacks += not watch.fired
        outcome.files += 1
        outcome.findings.append(f"file {done}: {'hang' if watch.fired else process.returncode}")
        begun = done + 1
        if outcome.faults > 20:
            break
    return outcome


class _Watch:
    """Kills a process that says nothing for too long."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process, self.fired = process, False
        self._last, self._used = time.monotonic(), 60.0  # it begins with imports
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def touch(self) -> None:
        self._last, self._used = time.monotonic(), processor_seconds(self._process.pid)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            asleep = time.monotonic() - self._last
            used = processor_seconds(self._process.pid) - self._used
            if used > LONGEST_S or asleep > LONGEST_ASLEEP_S:
                self.fired = True
                self._process.kill()
                return


def processor_seconds(process: int) -> float:
    """What a process has used so far; 0 if it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _add(outcome: Outcome, part: dict[str, Any]) -> None:
    for key, value in part.items():
        if key in ("peak_mb", "slowest_s"):
            setattr(outcome, key, max(getattr(outcome, key), value))
        elif key == "findings":
            outcome.findings += value
        elif key not in ("target", "next"):
            setattr(outcome, key, getattr(outcome, key) + value)


def work(name: str, begin: int, count: int, seed: int, kept: Path | None) -> None:
    """Try files from number `begin` on, and print what came of them as JSON, some at a time."""
    import warnings

    from peak import forget, peak_bytes
    from targets import REFUSALS, TARGETS

    warnings.simplefilter("ignore")
    target = next(item for item in TARGETS if item.name == name)
    dice = random.Random(f"{name} {seed}")
    inputs = target.inputs(dice)
    for _ in range(begin):
        next(inputs)
    base = 0
    part = Outcome(name)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(begin, count):
            file, data = next(inputs)
            path = Path(folder) / file
            path.write_bytes(data)
            began = time.perf_counter()
            fault = ""
            try:
                wrong = target.run(path)
                part.taken += wrong is None
                if wrong is not None:
                    part.wrong += 1
                    fault = wrong
            except REFUSALS as error:
                part.refused += 1
                if "\n" in str(error) or len(str(error)) > 2000:
                    part.wrong += 1
                    fault = f"a complaint of {len(str(error))} characters"
            except Exception as error:
                part.tracebacks += 1
                last = traceback.extract_tb(error.__traceback__)[-1]
                fault = f"{type(error).__name__} in {Path(last.filename).name}: {str(error)[:150]}"
            part.files += 1
            part.slowest_s = max(part.slowest_s, round(time.perf_counter() - began, 3))
            if fault:
                part.findings.append(f"file {index} ({file}): {fault}")
                if kept is not None:
                    kept.mkdir(parents=True, exist_ok=True)
                    (kept / f"{name.replace(' ', '-')}-{seed}-{index}-{file}").write_bytes(data)
            if index == begin:
                forget()  # what is imported and prepared on first use
                base = peak_bytes()
            part.peak_mb = round((peak_bytes() - base) / 2**20, 1)
            if index % 20 == 19 or index == count - 1:
                print(json.dumps(asdict(part) | {"next": index + 1}), flush=True)
                part = Outcome(name)


if __name__ == "__main__":
    NAME, BEGIN, COUNT, SEED, KEPT = sys.argv[1:]
    work(NAME, int(BEGIN), int(COUNT), int(SEED), Path(KEPT) if KEPT else None)
