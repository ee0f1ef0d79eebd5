"""What TensorRT-RTX has and TensorRT lacks; the only file that uses such names."""

from typing import Any


def set_compute_capabilities(trt: Any, config: Any, capabilities: tuple[str, ...]) -> None:
    """Build for these GPUs, such as ("8.6", "12.0"), instead of the module's own choice.

    Raises:
        ValueError: If the installed version does not build for one of them.
    """
    if not capabilities:
        return
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        name = "SM" + capability.replace(".", "")
        if name not in trt.ComputeCapability.__members__ or not config.set_compute_capability(
            trt.ComputeCapability.__members__[name], index
        ):
            raise ValueError(
                f"`compute_capabilities` must be known to tensorrt_rtx {trt.__version__}; "
                f"{capability} is not. Leave it out, or update the module."
            )


def invalidity(trt: Any, runtime: Any, data: bytes) -> str | None:
    """Why an engine cannot run here, as its header tells; None where nothing speaks against it."""
    validity, diagnostics = runtime.get_engine_validity(data)
    if validity != trt.EngineValidity.INVALID:
        return None
    causes = [
        name.lower().replace("_", " ")
        for name, cause in trt.EngineInvalidityDiagnostics.__members__.items()
        if int(diagnostics) & int(cause)
    ]
    return ", ".join(causes) or "no cause given"
