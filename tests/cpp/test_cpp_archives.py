"""What is handed to C and C++ users: the binary interface, the archive and the Debian package."""

import re
import tarfile
from pathlib import Path

from cpp_package import CPP, SONAME, installed, scratch, succeed, tool

from harmonizer import __version__

HEADERS = ("harmonizer.h", "harmonizer_cuda.h", "harmonizer_surface.h")
VERSION = """
#include <stdio.h>
#include "harmonizer.h"
int main(void) { return puts(hz_version()) < 0; }
"""


def listed() -> dict[str, str]:
    lines = (CPP / "abi.txt").read_text().splitlines()
    words = [line.split() for line in lines if not line.startswith("#")]
    return {name: "".join(rest) for name, *rest in words}


def test_binary_interface_is_the_listed_one(tmp_path: Path) -> None:
    text = "".join((CPP / "include" / header).read_text() for header in HEADERS)
    structures = re.findall(r"^typedef struct (hz_\w+) \{", text, re.MULTILINE)
    lines = [f'    printf("{name} %zu\\n", sizeof({name}));\n' for name in structures]
    includes = "".join(f'#include "{header}"\n' for header in HEADERS)
    program = (
        f"#include <stdio.h>\n{includes}int main(void) {{\n{''.join(lines)}    return 0;\n}}\n"
    )
    (tmp_path / "sizes.c").write_text(program)
    include = installed() / "include"
    succeed(tool("cc"), "-std=c11", f"-I{include}", tmp_path / "sizes.c", "-o", tmp_path / "sizes")
    sizes = dict(line.split() for line in succeed(tmp_path / "sizes").splitlines())
    listing = succeed(tool("nm"), "-D", "--defined-only", installed() / "lib/libharmonizer.so")
    functions = {line.split()[-1] for line in listing.splitlines()}
    there = {"SOVERSION": SONAME.split(".so.")[1], **dict.fromkeys(functions, ""), **sizes}
    assert there == listed(), "list what is new; for what is gone or changed raise the version"


def pack(generator: str, pattern: str) -> Path:
    """What CPack makes of the build folder of the install tree."""
    installed()
    folder = scratch() / generator
    words = ["--config", scratch() / "build/CPackConfig.cmake", "-B", folder]
    succeed(tool("cpack"), "-G", generator, *words)
    (path,) = folder.glob(pattern)
    return path


def test_archive_unpacked_anywhere_serves_a_consumer(tmp_path: Path) -> None:
    path = pack("TGZ", "*.tar.gz")
    folder = tmp_path / "a folder"
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    assert tree.name.startswith(f"harmonizer-{__version__}-")
    assert "RUNPATH" not in succeed(tool("readelf"), "-d", tree / "lib/libharmonizer.so")
    (tmp_path / "version.c").write_text(VERSION)
    paths = [f"-I{tree / 'include'}", f"-L{tree / 'lib'}", f"-Wl,-rpath,{tree / 'lib'}"]
    words = ["-std=c99", "-Wall", "-Wextra", "-Werror", tmp_path / "version.c", *paths]
    succeed(tool("cc"), *words, "-lharmonizer", "-o", tmp_path / "version")
    assert succeed(tmp_path / "version").strip() == __version__


def test_debian_package_says_what_it_needs() -> None:
    tool("dpkg-shlibdeps")  # asks which glibc is needed
    path = pack("DEB", "*.deb")
    inspect = tool("dpkg-deb")
    assert re.fullmatch(rf"libharmonizer-dev_{__version__}_\w+\.deb", path.name)
    fields = succeed(inspect, "--field", path)
    assert f"Version: {__version__}\n" in fields
    assert re.search(r"^Depends: libc6 \(>= 2\.\d+\)", fields, re.MULTILINE), fields
    content = succeed(inspect, "--contents", path)
    for name in (f"lib/{SONAME}", "include/harmonizer.h", "share/doc/harmonizer/LICENSE"):
        assert f"./usr/{name}" in content
