"""What `harmonizer bench --backend cuda --against bench.rivals` measures beside it: PyTorch.

Eager, and by torch.compile, doing a whole frame on the same GPU: thumbnail, network, filters,
blend, to uint8. Not run on a GPU yet.
"""

from collections.abc import Callable, Iterator

from bench.results_file import ROOT
from harmonizer.latency import picture, rectangle

CHECKPOINT = ROOT / "models/harmonizer.safetensors"


def cases(
    size: tuple[int, int], device: str = "cuda"
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Names and frames; each call returns when its frame is complete.

    Args:
        size: (W, H) of the picture.
        device: Where torch computes.

    Raises:
        ValueError: If torch does not see a GPU.
    """
    import torch

    from train.checkpoints import load_checkpoint
    from train.filters import apply_filters, blend

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--against bench.rivals needs a torch that sees the GPU; this one does not. Install a "
            "CUDA build of torch, or leave it out."
        )
    network = load_checkpoint(CHECKPOINT).to(device).eval()
    pixels = torch.from_numpy(picture(*size)).to(device)
    cover = torch.from_numpy(rectangle(*size, 1.0)).to(device)

    def frame() -> object:
        image = pixels.permute(2, 0, 1)[None].float() / 255
        mask = cover[None, None].float() / 255
        arguments = network.predict_arguments(image, mask)
        drawn = blend(apply_filters(image, arguments)[-1], image, mask)
        return (drawn[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8)

    for name, run in (("eager PyTorch", frame), ("torch.compile", torch.compile(frame))):

        def complete(run: Callable[[], object] = run) -> object:
            with torch.no_grad():  # torch.compile refuses views of these inputs in inference mode
                drawn = run()
            if device == "cuda":
                torch.cuda.synchronize()
            return drawn

        yield name, complete
