"""Every TensorRT name that the project uses is in TensorRT 10.16 and in 11.4.

TensorRT itself cannot be installed everywhere, so its public names were listed once
(tensorrt_api in the shared data). Names that only TensorRT-RTX has may be used in one file.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorrt_stand_in
from repository import ROOT, shared_data

FOLDERS = ("runtime/harmonizer", "export", "calibration", "bench", "train", "tests")
RTX_FILE = ROOT / "runtime/harmonizer/engine/rtx.py"

VARIABLES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "parser": "OnnxParser",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "tensor": "ITensor",
}
"""The class of a variable of this name, also with `_` before it, in files that use `trt`."""

RETURNED = {
    "create_network": "INetworkDefinition",
    "create_builder_config": "IBuilderConfig",
    "create_optimization_profile": "IOptimizationProfile",
    "create_timing_cache": "ITimingCache",
    "get_timing_cache": "ITimingCache",
    "deserialize_cuda_engine": "ICudaEngine",
    "create_execution_context": "IExecutionContext",
    "create_engine_inspector": "EngineInspector",
    "get_layer": "ILayer",
    "get_input": "ITensor",
    "get_output": "ITensor",
    "get_error": "ParserError",
}
ELEMENTS = {"errors": "ParserError"}
"""Names that hold lists, for loops and comprehensions over them."""

PLAIN = {"__init__", "__name__", "__version__", "__members__"}
Use = tuple[str, str, int]


def files() -> list[Path]:
    """Python files that use TensorRT; the stand-in and this file are about it, not with it."""
    own = {Path(__file__), Path(tensorrt_stand_in.__file__)}
    paths = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")]
    return sorted(p for p in paths if p not in own and _uses_tensorrt(p))


def _uses_tensorrt(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name | ast.arg):
            found = (node.id if isinstance(node, ast.Name) else node.arg) == "trt"
        else:
            found = isinstance(node, ast.Attribute) and node.attr in ("_trt", *RETURNED)
        if found:
            return True
    return False


def uses(source: str) -> Iterator[Use]:
    """(class or "", member, line) for every name of TensorRT in a file."""
    tree = ast.parse(source)
    types = dict(VARIABLES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            made = _made(node.value)
            if made:
                types[node.targets[0].id] = made
        elif isinstance(node, ast.comprehension) and isinstance(node.iter, ast.Name):
            made = ELEMENTS.get(node.iter.id)
            if made and isinstance(node.target, ast.Name):
                types[node.target.id] = made
        elif (
            isinstance(node, ast.comprehension)
            and isinstance(node.iter, ast.Subscript)
            and isinstance(node.iter.value, ast.Name)
            and node.iter.value.id in ELEMENTS
            and isinstance(node.target, ast.Name)
        ):
            types[node.target.id] = ELEMENTS[node.iter.value.id]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = _chain(node)
            if chain[:1] in (["trt"], ["_trt"]) and len(chain) > 1:
                yield "", chain[1], node.lineno
                if len(chain) > 2:
                    yield chain[1], chain[2], node.lineno
            elif chain and chain[0].removeprefix("_") in types and len(chain) == 2:
                yield types[chain[0].removeprefix("_")], chain[1], node.lineno
        elif isinstance(node, ast.ClassDef):
            for base in map(_chain, node.bases):
                if base and base[0] == "trt":
                    for child in node.body:
                        if isinstance(child, ast.FunctionDef) and child.name[0] != "_":
                            yield base[1], child.name, child.lineno


def _made(value: ast.expr) -> str | None:
    """The class of the object that an expression makes, where that is clear."""
    if not isinstance(value, ast.Call):
        return None
    chain = _chain(value.func)
    if chain and chain[0] == "trt" and len(chain) == 2:
        return chain[1]
    return RETURNED.get(chain[-1]) if chain else None


def _chain(node: ast.expr) -> list[str]:
    """["trt", "A", "B"] of trt.A.B; a leading `self.` is dropped; [] for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return []
    return names if node.id == "self" else [node.id, *names]


def known(api: dict[str, Any], owner: str, member: str) -> bool:
    if owner == "":
        return member in api or member in PLAIN
    return member in PLAIN or (owner in api and member in api[owner])


@pytest.fixture(scope="module", params=["tensorrt-10.16.1.11", "tensorrt-11.4.0.106"])
def api(request: pytest.FixtureRequest) -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(
        shared_data("tensorrt_api", f"{request.param}.json").read_text()
    )
    return listed


def test_names_are_in_both_versions(api: dict[str, Any]) -> None:
    checked = 0
    for path in files():
        if path == RTX_FILE:
            continue
        for owner, member, line in uses(path.read_text(encoding="utf-8")):
            assert known(api, owner, member), f"{path.relative_to(ROOT)}:{line}: {owner}.{member}"
            checked += 1
    assert checked > 80


def test_names_are_in_tensorrt_rtx() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: make setup")
    for path in files():
        for owner, member, line in uses(path.read_text(encoding="utf-8")):
            holder = getattr(trt, owner) if owner else trt
            assert hasattr(holder, member), f"{path.relative_to(ROOT)}:{line}: {owner}.{member}"


def test_rtx_file_is_the_only_one_with_names_of_its_own(api: dict[str, Any]) -> None:
    own = {
        f"{owner}.{member}"
        for owner, member, _ in uses(RTX_FILE.read_text())
        if not known(api, owner, member)
    }
    assert {".ComputeCapability", "IBuilderConfig.set_compute_capability"} <= own


def test_stand_in_has_no_names_of_its_own(api: dict[str, Any]) -> None:
    module = tensorrt_stand_in.make_module(tensorrt_stand_in.State())
    for owner, value in vars(module).items():
        if owner.startswith("__"):
            continue
        for member in vars(value):
            if not member.startswith("_"):
                assert known(api, owner, member), f"{owner}.{member}"


@pytest.mark.parametrize(
    "source",
    [
        "config.set_flag(trt.BuilderFlag.FP16)",
        "trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        "engine.device_memory_size",
        "self._engine.has_implicit_batch_dimension",
        "parser.supports_model(b'')",
        "c = builder.create_builder_config()\nc.int8_calibrator = None",
        "e = runtime.deserialize_cuda_engine(b'')\ne.weight_streaming_budget",
        "class C(trt.IInt8MinMaxCalibrator): pass\nx = trt.IInt8MinMaxCalibrator",
        "class L(trt.ILogger):\n    def write(self): ...",
        "errors = []\n[e.message for e in errors[:3]]",
    ],
)
def test_names_that_are_gone_are_found(source: str) -> None:
    listed = json.loads(shared_data("tensorrt_api", "tensorrt-11.4.0.106.json").read_text())
    assert any(not known(listed, owner, member) for owner, member, _ in uses(source))


def test_files_that_use_tensorrt_are_found() -> None:
    folder = "runtime/harmonizer/engine"
    names = {str(p.relative_to(ROOT)) for p in files()}
    for name in ("build", "checks", "library", "predictor", "progress", "rtx", "timing"):
        assert f"{folder}/{name}.py" in names
