"""Where training images come from, and what composites are made of them."""

from dataclasses import dataclass
from typing import Literal

from train.data.iharmony4 import SUBSETS
from train.data.synthesis import DISTRIBUTIONS


@dataclass(frozen=True)
class DataConfig:
    """Where training images come from.

    Attributes:
        photos: Folders of photographs (MANIFEST.csv, or any image files; masks optional).
        pairs: iHarmony4's root: real composites. Without `photos`, its real images and masks are
            also what composites are synthesised from, as in the paper.
        subsets: Which of iHarmony4's subsets.
        pair_share: Share of pairs in a batch, where `pairs` is given.
        transfer_share: Share of the other composites whose foregrounds take on the colours of
            another photograph's.
        donors: Whose colours those are: of any photograph, or of one whose foreground shows the
            same kind of thing, as the pretrained encoder sees it.
        retouch_share: Share of the other composites whose foregrounds are developed apart, in
            linear light.
        develop_share: How many whole photographs are developed at random before anything else, so
            that the foreground alone does not carry an edit's trace; takes the place of jitter.
        jpeg_share: How many whole composites go through JPEG at a random quality.
        region_share: How often a photograph with a mask gets a random region instead.
        reshape_share: How many of the photographs' masks are replaced by ones that are made of them
            (see `reshaping`); with the neighbour table, which has the regions for it.
        soft_share: How many whole composites are softened, with their targets.
        inexact_share: How many of the masks that the network is shown are too wide, too tight or
            too soft (see `inexact`); losses keep the exact ones.
        crop: Smallest side of a random crop as a share of the image's, drawn for each side by
            itself; 1 does not crop.
        whole_share: How many images are not cropped: at 256 pixels they are not resampled either,
            and as sharp as what the network will see.
        distribution: Of the filters' arguments: "uniform", "gaussian" or "varied" (see
            `synthesis.draw_arguments`).
        resident: Keep all packed images on the GPU, and crop there.
        max_corrupt: Largest share of unusable images; with more, nothing is trained.
        cache: Folder for packed images.
    """

    photos: tuple[str, ...] = ()
    pairs: str | None = None
    subsets: tuple[str, ...] = SUBSETS
    pair_share: float = 0.5
    transfer_share: float = 0.0
    donors: Literal["any", "kind"] = "any"
    retouch_share: float = 0.0
    develop_share: float = 0.0
    jpeg_share: float = 0.0
    region_share: float = 0.0
    reshape_share: float = 0.0
    soft_share: float = 0.0
    inexact_share: float = 0.0
    crop: float = 0.5
    whole_share: float = 0.0
    distribution: str = "uniform"
    resident: bool = False
    max_corrupt: float = 0.01
    cache: str = "build/cache"

    def __post_init__(self) -> None:
        if isinstance(self.photos, str) or isinstance(self.subsets, str):
            raise TypeError(
                "`photos` and `subsets` must be tuples of names; got a string. Put it in one."
            )
        shares = (
            "pair",
            "transfer",
            "retouch",
            "develop",
            "jpeg",
            "region",
            "reshape",
            "soft",
            "inexact",
            "whole",
        )
        for name in (*(f"{share}_share" for share in shares), "max_corrupt"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"`{name}` must lie in [0, 1]; got {share}. Give 0 for none.")
        if self.transfer_share + self.retouch_share > 1:
            raise ValueError(
                "`transfer_share` and `retouch_share` must not exceed 1 together; got "
                f"{self.transfer_share} and {self.retouch_share}. Lower one."
            )
        if not 0 < self.crop <= 1:
            raise ValueError(f"`crop` must lie in (0, 1]; got {self.crop}. Give 1 not to crop.")
        if self.region_share and self.pairs is not None and not self.photos:
            raise ValueError(
                f"`region_share` replaces masks of `photos`; got {self.region_share} with `pairs` "
                "alone, whose composites hold for their own masks. Leave it out, or name the "
                "photographs with --data."
            )
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"`distribution` must be one of {', '.join(DISTRIBUTIONS)}; got "
                f"{self.distribution!r}. Choose one of them."
            )
        unknown = set(self.subsets) - set(SUBSETS)
        if unknown or not self.subsets:
            raise ValueError(
                f"`subsets` must be some of {', '.join(SUBSETS)}; got "
                f"{', '.join(self.subsets) or 'none'}. Leave it out for all."
            )
        if self.donors == "kind" and self.pairs is not None:
            raise ValueError(
                "`donors` of a kind are found among `photos`; got `pairs` too, whose real images "
                "have no neighbour table. Leave out --pairs, or give --donors any."
            )
        if self.reshape_share and self.donors != "kind":
            raise ValueError(
                "`reshape_share` needs the regions of the neighbour table; give --donors kind."
            )
        if self.resident and self.donors != "kind":
            raise ValueError(
                "`resident` needs the regions of the neighbour table; give --donors kind."
            )
