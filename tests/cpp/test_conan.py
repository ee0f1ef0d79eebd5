"""Conan makes its package of the library, and a program in C runs against it."""

import os
from pathlib import Path

import pytest
from cpp_package import CPP, run, succeed, tool

from harmonizer import __version__


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_conan_recipe_makes_a_package_that_serves_a_program(tmp_path: Path, shared: bool) -> None:
    conan = tool("conan")
    own = os.environ | {"CONAN_HOME": str(tmp_path)}
    succeed(conan, "profile", "detect", env=own)
    words = ["-nr", "-o", f"harmonizer/*:shared={shared}"]
    succeed(conan, "create", CPP, *words, "-tf", "", env=own)
    named = f"harmonizer/{__version__}"
    test = run(conan, "test", CPP / "test_package", named, *words, env=own)
    assert test.returncode == 0, test.stderr
    # Conan writes what it says to the error stream, and the program its version to either.
    assert f"\n{__version__}\n" in "\n".join(("", test.stdout, test.stderr, "")), test.stderr
