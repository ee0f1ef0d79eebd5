"""Attack everything as often as docs/reliability.md says, print the table, and write it there.

python tests/fuzz/report.py                 # the aims in full; about half an hour
python tests/fuzz/report.py --share 0.05    # a twentieth of them, printed alone
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.with_name("helpers"))]

from c_target import build, run  # noqa: E402
from campaign import attack  # noqa: E402
from kills import harass  # noqa: E402
from memory import batch_peak, image_peaks, video_peak  # noqa: E402
from targets import TARGETS  # noqa: E402

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- begin: tests/fuzz/report.py -->", "<!-- end -->"
KILLS, CALLS = 100, 190_000


def attacks(share: float, seed: int, kept: Path | None) -> tuple[list[str], int]:
    """The rows of mutated files, and how many faults there are."""
    rows = [
        "| attacked | files | refused | taken, right | tracebacks | wrong successes | hangs | "
        "peak memory, MiB | slowest, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    faults = 0
    for target in TARGETS:
        outcome = attack(target.name, max(20, round(share * target.aim)), seed, kept)
        faults += outcome.faults
        rows.append(
            f"| {target.name} | {outcome.files:,} | {outcome.refused:,} | {outcome.taken:,} | "
            f"{outcome.tracebacks} | {outcome.wrong} | {outcome.hangs} | {outcome.peak_mb:.0f} | "
            f"{outcome.slowest_s:.2f} |"
        )
        print(rows[-1], flush=True)
        for finding in outcome.findings[:10]:
            print(f"    {finding}", flush=True)
    return rows, faults


def c_calls(share: float, seed: int) -> tuple[str, int]:
    """One sentence on the C interface, and whether it failed."""
    calls = max(500, round(share * CALLS))
    with tempfile.TemporaryDirectory() as folder:
        wrong = run(build(Path(folder)), calls, seed)
    print(wrong or f"{calls:,} C calls: clean", flush=True)
    verdict = "something was found" if wrong else "nothing was found"
    return (
        f"C interface, {calls:,} random calls under AddressSanitizer and "
        f"UndefinedBehaviorSanitizer: {verdict}.",
        bool(wrong),
    )


def kills(share: float, seed: int) -> tuple[list[str], int]:
    """The table of kills, and how many faults there are."""
    damage = harass(max(5, round(share * KILLS)), seed)
    print(damage, flush=True)
    rows = [
        "| kills at random times | torn files | mixed sets, after the next run | left, after it |",
        "|---|---|---|---|",
        f"| {damage.kills} | {damage.torn} | {damage.mixed} | {damage.left} |",
    ]
    return rows, damage.torn + damage.mixed + damage.left


def memory() -> tuple[list[str], int]:
    """The table of peaks, and how many are too high."""
    rows = ["| memory | megapixels | peak, MiB | promised, MiB |", "|---|---|---|---|"]
    batches = [batch_peak(3000), batch_peak(1500, "floats.tif")]
    peaks = [*image_peaks(3000), *batches, video_peak(1920, 1080)]
    for peak in peaks:
        rows.append(
            f"| {peak.name} | {peak.pixels / 1e6:.1f} | {peak.peak / 2**20:.0f} | "
            f"{peak.promised / 2**20:.0f} |"
        )
        print(rows[-1], flush=True)
    return rows, sum(not peak.kept for peak in peaks)


def main() -> int:
    """The command line; 0 if nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Attack everything, and say what was found.")
    parser.add_argument("--share", type=float, default=1.0, help="of the aims; 1 writes the page")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="folder for the files that are findings")
    options = parser.parse_args()
    began = time.monotonic()
    rows, faults = attacks(options.share, options.seed, options.keep)
    sentence, failed = c_calls(options.share, options.seed)
    killed, damage = kills(options.share, options.seed)
    peaks, high = memory()
    minutes = (time.monotonic() - began) / 60
    facts = json.dumps({"seed": options.seed, "share": options.share})
    said = (
        f"Python {platform.python_version()}, {platform.machine()}, {minutes:.0f} minutes; {facts}."
    )
    text = "\n".join([*rows, "", sentence, "", *killed, "", *peaks, "", said])
    if options.share >= 1:
        page = DOCUMENT.read_text(encoding="utf-8")
        head, tail = page.split(BEGIN)[0], page.split(END)[1]
        DOCUMENT.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")
    print(text)
    return 1 if faults or failed or damage or high else 0


if __name__ == "__main__":
    sys.exit(main())
