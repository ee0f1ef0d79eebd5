"""Load `harmonizer serve` on loopback, and compare it and Ray with `harmonizer batch`.

    python -m bench.service --output bench/results/service.json
    python -m bench.service --table bench/results/service.json     # what docs/serving.md has

Everything runs on the cores that this program may use, the clients too. Figures of Ray are left out
where harmonizer[ray] is not installed.
"""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.results_file import check_output, write_result
from bench.service_load import (
    Request,
    cpu_seconds,
    load,
    resident_mb,
    serving,
    write_pair,
)
from harmonizer.bench import judge
from harmonizer.client import multipart
from harmonizer.latency import Measurement, picture, summarize
from harmonizer.usage import says_errors, tool_parser

CLIENTS = (1, 8, 64)
QUEUE = 16

RATIO = "processor time of a picture: service / batch"
BOUND = "64 clients: p99 / what the queue holds, at the rate of 8 clients"
GROWTH = "memory: MB, last reading - first"
SCALING = "two workers of Ray / two processes: pictures a second"
TARGETS = {
    RATIO: ("at most", 1.15),
    BOUND: ("at most", 1.0),
    GROWTH: ("at most", 5.0),
    SCALING: ("at least", 0.9),
}
"""The aims. 5 MB is what the allocator's own bookkeeping may move."""

Figures = dict[str, float]


def percentile(times: list[float], share: float) -> float:
    """One of measured times."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def loads(request: Request, size: tuple[int, int], total: int) -> tuple[list[Measurement], Figures]:
    """Answers to 1, 8 and 64 clients."""
    results: list[Measurement] = []
    figures: Figures = {}
    with serving("--jobs", "1", "--threads", "1", "--queue", str(QUEUE)) as (port, process):
        load(port, request, 1, 5)
        for clients in CLIENTS:
            before = cpu_seconds(process)
            seconds, times, statuses = load(port, request, clients, total)
            if statuses.keys() - {200, 429, 503} or len(times) != total:
                raise RuntimeError(f"{total} of 200, and 429 and 503 were expected; got {statuses}")
            milliseconds = [1e3 * each for each in times]
            name = f"service, {clients} clients"
            results.append(summarize(name, picture(*size), 0.25, milliseconds))
            figures |= {
                f"{clients} clients: requests a second": total / seconds,
                f"{clients} clients: p95, ms": percentile(milliseconds, 0.95),
                f"{clients} clients: refused and asked again": statuses[429] + statuses[503],
                f"{clients} clients: ms of a core each": 1e3
                * (cpu_seconds(process) - before)
                / total,
            }
    held = 1e3 * QUEUE / figures["8 clients: requests a second"]
    figures[BOUND] = results[-1].p99_ms / held
    return results, figures


def processor_time(pair: tuple[Path, Path], request: Request, count: int) -> Figures:
    """Of a picture in a batch and in the service, by turns, without the start."""
    batches, services = [], []
    with serving("--jobs", "1", "--threads", "1") as (port, process):
        load(port, request, 1, 5)
        for _ in range(5):
            used = [_children(lambda n=n: run_batches(pair, [n])) for n in (count + 2, 2)]
            batches.append((used[0] - used[1]) / count)
            before = cpu_seconds(process)
            load(port, request, 1, count)
            services.append((cpu_seconds(process) - before) / count)
    ratios = [service / batch for service, batch in zip(services, batches, strict=True)]
    each = statistics.median(batches)
    return {
        "batch: ms of a core a picture": 1e3 * each,
        "service: ms of a core a picture": 1e3 * statistics.median(services),
        RATIO: statistics.median(ratios),
        f"{RATIO}, least": min(ratios),
        f"{RATIO}, most": max(ratios),
        "batch: hours of a core for a million pictures": each * 1e6 / 3600,
    }


def _children(work: Any) -> float:
    """Processor time of the processes that were started meanwhile, and have ended."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_batches(pair: tuple[Path, Path], counts: list[int], *words: str) -> list[float]:
    """Batches of so many copies of a pair each, at the same time; when each picture was there."""
    with tempfile.TemporaryDirectory() as name:
        commands = []
        for number, count in enumerate(counts):
            folder = Path(name) / str(number)
            for place, file in zip(("composites", "masks"), pair, strict=True):
                (folder / place).mkdir(parents=True)
                for index in range(count):
                    (folder / place / f"{index}{file.suffix}").write_bytes(file.read_bytes())
            how = words or ("--jobs", "1")
            told = ["batch", str(folder), "-o", str(folder / "out"), "--threads", "1", *how]
            commands.append([sys.executable, "-m", "harmonizer", *told])
        began = time.time()
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for command in commands
        ]
        for process, count in zip(started, counts, strict=True):
            said, trouble = process.communicate()
            if not said.startswith(f"{count} done"):
                raise RuntimeError(said + trouble)
        done = Path(name).glob("*/out/*.jpg")
        return sorted(path.stat().st_mtime - began for path in done)


def rate(times: list[float]) -> float:
    """Pictures a second, but for the first quarter, in which not all workers have begun."""
    first = len(times) // 4
    return (len(times) - 1 - first) / (times[-1] - times[first])


def scaling(pair: tuple[Path, Path], count: int) -> Figures:
    """Pictures a second of one process, of two, and of two workers of Ray, by turns."""
    ways: dict[str, tuple[list[int], tuple[str, ...]]] = {
        "one process": ([count], ()),
        "two processes": ([count, count], ()),
    }
    if importlib.util.find_spec("ray") is not None:
        ways["two workers of Ray"] = ([2 * count], ("--ray", "local", "--jobs", "2"))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    starts: list[float] = []
    for _ in range(3):
        for name, (counts, words) in ways.items():
            times = run_batches(pair, counts, *words)
            rates[name].append(rate(times))
            if "Ray" in name:
                starts.append(times[0])
    figures = {f"{name}: pictures a second": statistics.median(r) for name, r in rates.items()}
    if starts:
        pairs = zip(rates["two workers of Ray"], rates["two processes"], strict=True)
        figures[SCALING] = statistics.median(ray / two for ray, two in pairs)
        figures["Ray on one machine: seconds until the first picture"] = min(starts)
    return figures


def memory(folder: Path, count: int) -> Figures:
    """Of the service, over so many small pictures."""
    (folder / "small").mkdir()
    pair = write_pair(folder / "small", 96, 64)
    files = {"image": pair[0], "mask": pair[1]}
    body, kind = multipart(files, {"arguments": '{"brightness": 0.2}'})
    request = Request("/render", body, kind)
    readings = []
    with serving("--jobs", "1", "--threads", "1") as (port, process):
        for _ in range(10):
            load(port, request, 4, count // 10)
            readings.append(resident_mb(process))
    return {
        "memory: requests": count // 10 * 10,
        "memory: MB after a tenth of them": readings[0],
        "memory: MB at the most": max(readings),
        "memory: MB at the end": readings[-1],
        GROWTH: readings[-1] - readings[0],
    }


def rows(document: dict[str, Any]) -> Iterator[str]:
    """The tables of docs/serving.md, line by line."""
    figures = {figure["name"]: figure for figure in document["figures"]}
    heads = "requests a second | p50, ms | p95, ms | p99, ms | refused | ms of a core each"
    yield f"| clients | {heads} |"
    yield "|---|---|---|---|---|---|---|"
    for result in document["measurements"]:
        clients = result["name"].removeprefix("service, ")
        rate, p95, refused, each = (
            figures[f"{clients}: {name}"]["value"]
            for name in (
                "requests a second",
                "p95, ms",
                "refused and asked again",
                "ms of a core each",
            )
        )
        middle = f"{result['p50_ms']:.0f} | {p95:.0f} | {result['p99_ms']:.0f}"
        number = clients.partition(" ")[0]
        yield f"| {number} | {rate:.1f} | {middle} | {refused:.0f} | {each:.0f} |"
    yield ""
    yield "| figure | measured | aim |"
    yield "|---|---|---|"
    for name, figure in figures.items():
        if " clients: " not in name or "target" in figure:
            aim = figure.get("target", "")
            met = {True: ", met", False: ", **not met**"}.get(figure.get("met"), "")
            yield f"| {name} | {figure['value']:g} | {aim}{met} |"


@says_errors("service")
def main() -> int:
    """The command line."""
    parser = tool_parser(__doc__)
    parser.add_argument("--output", type=Path, help="result JSON")
    parser.add_argument("--table", type=Path, metavar="FILE.json", help="print tables, measure not")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--total", type=int, default=400, help="requests of each number of clients")
    parser.add_argument("--count", type=int, default=40, help="pictures of each comparison")
    parser.add_argument("--requests", type=int, default=20000, help="of small pictures, for memory")
    options = parser.parse_args()
    if options.table is not None:
        print("\n".join(rows(json.loads(options.table.read_text(encoding="utf-8")))))
        return 0
    if options.output is None:
        parser.error("--output or --table is needed")
    check_output(options.output)
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        pair = write_pair(Path(name), width, height)
        body, kind = multipart({"image": pair[0], "mask": pair[1]}, {})
        request = Request("/harmonize", body, kind)
        results, figures = loads(request, (width, height), options.total)
        figures |= processor_time(pair, request, options.count)
        figures |= scaling(pair, options.count)
        figures |= memory(Path(name), options.requests)
    judged = [judge(name, value, TARGETS) for name, value in figures.items()]
    cores = {"available cores": len(os.sched_getaffinity(0))}
    document = write_result(options.output, 1, results, judged, **cores)
    print("\n".join(rows(document)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
