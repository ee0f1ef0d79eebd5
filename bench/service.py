"""Load `harmonizer serve` on loopback, and compare its processor time with `harmonizer batch`'s.

    python -m bench.service                      # the tables of docs/serving.md
    python -m bench.service --requests 20000     # memory, over that many small pictures

Everything runs on the cores that this program may use, the clients too.
"""

import argparse
import os
import re
import resource
import socket
import statistics
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

from harmonizer.client import multipart

CLIENTS = (1, 8, 64)


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


def batch_cpu(pair: tuple[Path, Path], count: int) -> float:
    """Processor time of `harmonizer batch` on so many copies of a pair."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place, file in zip(("composites", "masks"), pair, strict=True):
            (folder / place).mkdir()
            for index in range(count):
                (folder / place / f"{index}{file.suffix}").write_bytes(file.read_bytes())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = ["batch", folder, "-o", folder / "out", "--jobs", "1", "--threads", "1"]
        command = [sys.executable, "-m", "harmonizer", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def percentiles(times: list[float]) -> str:
    """p50, p95 and p99 in milliseconds, as cells of a table."""
    ordered = sorted(times)
    places = [
        ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99)
    ]
    return " | ".join(f"{1000 * place:.0f}" for place in places)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--total", type=int, default=100, help="requests for each row")
    parser.add_argument("--requests", type=int, help="of small pictures, for memory alone")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.requests:
            _memory(folder, options.requests)
            return 0
        pair = write_pair(folder, width, height)
        body, kind = multipart({"image": pair[0], "mask": pair[1]}, {})
        data = request("/harmonize", body, kind)
        with serving("--jobs", "1", "--threads", "1") as (port, process):
            load(port, data, 1, 5)
            _compare(pair, port, process, data, max(4, options.total // 4))
            print("| clients | requests a second | p50, ms | p95 | p99 | refused | core ms each |")
            for clients in CLIENTS if options.total else ():
                before = cpu_seconds(process)
                seconds, times, statuses = load(port, data, clients, options.total)
                each = 1000 * (cpu_seconds(process) - before) / options.total
                cells = f"| {clients} | {len(times) / seconds:.1f} | {percentiles(times)} | "
                print(f"{cells}{statuses[429] + statuses[503]} | {each:.0f} |", flush=True)
                if statuses.keys() - {200, 429, 503}:
                    raise RuntimeError(f"200, 429 and 503 were expected; got {statuses}")
    return 0


def _compare(pair: tuple[Path, Path], port: int, process: int, data: bytes, count: int) -> None:
    """Processor time of a picture in a batch and in the service, by turns, without the start."""
    ratios = []
    for _ in range(3):
        batch = (batch_cpu(pair, count + 2) - batch_cpu(pair, 2)) / count
        before = cpu_seconds(process)
        load(port, data, 1, count)
        service = (cpu_seconds(process) - before) / count
        ratios.append(service / batch)
        said = f"batch {1000 * batch:.0f} ms of a core a picture, service {1000 * service:.0f}"
        print(f"{said}: {ratios[-1]:.2f} times", flush=True)
    print(f"median {statistics.median(ratios):.2f} times")


def _memory(folder: Path, count: int) -> None:
    pair = write_pair(folder, 96, 64)
    files = {"image": pair[0], "mask": pair[1]}
    body, kind = multipart(files, {"arguments": '{"brightness": 0.2}'})
    data = request("/render", body, kind)
    with serving("--jobs", "1", "--threads", "1") as (port, process):
        for done in range(0, count, count // 10):
            load(port, data, 4, count // 10)
            each = 1000 * cpu_seconds(process) / (done + count // 10)
            said = f"{done + count // 10:,} requests: {resident_mb(process):.0f} MB"
            print(f"{said}, {each:.1f} ms of a core each", flush=True)


if __name__ == "__main__":
    sys.exit(main())
