"""The code blocks of docs/cpp.md compile against the install tree; whole programs also run."""

import re
from pathlib import Path

import pytest
from cpp_package import configure, installed, succeed, tool
from repository import ROOT

TEXT = (ROOT / "docs" / "cpp.md").read_text()
BLOCKS = re.findall(r"^```(c|cpp)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
FLAGS = ("-Wall", "-Wextra", "-pedantic", "-Werror")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_block_compiles_and_runs(number: int, tmp_path: Path) -> None:
    language, code = BLOCKS[number]
    source = tmp_path / f"block.{language}"
    source.write_text(code)
    compiler, standard = (tool("cc"), "c99") if language == "c" else (tool("c++"), "c++17")
    library = installed() / "lib"
    command = [compiler, f"-std={standard}", *FLAGS, f"-I{installed() / 'include'}", source]
    if "int main" not in code:
        succeed(*command, "-fsyntax-only")
        return
    program = tmp_path / "block"
    succeed(*command, "-o", program, f"-L{library}", "-lharmonizer", f"-Wl,-rpath,{library}")
    succeed(program)


def test_cmake_block_configures(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```cmake\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "app.cpp").write_text("int main() {}\n")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(app LANGUAGES CXX)\n"
        f"add_executable(app app.cpp)\n{block}"
    )
    configure(tmp_path, tmp_path / "b", f"-DCMAKE_PREFIX_PATH={installed()}")


def test_every_option_and_status_is_documented() -> None:
    cpp = ROOT / "runtime" / "cpp"
    cmake = (cpp / "CMakeLists.txt").read_text()
    header = (cpp / "include" / "harmonizer.h").read_text()
    names = set(re.findall(r"^(?:option|set)\((HARMONIZER_\w+)", cmake, re.MULTILINE))
    enumeration = header[header.index("enum hz_status") : header.index("} hz_status")]
    names |= set(re.findall(r"HZ_\w+", enumeration)) - {"HZ_OK"}
    assert len(names) == 11
    for name in names:
        assert f"`{name}" in TEXT, name
