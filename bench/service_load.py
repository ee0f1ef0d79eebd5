"""What loads `harmonizer serve`: pictures, a server in a process of its own, clients that ask."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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


def request(path: str, body: bytes, kind: str) -> bytes:
    """A POST whose answer is a JPEG."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAccept: image/jpeg\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ask(connection: socket.socket, data: bytes) -> tuple[int, float]:
    """Send a request over a connection that stays; the status, and the seconds of Retry-After."""
    connection.sendall(data)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _received(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0:
        left -= len(_received(connection))
    wait = re.search(rb"retry-after: (\d+)", head)
    return int(head.split()[1]), float(wait[1]) if wait else 0.1


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 20)
    if not data:
        raise ConnectionError("the service ended the connection")
    return data


def load(
    port: int, data: bytes, clients: int, total: int
) -> tuple[float, list[float], Counter[int]]:
    """Ask as often as `total` from so many clients; seconds, those of each answer, statuses.

    A client that is refused asks again when Retry-After says; the time of an answer begins then.
    """
    left, lock = [total], threading.Lock()
    times: list[float] = []
    statuses: Counter[int] = Counter()

    def client() -> None:
        connection = None
        while True:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            while True:
                began = time.perf_counter()
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", port), timeout=600)
                status, wait = ask(connection, data)
                seconds = time.perf_counter() - began
                with lock:
                    statuses[status] += 1
                    if status == 200:
                        times.append(seconds)
                if status == 200:
                    break
                connection.close()
                connection = None
                time.sleep(wait)

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
