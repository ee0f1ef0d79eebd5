"""TensorRT engines: built from ONNX, described, cached, and run; for `tensorrt` and `tensorrt_rtx`.

Nothing of TensorRT is imported before it is needed, nor before a driver was found where one is
needed: without a driver TensorRT crashes the process instead of raising.
"""

from harmonizer.engine.build import build_engine
from harmonizer.engine.cache import cached_engine
from harmonizer.engine.files import describe_engine, is_engine_file
from harmonizer.engine.options import BuildOptions
from harmonizer.engine.predictor import EnginePredictor

__all__ = [
    "BuildOptions",
    "EnginePredictor",
    "build_engine",
    "cached_engine",
    "describe_engine",
    "is_engine_file",
]
