"""A page of what a batch did: before and after with a slider, arguments, and what failed and why.

One file that needs nothing else: small JPEG pictures within it, no script from anywhere.
"""

import base64
import html
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from string import Template

import numpy as np

from harmonizer.errors import HarmonizerError
from harmonizer.images.files import Pixels, load_photo, to_depth
from harmonizer.pairing import Item, Outcome
from harmonizer.storage import write_file

MOST = 300
"""Pairs of pictures on a page; more would not open well. The others are listed."""

_SIDE, _QUALITY = 480, 82

_PAGE = Path(__file__).parent / "assets" / "report.html"

_PAIR = """<figure><div class="pair"><img alt="composite" src="{before}">
<img alt="result" src="{after}">
<input type="range" min="0" max="100" value="50" step="any"
  aria-label="{name}: composite or result"></div>
<figcaption><strong>{name}</strong><br><code>{arguments}</code>{notes}</figcaption></figure>
"""

Loader = Callable[[Item], Pixels]
"""Gives a item's composite as the batch saw it."""


def write_sheet(
    path: Path,
    title: str,
    outcomes: Iterable[tuple[Item | None, Outcome]],
    load: Loader,
    counts: str,
) -> tuple[str, ...]:
    """Write the page.

    Args:
        path: Where, ending in .html.
        title: Of the page.
        outcomes: What became of each composite, with its item where there was one.
        load: Gives a item's composite.
        counts: One sentence of the numbers.

    Returns:
        Notes on pictures that could not be shown.

    Raises:
        OSError: If the file cannot be written.
    """
    pairs: list[str] = []
    plain: list[str] = []
    failed: list[str] = []
    notes: list[str] = []
    for item, outcome in outcomes:
        if outcome.status == "failed" or item is None:
            failed.append(f"{outcome.composite}: {outcome.error}")
        elif len(pairs) >= MOST:
            plain.append(f"{item.composite}, {outcome.status}")
        else:
            try:
                before = load(item)
                after = load_photo(item.output, colour_management=True).in_srgb()
            except HarmonizerError as error:
                notes.append(f"{item.output} cannot be shown: {error}")
                continue
            pairs.append(_pair(item, outcome, before, after))
    lists = _listed("Failed", failed) + _listed(f"Further ones, beyond the first {MOST}", plain)
    page = Template(_PAGE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title), counts=html.escape(counts), pairs="".join(pairs), lists=lists
    )
    write_file(path, page.encode())
    return tuple(notes)


def _pair(item: Item, outcome: Outcome, before: Pixels, after: Pixels) -> str:
    said = "".join(f"<br><small>{html.escape(note)}</small>" for note in outcome.notes)
    drawn = str(outcome.arguments) if outcome.arguments is not None else "done before"
    return _PAIR.format(
        before=_picture(before),
        after=_picture(after),
        name=html.escape(str(item.composite), quote=True),
        arguments=html.escape(drawn),
        notes=said,
    )


def _listed(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<h2>{html.escape(title)} ({len(lines)})</h2><ul>{items}</ul>"


def _picture(pixels: Pixels) -> str:
    """A small JPEG picture as an address."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(to_depth(pixels, 8)))
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
