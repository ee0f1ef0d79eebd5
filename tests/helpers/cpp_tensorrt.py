"""A stand-in for libnvinfer, made from TensorRT's own headers, for the C++ engine predictor.

TensorRT's library is not needed: its headers hold the tables of virtual functions that both sides
call through. What the predictor calls is written in ``cpp_consumer/nvinfer.cpp``; every other
function is generated here and ends the process, so that a call nobody thought of shows.
"""

import re
from pathlib import Path

from cpp_package import CONSUMER, succeed, tool

CLASSES = ("VRuntime", "VCudaEngine", "VExecutionContext")


def stub(header: str, name: str) -> str:
    """A class with a body for every pure function of the header's class."""
    found = re.search(rf"class {name}\b[^{{;]*\{{(.*?)\n\}};", header, re.DOTALL)
    assert found is not None, name
    text = re.sub(r"//.*", "", found[1])
    functions = re.findall(r"virtual\s+([^;{}]*?)\s*=\s*0\s*;", text)
    assert len(functions) > 10
    bodies = (re.sub(r"\s+", " ", function) for function in functions)
    lines = "\n".join(f"    {body} override {{ std::abort(); }}" for body in bodies)
    return f"class {name}Stub : public {name} {{\npublic:\n{lines}\n}};\n"


def build_stand_in(root: Path, cuda: Path, folder: Path) -> Path:
    """Compile libnvinfer.so against the headers in ``root/include``; returns its path."""
    header = (root / "include" / "NvInferImpl.h").read_text()
    stubs = "\n".join(stub(header, name) for name in CLASSES)
    text = f"namespace nvinfer1 {{\nnamespace apiv {{\n{stubs}}}\n}}\n"
    (folder / "nvinfer_stubs.h").write_text(text)
    target = folder / "libnvinfer_stand_in.so"
    includes = [f"-I{folder}", "-isystem", root / "include", "-isystem", cuda]
    options = ["-std=c++17", "-O0", "-g", "-fPIC", "-shared", "-w"]
    succeed(tool("c++"), *options, *includes, CONSUMER / "nvinfer.cpp", "-o", target, "-ldl")
    return target
