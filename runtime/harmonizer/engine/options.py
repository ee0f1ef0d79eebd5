"""What an engine is built for, as plain data: checked once, stored beside it, part of its key."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from harmonizer.engine.library import Module

Compatibility = Literal["none", "same-compute-capability", "ampere-plus"]
COMPATIBILITIES: tuple[Compatibility, ...] = get_args(Compatibility)
LEVELS = range(6)
LARGEST_BATCH = 1024
"""Its thumbnails alone are 0.8 GB; beyond it is a slip of the keyboard."""

COMPUTE_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Those that TensorRT-RTX builds for."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build. The precision is not among them: it is in the ONNX file.

    Attributes:
        batch: The batch to be fastest at, and the largest; the smallest is always 1.
        workspace_mib: Most scratch memory of a layer, in MiB; None for all of the GPU's.
        optimization_level: 0 (quick to build) to 5 (quick to run); None for TensorRT's own, 3.
        hardware_compatibility: Which GPUs other than the builder's may run it (TensorRT).
        version_compatible: Whether later versions of TensorRT may run it (TensorRT).
        tf32: Whether float32 may be multiplied with 10 bits of mantissa.
        compute_capabilities: GPUs to build for, such as ("8.6", "8.9") (TensorRT-RTX); empty for
            its own choice, 8.0 and newer.

    Raises:
        ValueError: If a value is out of range.
    """

    batch: tuple[int, int] = (1, 16)
    workspace_mib: int | None = None
    optimization_level: int | None = None
    hardware_compatibility: Compatibility = "none"
    version_compatible: bool = False
    tf32: bool = False
    compute_capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        likely, most = self.batch
        if not 1 <= likely <= most <= LARGEST_BATCH:
            raise ValueError(
                f"`batch` must be 1 <= OPT <= MAX <= {LARGEST_BATCH}; got {likely} {most}. Give "
                "two such numbers, such as 1 4."
            )
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise ValueError(
                f"`workspace` must be 1 MiB or more; got {self.workspace_mib}. Give more, or leave "
                "it out."
            )
        if self.optimization_level is not None and self.optimization_level not in LEVELS:
            raise ValueError(
                f"`optimization_level` must be {LEVELS[0]} to {LEVELS[-1]}; got "
                f"{self.optimization_level}. Give one of these, or leave it out."
            )
        if self.hardware_compatibility not in COMPATIBILITIES:
            raise ValueError(
                f"`hardware_compatibility` must be one of {', '.join(COMPATIBILITIES)}; got "
                f"{self.hardware_compatibility!r}. Choose one of them."
            )
        strange = [c for c in self.compute_capabilities if c not in COMPUTE_CAPABILITIES]
        if strange or len(set(self.compute_capabilities)) < len(self.compute_capabilities):
            raise ValueError(
                f"`compute_capabilities` must be different ones of "
                f"{', '.join(COMPUTE_CAPABILITIES)}; got {', '.join(self.compute_capabilities)}. "
                "Name each once."
            )

    def check_module(self, module: Module) -> None:
        """Refuse what one of the two modules does not have, instead of leaving it out.

        Raises:
            ValueError: If an option is set that the module lacks.
        """
        if module == "tensorrt_rtx":
            for option, given in (
                ("hardware_compatibility", self.hardware_compatibility != "none"),
                ("version_compatible", self.version_compatible),
            ):
                if given:
                    raise ValueError(
                        f"`{option}` is an option of tensorrt; the module is tensorrt_rtx, whose "
                        "engines run on one version of it and on the GPUs that "
                        "`compute_capabilities` lists. Leave it out."
                    )
        elif self.compute_capabilities:
            raise ValueError(
                "`compute_capabilities` is an option of tensorrt_rtx; tensorrt builds for the GPU "
                "in this machine. Leave it out, or use `hardware_compatibility`."
            )

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }


def digest(facts: Any) -> str:
    """SHA-256 of plain data in a form that does not depend on the order of keys."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
