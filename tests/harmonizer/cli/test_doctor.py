"""What `harmonizer doctor` says of versions and processors."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from repository import ROOT

from harmonizer import _native, doctor
from harmonizer.tested import PACKAGES, PYTHON, VersionRange, outside

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_oldest_versions_are_those_that_are_declared() -> None:
    lines = " ".join(PROJECT["dependencies"])
    declared = {match[1]: match[2] for match in re.finditer(r"([\w-]+)>=([\d.]+)", lines)}
    assert declared == {name: tested.oldest for name, tested in PACKAGES.items()}
    assert PROJECT["requires-python"] == f">={PYTHON.oldest}"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.9.3", "older than 2.0, the oldest that works"),
        ("2.0.0", None),
        ("2.5.7rc1", None),
        ("2.6", "newer than 2.5, the newest that was tested"),
        ("10.0", "newer than 2.5, the newest that was tested"),
    ],
)
def test_outside_says_which_end(version: str, said: str | None) -> None:
    assert outside(version, VersionRange("2.0", "2.5")) == said


def of(topic: str) -> doctor.Finding:
    findings: Iterator[doctor.Finding] = doctor.examine()
    return next(finding for finding in findings if finding.topic == topic)


@pytest.mark.parametrize(
    ("version", "healthy", "said"),
    [
        ("99.0", None, r"99\.0, newer than [\d.]+, the newest that was tested; what follows"),
        ("1.0", False, r"1\.0, older than [\d.]+, the oldest that works; run `pip install -U"),
        (None, False, r"missing; run `pip install harmonizer`"),
    ],
)
def test_doctor_says_which_package_is_outside_the_tested_range(
    version: str | None, healthy: bool | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: version)
    finding = of("numpy")
    assert finding.healthy is healthy and re.match(said, finding.text), finding


def test_doctor_says_that_python_is_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.99.1")
    assert of("python").text.startswith("3.99.1 (newer than 3.13, the newest that was tested), ")


def test_doctor_says_that_there_is_no_avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "isa", lambda: "x86-64")
    assert "instruction set x86-64 (no AVX2 here: drawing takes longer)" in of("renderer").text
