"""What may not be as meant although it is as asked for: sentences for warnings and notes."""

EMPTY_MASK = "the mask is empty: there is no foreground, and the image stays as it is."

VANISHED_MASK = (
    "the foreground vanishes in the network's thumbnail of 256x256: the image stays as it is. Crop "
    "around the foreground."
)

THIN_MASK = (
    "the foreground is 1 pixel wide or high, and the network crops to it: the image stays as it is."
)

TRACK_ENDED = "the track of arguments has ended: what its last line says is drawn."

FULL_MASK = (
    "the mask covers the whole image: there is no background to harmonize with, and the arguments "
    "are a guess."
)

FLAT_SURROUNDINGS = (
    "all around the foreground is one flat colour: there is no background to harmonize with. Place "
    "the foreground on one, as `background` does."
)
