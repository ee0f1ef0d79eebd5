"""Run the steps of a GPU kit on the machine that has the GPU; standard library alone.

python3 drive.py receive FOLDER     take in the pieces in FOLDER; again for each way in
python3 drive.py run [STEP ...]     do what is not done yet, within --limit seconds
python3 drive.py show               what is there and what is done

Every call may be the last: steps that are done are skipped by the next call, results go to --out as
they are made, and a training run goes on between calls. Training comes first and in the background;
correctness beside it; what measures time waits until it has ended.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT = 470
"""Seconds of a call: under the eight minutes that a narrow machine gives one."""

EVERY = 60
"""Seconds between two looks at the training run, whose files then go to --out."""


BASICS = "basics"
"""The archive of what many machines have anyway; its wheels come behind those of the others."""

ENGINES = "engines"
"""The archive of inference engines. Its wheels come first, but only where they are asked for: ONNX
Runtime for CUDA takes the place of the CPU's, which what is proven without it runs with."""


@dataclass(frozen=True)
class Kit:
    """Where things are.

    Attributes:
        work: Everything that is unpacked and made; kept between calls.
        out: Results, copied as they are made.
        ends: When this call ends, in seconds of `time.monotonic`.
        train: Words for `python -m train` after those that the kit gives it.
    """

    work: Path
    out: Path
    ends: float
    train: list[str]

    @property
    def code(self) -> Path:
        """The project."""
        return self.work / "code"

    @property
    def run(self) -> Path:
        """The training run."""
        return self.work / "run"

    @property
    def left(self) -> float:
        """Seconds that this call has left."""
        return max(1.0, self.ends - time.monotonic())

    def index(self) -> dict[str, Any]:
        """The kit's table of contents.

        Raises:
            SystemExit: If it has not come in yet.
        """
        path = self.work / "kit.json"
        if not path.is_file():
            sys.exit("drive: error: kit.json must come in first; give its folder to `receive`.")
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return index

    def has(self, archive: str) -> bool:
        """Whether an archive is complete and unpacked."""
        return (self.work / f"{archive}.unpacked").is_file()

    def environment(self, engines: bool = False) -> dict[str, str]:
        """For the project's programs, with or without the inference engines."""
        wheels = ([ENGINES] if engines else []) + ["site", BASICS]
        paths = [self.code / "runtime", self.code, *(self.work / name for name in wheels)]
        # CUDA's libraries, if they are wheels: those of PyTorch, which finds them by itself.
        nvidia = Path(sysconfig.get_path("purelib")) / "nvidia"
        libraries = [str(folder) for folder in sorted(nvidia.glob("*/lib"))] if engines else []
        libraries += [found] if (found := os.environ.get("LD_LIBRARY_PATH")) else []
        return {
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONUNBUFFERED": "1",
            "HARMONIZER_DATA": str(self.work / "data"),
            "HARMONIZER_CACHE": str(self.work / "cache"),
            "HARMONIZER_COMMIT": str(self.index()["commit"]),
            "TORCHINDUCTOR_CACHE_DIR": str(self.work / "inductor"),
        }

    def absent(self, modules: tuple[str, ...]) -> list[str]:
        """Which modules the project's programs would not find."""
        words = (
            *(sys.executable, "-c"),
            "import sys; from importlib.util import find_spec\n"
            "print(*[name for name in sys.argv[1:] if not find_spec(name)])",
            *modules,
        )
        found = subprocess.run(
            words, env=self.environment(), capture_output=True, text=True, check=True
        )
        return found.stdout.split()

    def call(self, log: str, *words: str, seconds: float = LIMIT, engines: bool = False) -> bool:
        """Run a program of the project, its output in a log of --out; whether it ended well."""
        with (self.out / log).open("ab") as file:
            try:
                done = subprocess.run(
                    words,
                    cwd=self.code,
                    env=self.environment(engines),
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=min(seconds, self.left),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                print(f"{log}: out of time", flush=True)
                return False
            except FileNotFoundError:  # the next steps need not suffer from that
                print(f"{log}: there is no program {words[0]} here", flush=True)
                return False
        tail = (self.out / log).read_text(encoding="utf-8", errors="replace").strip()
        print(f"{log}: exit {done.returncode}: {tail.splitlines()[-1][:200] if tail else ''}")
        return done.returncode == 0


def receive(kit: Kit, folder: Path) -> None:
    """Take in pieces; an archive whose pieces are all there is joined and unpacked.

    Raises:
        SystemExit: If a piece is not what the index says.
    """
    if (folder / "kit.json").is_file():
        shutil.copy(folder / "kit.json", kit.work)
    archives = kit.index()["archives"]
    for name, pieces in archives.items():
        if kit.has(name):
            continue
        for piece in pieces:
            source, target = folder / piece["name"], kit.work / piece["name"]
            if not source.is_file():
                continue
            if hashlib.sha256(source.read_bytes()).hexdigest() != piece["sha256"]:
                sys.exit(
                    f"drive: error: {source} must be the piece that was packed; send it again."
                )
            shutil.copy(source, target)
        there = [kit.work / piece["name"] for piece in pieces]
        if all(path.is_file() for path in there):
            unpack(kit, name, there)
    show(kit)


def unpack(kit: Kit, name: str, pieces: list[Path]) -> None:
    """Join an archive, unpack it, and install the wheels that it holds."""
    whole = kit.work / f"{name}.tar"
    with whole.open("wb") as file:
        for piece in pieces:
            file.write(piece.read_bytes())
            piece.unlink()
    with tarfile.open(whole) as archive:
        archive.extractall(kit.work, filter="data")
    whole.unlink()
    if (kit.work / "code.tar").is_file():
        with tarfile.open(kit.work / "code.tar") as archive:
            archive.extractall(kit.code, filter="data")
        (kit.work / "code.tar").unlink()
    wheels = sorted(map(str, (kit.work / "wheels" / name).glob("*.whl")))
    if wheels:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        folder = kit.work / (name if name in (BASICS, ENGINES) else "site")
        where = ["--upgrade", "--target", str(folder)]
        subprocess.run([*pip, *where, *wheels], check=True)
    (kit.work / f"{name}.unpacked").touch()


def process_of(kit: Kit) -> int | None:
    """The training run's process, if it is alive."""
    try:
        number = int((kit.work / "run.pid").read_text())
        with contextlib.suppress(ChildProcessError):  # started by an earlier call
            os.waitpid(number, os.WNOHANG)  # one that has ended stays until it is asked about
        os.kill(number, 0)
    except (OSError, ValueError):
        return None
    return number


def train(kit: Kit) -> bool:
    """Start or resume the run in the background; whether it has ended well."""
    if process_of(kit) is None and not (kit.work / "run.ended").is_file():
        words = (
            ["--resume"] if (kit.run / "state.pt").is_file() else ["--config", "recipes/gpu.json"]
        )
        command = [sys.executable, "-m", "train", "--output", str(kit.run), *words, *kit.train]
        with (kit.work / "run.log").open("ab") as log:
            # Apart from this call's session, which may be ended with all its processes.
            process = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    '"$@" && touch "$ENDED"',
                    "train",
                    *command,
                ],
                cwd=kit.code,
                env=kit.environment() | {"ENDED": str(kit.work / "run.ended")},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        (kit.work / "run.pid").write_text(str(process.pid))
        print(f"train: process {process.pid}", flush=True)
    bring_home(kit)
    return (kit.work / "run.ended").is_file()


def bring_home(kit: Kit) -> None:
    """Copy what the run has so far to --out, in pieces."""
    log = kit.work / "run.log"
    if log.is_file():
        (kit.out / "run.log").write_bytes(log.read_bytes()[-20_000:])
    if (kit.run / "state.pt").is_file():
        words = ("-m", "train", "pieces", str(kit.run), "--output", str(kit.out / "run"))
        kit.call("pieces.log", sys.executable, *words)


def tools(kit: Kit) -> bool:
    """Compile PyCUDA, the C++ library and the kernels."""
    sdist = next((kit.work / "wheels" / "testing").glob("pycuda-*.tar.gz"))
    native = kit.code / "runtime" / "harmonizer" / "_native"
    native.mkdir(exist_ok=True)
    built, site = str(kit.work / "cpp"), str(kit.work / "site")
    commands = (
        (sys.executable, "tests/helpers/cuda_driver/build.py", str(sdist), "--target", site),
        ("cmake", "-S", "runtime/cpp", "-B", built, "-DCMAKE_BUILD_TYPE=Release"),
        ("cmake", "--build", built, "--target", "harmonizer", "-j"),
        ("cp", "-L", f"{built}/libharmonizer.so", str(native)),
        (sys.executable, "build_kernels.py"),
    )
    return all(kit.call("tools.log", *command) for command in commands)


_CHOSEN = "test_render_equals or test_draw_host_array_equals_cpu or video_frame"
_SMOKE = ("-m", "pytest", "-q", "-x", "-m", "gpu", "tests/gpu", "-k", _CHOSEN)


def smoke(kit: Kit) -> bool:
    """One picture and one frame, equal to the CPU's."""
    return kit.call("smoke.log", sys.executable, *_SMOKE, seconds=120)


def test(kit: Kit) -> bool:
    """Every GPU test and compute-sanitizer: gpu-test.json."""
    output = str(kit.out / "gpu-test.json")
    within = ("--sanitizer-seconds", "100")
    words = (
        "tests/gpu/run_gpu.py",
        "--allow-missing",
        "--output",
        output,
        *within,
        "--",
        "-n",
        "4",
    )
    return kit.call("test.log", sys.executable, *words) or (kit.out / "gpu-test.json").is_file()


def bench(kit: Kit) -> bool:
    """Times, against PyTorch and copies: gpu.json."""
    output = str(kit.out / "gpu.json")
    words = ("-m", "harmonizer.cli", "bench", "--backend", "cuda", "--against", "bench.rivals")
    return kit.call("bench.log", sys.executable, *words, "-o", output) and kit.call(
        "bench.log", sys.executable, "-m", "bench.results_file", output
    )


def profile(kit: Kit) -> bool:
    """Bandwidth, registers and occupancy of every kernel, by ncu: gpu-kernels.csv."""
    metrics = (
        *("gpu__time_duration.sum", "dram__throughput.avg.pct_of_peak_sustained_elapsed"),
        *("dram__bytes_read.sum", "dram__bytes_write.sum", "launch__registers_per_thread"),
        *("sm__warps_active.avg.pct_of_peak_sustained_active", "launch__grid_size"),
        *("lts__t_sector_hit_rate.pct", "launch__block_size"),
    )
    ncu = ("ncu", "--clock-control", "none", "--csv", "--print-units", "base", "-k", "regex:hz_")
    log = ("--log-file", str(kit.out / "gpu-kernels.csv"), "--metrics", ",".join(metrics))
    words = ("-m", "bench.cuda_draws", "1920x1080", "3840x2160")
    return kit.call("profile.log", *ncu, *log, sys.executable, *words)


def engine(kit: Kit) -> bool:
    """A TensorRT-RTX engine of the shipped predictor, built there, and times: gpu-engine.json."""
    built, output = str(kit.work / "harmonizer.engine"), str(kit.out / "gpu-engine.json")
    commands = (
        ("export/build_engine.py", "models/harmonizer.onnx", "--module", "tensorrt_rtx"),
        ("-m", "harmonizer.cli", "bench", "--backend", "cuda", "--model", built),
    )
    return all(
        kit.call("engine.log", sys.executable, *words, "--output", where, engines=True)
        for words, where in zip(commands, (built, output), strict=True)
    )


def provider(kit: Kit) -> bool:
    """The smoke test with ONNX Runtime's CUDA provider, and times: gpu-onnxruntime.json."""
    output = str(kit.out / "gpu-onnxruntime.json")
    words = ("-m", "harmonizer.cli", "bench", "--backend", "cuda", "-o", output)
    return kit.call(
        "provider.log", sys.executable, *_SMOKE, seconds=180, engines=True
    ) and kit.call("provider.log", sys.executable, *words, engines=True)


@dataclass(frozen=True)
class Step:
    """What is done once, and what it needs.

    Attributes:
        does: It; whether it ended well.
        needs: Archives that must have come in.
        modules: Of the machine's Python, or of the archive `BASICS`.
        alone: Whether it measures time, so that no run may be beside it.
    """

    does: Callable[[Kit], bool]
    needs: tuple[str, ...]
    modules: tuple[str, ...]
    alone: bool = False


_LEARNING = ("torch", "torchvision", "timm", "safetensors", "numpy", "scipy", "skimage", "onnx")
_TESTS = (*_LEARNING, "pytest", "xdist", "onnxruntime")


STEPS = {
    "train": Step(train, ("training", "photographs"), (*_LEARNING, "onnxruntime")),
    "tools": Step(tools, ("training", "testing"), ("numpy",)),
    "smoke": Step(smoke, ("training", "testing"), _TESTS),
    "test": Step(test, ("training", "testing"), _TESTS),
    "bench": Step(bench, ("training", "testing"), _TESTS, alone=True),
    "profile": Step(profile, ("training", "testing"), _TESTS, alone=True),
    "engine": Step(engine, ("training", "testing", ENGINES), _TESTS, alone=True),
    "provider": Step(provider, ("training", "testing", ENGINES), _TESTS, alone=True),
}
"""The most precious first."""


def run(kit: Kit, names: list[str]) -> None:
    """Do the steps that are not done, then watch the run until this call's time is over."""
    for name in names:
        step, done = STEPS[name], kit.work / f"{name}.done"
        if done.is_file():
            continue
        lacking = [archive for archive in step.needs if not kit.has(archive)]
        if lacking:
            print(f"{name}: waits for {', '.join(lacking)}", flush=True)
        elif absent := kit.absent(step.modules):
            lack = f"waits for {BASICS}" if not kit.has(BASICS) else "cannot run here"
            print(f"{name}: {lack}: this Python lacks {', '.join(absent)}", flush=True)
        elif step.alone and process_of(kit) is not None:
            print(f"{name}: waits for the end of training", flush=True)
        elif step.does(kit):
            done.touch()
            print(f"{name}: done", flush=True)
    while "train" in names and process_of(kit) is not None and kit.left > EVERY:
        time.sleep(EVERY)
        bring_home(kit)
    if process_of(kit) is None and (kit.work / "run.ended").is_file():
        bring_home(kit)
        (kit.work / "train.done").touch()
    show(kit)


def show(kit: Kit) -> None:
    """Print which archives are complete and which steps are done."""
    archives = kit.index()["archives"]
    for name, pieces in archives.items():
        count = sum((kit.work / piece["name"]).is_file() for piece in pieces)
        print(f"{name}: {'complete' if kit.has(name) else f'{count} of {len(pieces)} pieces'}")
    for name in STEPS:
        print(f"{name}: {'done' if (kit.work / f'{name}.done').is_file() else 'not done'}")
    print(f"training runs: {'yes' if process_of(kit) is not None else 'no'}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="drive.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--work", type=Path, default=Path("gpu-kit-work"))
    parser.add_argument("--out", type=Path, default=Path("gpu-kit-out"))
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of this call")
    parser.add_argument("--train", default="", help="more words for python -m train")
    parser.add_argument("command", choices=("receive", "run", "show"))
    parser.add_argument("words", nargs="*", help="receive: FOLDER; run: steps")
    args = parser.parse_args()
    for folder in (args.work, args.out):
        folder.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + args.limit
    kit = Kit(args.work.resolve(), args.out.resolve(), ends, args.train.split())
    if args.command == "receive":
        if len(args.words) != 1 or not Path(args.words[0]).is_dir():
            parser.error("receive takes the folder that holds the pieces.")
        receive(kit, Path(args.words[0]))
    elif args.command == "run":
        unknown = set(args.words) - set(STEPS)
        if unknown:
            parser.error(f"steps are {', '.join(STEPS)}; got {', '.join(sorted(unknown))}.")
        run(kit, args.words or list(STEPS))
    else:
        show(kit)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
