"""Name what a file is that should have been something else, by its first bytes."""

import re

HEAD = 512
"""Bytes of a file that are enough."""

_DOWNLOAD = "download it again, and look at its size"

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer in place of the file: run `git lfs pull`"),
    (b"<?xml", "XML text"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"FUJIFILM", "a raw photograph"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"PK\x03\x04", "a ZIP archive, as torch's checkpoints are"),
    (b"\x1f\x8b", "gzip data"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x7fELF", "a program or library"),
    (b"\x00\x05\x16\x07", "an AppleDouble file, which macOS puts beside the real one"),
)

_BRANDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"hevc": "HEIC",
    b"mif1": "HEIF",
    b"msf1": "HEIF",
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"crx ": "a raw photograph",
}
"""Major brands of ISO media files (ISO/IEC 14496-12, 4.3); others are videos."""


def kind_of(head: bytes) -> str:
    """What a file is by its first `HEAD` bytes, as a message says it; empty if it is not known."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")) or b"<html" in text[:HEAD]:
        return f"a web page, so the download failed: {_DOWNLOAD}"
    if head and not head.strip(b"\0"):
        return f"nothing but zeros, so the copy was cut short: {_DOWNLOAD}"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "an MP4 or QuickTime video")
    if head[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "an AVI video", b"WAVE": "a sound"}.get(
            head[8:12], "RIFF"
        )
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[8:10] == b'{"' and head[6:8] == b"\0\0":
        return "a safetensors checkpoint"
    if re.match(rb"P[1-7][\s#]", head):
        return "Netpbm"
    if own := re.match(rb'\{\s*"format":\s*"(harmonizer-[a-z-]+)"', text):
        return f"a {own[1].decode()} file in the place of another: look which option takes those"
    if text.startswith((b"{", b"[")):
        return f"JSON text, perhaps a server's answer in place of the file: {_DOWNLOAD}"
    return ""


def came(head: bytes) -> str:
    """A clause for a message: what the file is, if that is known, and how it begins."""
    if not head:
        return "it is empty"
    kind = kind_of(head)
    begins = f"it begins with {head[:8]!r}"
    return f"it is {kind} ({begins})" if kind else begins
