"""What loads `harmonizer serve`: pictures, a server in a process of its own, clients that ask."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from PIL import Image


def write_pair(folder: Path, width: int, height: int) -> tuple[Path, Path]:
    """A JPEG with smooth colours and grain, and its mask, a quarter of it."""
    dice = np.random.default_rng(7)
    small = Image.fromarray(dice.integers(40, 216, (9, 16, 3), np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = dice.integers(-6, 7, (height, width, 3), np.int16)
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(folder / "c.jpg")
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    Image.fromarray(mask).save(folder / "m.png")
    return folder / "c.jpg", folder / "m.png"


@contextmanager
def serving(*words: str) -> Iterator[tuple[int, int]]:
    """The service; its port and its process."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "harmonizer", "serve", "--port", "0", *words]
        process = subprocess.Popen(command, stderr=log)
        try:
            while True:
                log.seek(0)
                text = log.read()
                if "startup complete" in text:
                    break
                if process.poll() is not None:
                    raise RuntimeError(text)
                time.sleep(0.1)
            yield int(re.findall(r'"port": (\d+)', text)[0]), process.pid
        finally:
            process.terminate()
            process.wait()


@dataclass(frozen=True)
class Request:
    """A POST whose answer is a JPEG."""

    path: str
    body: bytes
    kind: str

    def ask(self, connection: HTTPConnection) -> tuple[int, float]:
        """Ask over a connection that stays; the status, and the seconds of Retry-After."""
        heads = {"Accept": "image/jpeg", "Content-Type": self.kind}
        connection.request("POST", self.path, self.body, heads)
        answer = connection.getresponse()
        answer.read()
        return answer.status, float(answer.getheader("Retry-After") or 0.1)


def load(
    port: int, request: Request, clients: int, total: int
) -> tuple[float, list[float], Counter[int]]:
    """Ask as often as `total` from so many clients; seconds, those of each answer, statuses.

    A client that is refused asks again when Retry-After says; the time of an answer begins then.
    """
    left, lock = [total], threading.Lock()
    times: list[float] = []
    statuses: Counter[int] = Counter()

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=600)
        while True:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            status = 0
            while status != 200:
                began = time.perf_counter()
                status, wait = request.ask(connection)
                seconds = time.perf_counter() - began
                with lock:
                    statuses[status] += 1
                if status != 200:
                    connection.close()
                    time.sleep(wait)
            with lock:
                times.append(seconds)

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, times, statuses


def cpu_seconds(process: int) -> float:
    """Processor time of another process, of all its threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int) -> float:
    """Memory of another process."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024
