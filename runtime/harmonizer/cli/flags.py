"""The library's messages name its arguments; on a command line these have flags."""

import re

FLAGS = {
    "allow_host_code": "--allow-host-code",
    "Arguments.save": "--save-arguments",
    "anchor": "--anchor",
    "associated": "--associated-alpha",
    "at": "--at",
    "backend": "--backend",
    "background": "--background",
    "clean_edges": "--clean-edges",
    "codec": "--codec",
    "crf": "--crf",
    "depth": "--depth",
    "fit": "--fit",
    "fit_mask": "--fit-mask",
    "hardware": "--hardware",
    "label": "--label",
    "mask_levels": "--mask-levels",
    "max_pixels": "--max-pixels",
    "model": "--model",
    "options": "--codec-option",
    "overrides": "--set",
    "pixel_format": "--pixel-format",
    "preset": "--preset",
    "rate": "--rate",
    "rotation": "--rotate",
    "save_track": "--save-arguments",
    "scale": "--scale",
    "skip_damaged": "--skip-damaged",
    "strength": "--strength",
    "suffix": "--format",
    "threads": "--threads",
    "when_short": "--when-short",
}
"""Arguments of the library that users of the commands know as flags."""

_NAMED = re.compile(r"`([\w.]+)(?:=([^`]+))?`")
_WITHOUT = re.compile(r"([Ll]eave) '(audio|subtitle)' out of `copied`")


def with_flags(text: str) -> str:
    """A message of the library as a user of the commands reads it.

    ``pass `max_pixels=9` `` becomes ``pass --max-pixels 9``; names without a flag stay.
    """

    def flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in FLAGS:
            return match[0]
        given = "" if value in (None, "True") else value.strip("()'").replace(", ", ",")
        return f"{FLAGS[name]} {given}".rstrip()

    def without(match: re.Match[str]) -> str:
        verb = "Pass" if match[1][0].isupper() else "pass"
        return f"{verb} --no-{match[2]}{'s' * (match[2] == 'subtitle')}"

    return _NAMED.sub(flag, _WITHOUT.sub(without, text))
