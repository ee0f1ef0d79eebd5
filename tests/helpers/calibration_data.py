"""Small things to calibrate: predictors, composites in memory, a folder of crops."""

from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image

from calibration.images import ImageSet
from calibration.ranges import open_session
from export.samples import sample_photos
from export.to_onnx import export
from harmonizer.contract import Contract
from train.checkpoints import save_checkpoint
from train.network import HarmonizerNet, NetworkConfig, thumbnail
from train.s2crnet import S2CRNet, S2CRNetConfig

FILTERS = ("brightness", "contrast")
CONTRACT = Contract("harmonizer", FILTERS, (1, 1))
CURVES = S2CRNetConfig(statistics=True, encoder_size=64)
CURVES_CONTRACT = Contract("s2crnet", CURVES.filters, CURVES.sizes, labelled=True)


def small_checkpoint(folder: Path) -> Path:
    """Colour statistics, two looks, random weights that predict moderate arguments."""
    torch.manual_seed(3)
    network = HarmonizerNet(NetworkConfig(encoder=None, statistics=True, looks=2, filters=FILTERS))
    path = folder / "small.safetensors"
    save_checkpoint(network, path)
    return path


def small_predictor(folder: Path) -> Path:
    """Its export, beside it."""
    path = folder / "small.onnx"
    export(small_checkpoint(folder), path)
    return path


def encoder_predictor(folder: Path) -> Path:
    """The published configuration with random weights, exported."""
    torch.manual_seed(0)
    save_checkpoint(HarmonizerNet(NetworkConfig()), folder / "b0.safetensors")
    export(folder / "b0.safetensors", folder / "b0.onnx")
    return folder / "b0.onnx"


def curves_checkpoint(path: Path, config: S2CRNetConfig = CURVES) -> Path:
    """S2CRNet with random weights whose curves bend visibly, all of them by what images show."""
    torch.manual_seed(4)
    network = S2CRNet(config)
    for module in network.curves:
        torch.nn.init.normal_(module.foreground.weight, std=0.02)
        torch.nn.init.normal_(module.background.weight, std=0.02)
    save_checkpoint(network, path)
    return path


def curves_predictor(folder: Path) -> Path:
    """Statistics, two stages and labels, exported; the checkpoint lies beside it."""
    export(curves_checkpoint(folder / "curves.safetensors"), folder / "curves.onnx")
    return folder / "curves.onnx"


def answers(model: onnx.ModelProto, images: ImageSet) -> np.ndarray:
    """What a model predicts, (images, k), with Q/DQ computed as written."""
    session = open_session(model)
    return np.concatenate([session.run(["arguments"], feed)[0] for feed in images.feeds])


def feeds(count: int, contract: Contract = CONTRACT) -> ImageSet:
    """Thumbnails of shifted crops of scikit-image's photographs with their masks."""
    names, made = [], []
    photos = sample_photos()
    for index in range(count):
        photo, shift = photos[index % len(photos)], 7 * (index // len(photos))
        pixels = np.roll(photo.pixels, shift, axis=0).astype(np.float32) / np.float32(255)
        mask = photo.mask.astype(np.float32) / np.float32(255)
        composite = thumbnail(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        made.append(
            {
                "composite": composite.contiguous().numpy(),
                "mask": thumbnail(torch.from_numpy(mask)[None, None]).numpy(),
            }
        )
        names.append(f"{photo.name} {shift}")
    return ImageSet(tuple(names), tuple(made), contract)


def write_photographs(folder: Path, count: int) -> Path:
    """Different crops of the photographs as files, without masks."""
    photos = sample_photos()
    for index in range(count):
        photo, shift = photos[index % len(photos)], 3 * (index // len(photos))
        Image.fromarray(photo.pixels[shift : shift + 200, shift : shift + 240]).save(
            folder / f"{index:03}.png"
        )
    return folder
