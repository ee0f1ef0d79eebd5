"""Programs of the toolchain end alike when they are told to, and leave nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import ROOT

from harmonizer.endings import ENDINGS, ending_well


@pytest.mark.parametrize("number", ENDINGS)
def test_signals_end_a_program_alike(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)

    def main() -> int:
        os.kill(os.getpid(), number)
        time.sleep(5)
        return 0

    assert ending_well(main) == 130
    assert "nothing unfinished is left" in capsys.readouterr().err
    assert signal.getsignal(number) == before
    assert ending_well(lambda: 3) == 3


def test_export_that_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ["--checkpoint", str(ROOT / "models/s2crnet.safetensors"), "--output", "o.onnx"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "export/to_onnx.py"), *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not any(tmp_path.iterdir()):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert not any(tmp_path.iterdir())
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
