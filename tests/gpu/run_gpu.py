"""Run the GPU tests on this machine's GPU and write what came out as JSON: `make gpu-test`.

A missing piece - a GPU, PyCUDA, cuda-bindings, torch, compute-sanitizer - is a failure here unless
--allow-missing is given: on a machine that is meant to prove the GPU, a skip proves nothing.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from gpu_device import EMULATED_ONLY, NOT_FOR_THIS_GPU  # noqa: E402

from harmonizer.bench import measured_commit  # noqa: E402

PACKAGES: tuple[str, ...] = (
    "harmonizer",
    "numpy",
    "pycuda",
    "cuda-bindings",
    "torch",
    "cupy-cuda13x",
)
PACKAGES += ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "polygraphy")
SANITIZERS = {
    # Whether memory is page-locked is asked by a call that answers "invalid value" where it is not.
    "memcheck": ("--report-api-errors", "no"),
    "racecheck": (),
    "initcheck": (),
}
"""compute-sanitizer's tools, and their options."""


class Outcomes:
    """A pytest plugin that notes every test's outcome, and that of files that do not load."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.details: list[dict[str, str]] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count a file that is skipped or fails as a whole, once for all of xdist's workers."""
        if report.passed or any(detail["test"] == report.nodeid for detail in self.details):
            return
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        outcome = "skipped" if report.skipped else "error"
        self.counts[outcome] += 1
        self.details.append({"test": report.nodeid, "outcome": outcome, "reason": reason[-2000:]})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once; setup and teardown only where they fail or skip."""
        if report.when != "call" and report.passed:
            return
        outcome: str = "error" if report.when != "call" and report.failed else report.outcome
        reason = str(report.longrepr[2] if report.skipped else report.longrepr)[-2000:]
        if EMULATED_ONLY in reason:
            outcome = "for the emulated device only"
        elif report.skipped and NOT_FOR_THIS_GPU in reason:
            outcome = "not for this GPU"
        self.counts[outcome] += 1
        if outcome in ("skipped", "failed", "error"):
            self.details.append({"test": report.nodeid, "outcome": outcome, "reason": reason})


def sanitize(tool: str, seconds: float, chosen: str) -> dict[str, str]:
    """Run the renderer's tests under compute-sanitizer, those of them that pytest's -k chooses."""
    command = shutil.which("compute-sanitizer")
    if command is None:
        return {"outcome": "missing", "reason": "compute-sanitizer is not on PATH"}
    words = [command, "--tool", tool, "--error-exitcode", "77", "--target-processes", "all"]
    words += [*SANITIZERS[tool], sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-k", chosen]
    words += ["tests/gpu/test_gpu_renderer.py", "tests/gpu/test_gpu_surfaces.py"]
    try:
        result = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")[-2000:]
        return {"outcome": "failed", "reason": f"not done in {seconds:g} s: {said}"}
    said = (result.stderr + result.stdout)[-2000:]  # the tool's summary comes last
    return {"outcome": "failed" if result.returncode else "passed", "reason": said}


def without_places(text: str) -> str:
    """A traceback without the folders of the machine that it is of."""
    text = text.replace(f"{ROOT}/", "")
    return re.sub(r"/[^\s\\\"']*/(?=site-packages/|python3\.\d+/)", "", text)


def describe() -> dict[str, object]:
    """The GPU and the versions."""
    from harmonizer.errors import DeviceError
    from harmonizer.gpu import find_gpu

    found: dict[str, object] = {"date": datetime.now(UTC).strftime("%Y-%m-%d")}
    try:
        gpu = find_gpu()
        found |= {"gpu": gpu.name, "compute_capability": ".".join(map(str, gpu.capability))}
        found["driver_cuda"] = ".".join(map(str, gpu.driver))
    except DeviceError as error:
        found["gpu"] = f"none: {error}"
    found["commit"] = measured_commit(ROOT)
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> int:
    """Run, write, print; returns the exit code."""
    parser = argparse.ArgumentParser(description="The GPU tests, with a result file.")
    parser.add_argument("--output", type=Path, required=True, help="result JSON")
    parser.add_argument("--allow-missing", action="store_true", help="skips are no failures")
    parser.add_argument(
        "--sanitizer-seconds", type=float, default=3600, help="for each tool; 0: none runs"
    )
    parser.add_argument(
        "--sanitized", metavar="WORDS", default="", help="tests it runs, as pytest's -k (all)"
    )
    parser.add_argument(
        "tests", nargs="*", default=["tests"], help="files (all); after -- pytest's options too"
    )
    args = parser.parse_args()
    if not args.allow_missing:
        os.environ["HARMONIZER_GPU_TESTS"] = "required"
    environment = describe()
    if str(environment["gpu"]).startswith("none"):
        print(f"FAILED: there must be a GPU; {environment['gpu']}", file=sys.stderr)
        return 1
    began = time.monotonic()
    outcomes = Outcomes()
    code = int(pytest.main(["-m", "gpu", "-q", "--tb=short", *args.tests], [outcomes]))
    tools = list(SANITIZERS) if args.sanitizer_seconds else []
    sanitized = {tool: {"outcome": "failed", "reason": "not done"} for tool in tools}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for tool in (None, *tools):  # written after each: a GPU may be lent for minutes
        if tool:
            sanitized[tool] = sanitize(tool, args.sanitizer_seconds, args.sanitized)
        missing = [name for name, result in sanitized.items() if result["outcome"] == "missing"]
        passed = (
            code == 0
            and outcomes.counts["passed"] > 0
            and not any(result["outcome"] == "failed" for result in sanitized.values())
            and (args.allow_missing or not (missing or outcomes.counts["skipped"]))
        )
        document = {
            "passed": passed,
            "environment": environment,
            "seconds": round(time.monotonic() - began, 1),
            "counts": dict(outcomes.counts),
            "sanitizers": sanitized,
            "not_passed": outcomes.details,
        }
        text = without_places(json.dumps(document, indent=2))
        args.output.write_text(text + "\n", encoding="utf-8")
    print(f"{'passed' if passed else 'FAILED'}: {dict(outcomes.counts)}; wrote {args.output}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
