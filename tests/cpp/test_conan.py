"""Conan makes its package of the library, and a program in C runs against it."""

import os
from pathlib import Path

import pytest
from cpp_package import CPP, succeed, tool

from harmonizer import __version__


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_conan_recipe_makes_a_package_that_serves_a_program(tmp_path: Path, shared: bool) -> None:
    conan = tool("conan")
    own = os.environ | {"CONAN_HOME": str(tmp_path)}
    succeed(conan, "profile", "detect", env=own)
    words = ["-nr", "-o", f"harmonizer/*:shared={shared}"]
    printed = succeed(conan, "create", CPP, *words, "-tf", "", env=own)
    assert "Package '" in printed and "created" in printed
    test = succeed(
        conan, "test", CPP / "test_package", f"harmonizer/{__version__}", *words, env=own
    )
    assert test.rstrip().endswith(__version__)
