"""`@harmonizer/web` without a browser: its README's program, its registry, its types."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from repository import ROOT

from harmonizer import Arguments
from harmonizer.web_module import web_module

WEB = ROOT / "runtime/web"


def test_registry_module_follows_the_registry() -> None:
    assert (WEB / "src/registry.ts").read_text(encoding="utf-8") == web_module(), (
        "write it anew: python -m harmonizer.web_module > runtime/web/src/registry.ts"
    )


@pytest.mark.long
def test_readme_program_runs(package: Path, tmp_path: Path) -> None:
    (program,) = re.findall(r"```js\n(.*?)```", (WEB / "README.md").read_text(), re.DOTALL)
    (tmp_path / "node_modules/@harmonizer").mkdir(parents=True)
    (tmp_path / "node_modules/@harmonizer/web").symlink_to(WEB)
    shutil.copy(package / "harmonizer.wasm", tmp_path)
    shutil.copy(ROOT / "models/harmonizer.onnx", tmp_path)
    (tmp_path / "example.mjs").write_text(program)
    result = subprocess.run(
        ["node", "example.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    text, _, rest = result.stdout.partition("\n\n")
    (tmp_path / "look.json").write_text(text)
    assert Arguments.load(tmp_path / "look.json").filters == Arguments.identity().filters
    assert rest == f"{64 * 48 * 3} LUT_3D_SIZE 33\n"


@pytest.mark.long
def test_types_hold(package: Path) -> None:
    checked = subprocess.run(
        ["npx", "--no-install", "tsc", "--noEmit"], cwd=WEB, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
