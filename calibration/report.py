"""The gate's report as one HTML file: tables, plots and pictures inside it, nothing fetched."""

import base64
import html
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.judging import Case, Judgement, Row
from calibration.plots import DOTS, plot_blocks, plot_histogram, plot_scatter
from harmonizer.storage import write_atomically

AMPLIFIED = 16
"""What the picture of a difference is multiplied by."""

SHOWN = 96
"""Dots per inch that plots are shown at: they are finer, for fine screens."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --soft: #4a545e; --line: #dde2e7; --page: #fff;
  --good: #1a7f4b; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7eb; --soft: #a3aeb8; --line: #39424b;
  --page: #14181c; --good: #5cc58f; --bad: #ff8a80 } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1120px; padding: 0 1rem;
  color: var(--ink); background: var(--page) }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .8rem 0 }
.wide { overflow-x: auto }
th, td { padding: .3rem .75rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child, .words { text-align: left }
td { white-space: nowrap }
th { font-weight: 600; color: var(--soft) }
h1 { overflow-wrap: anywhere }
img { max-width: 100%; height: auto; display: block }
img.plot { background: #fff; border-radius: .3rem; margin: .6rem 0; max-width: none }
code { font-size: .85em; overflow-wrap: anywhere }
.verdict { display: inline-block; padding: .25rem .8rem; border-radius: .3rem; color: #fff;
  font-weight: 600 }
.passed { background: #1a7f4b } .failed { background: #b3261e }
td.passed { background: none; color: var(--good) }
td.failed { background: none; color: var(--bad); font-weight: 600 }
.case { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem; margin: .3rem 0 1.4rem }
.case figcaption { font-size: .85em; color: var(--soft) } figure { margin: 0 }
@media (max-width: 700px) { .case { grid-template-columns: repeat(2, 1fr) }
  th, td { padding: .3rem .4rem } td:first-child, td.words { white-space: normal } }
"""


def write_html(path: Path, document: Row, judgement: Judgement, sensitivity: Row | None) -> None:
    """Write the report, atomically.

    Args:
        path: An ``.html`` file.
        document: What the gate writes as JSON.
        judgement: For the plots and pictures.
        sensitivity: The report of `calibration/quantize.py`, or None to leave that part out.
    """
    word = "passed" if document["passed"] else "failed"
    reference, candidate = document["reference"], document["candidate"]
    parts = [
        f"<h1>{_text(candidate['file'])} against {_text(reference['file'])}</h1>",
        f'<p><span class="verdict {word}">{word}</span> budget '
        f"{_text(document['budget']['name'])}"
        + ("" if document["complete"] else ", on a part of the images only: no proof")
        + "</p>",
        _table(
            ["", "runs in", "precision", "SHA-256"],
            [
                [role, facts["kind"], facts["precision"], facts["sha256"][:16]]
                for role, facts in (("reference", reference), ("candidate", candidate))
            ],
        ),
        "<h2>Budget</h2>",
        _checks(document["checks"]),
        "<h2>Sets</h2>",
        "<p>Levels, PSNR and delta-E 2000 are between the two models' 8-bit pictures, over the "
        "foreground; fMSE is against the photograph.</p>",
        _sets(document["sets"]),
        "<h2>Arguments</h2>",
        _arguments(document["arguments"]),
        _plot(
            plot_scatter(judgement),
            "the arguments' differences against the reference's, by operation",
        ),
        "<h2>Images</h2>",
        _plot(plot_histogram(judgement), "images by mean delta-E"),
    ]
    if sensitivity is not None:
        parts += [
            "<h2>Sensitivity of each block</h2>",
            f"<p>{_text(sensitivity['precision'])}, each block alone, "
            f"{sensitivity['probes']} images; {sensitivity['reduced_share']:.1%} of the "
            "multiplications are reduced in the result.</p>",
            _plot(plot_blocks(sensitivity["blocks"]), "mean delta-E of each block alone"),
        ]
    parts.append("<h2>Worst images</h2>")
    parts += [_case(case) for case in judgement.worst()]
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    parts.append(f"<p>{_text(versions)}; {_text(document['machine'])}</p>")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(candidate['file'])}: {word}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )
    write_atomically(path, page.encode())


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


_CHECKS = {
    "levels_max": ("largest difference, 8-bit levels", "{:g}"),
    "delta_e_mean": ("mean delta-E 2000", "{:.4g}"),
    "fmse_change": ("change of mean fMSE", "{:.3%}"),
}


def _checks(checks: Sequence[Row]) -> str:
    rows = ""
    for check in checks:
        words, form = _CHECKS[check["check"]]
        either = "&plusmn;" if check["check"] == "fmse_change" else ""
        word, said = ("passed", "kept") if check["passed"] else ("failed", "exceeded")
        rows += (
            f'<tr><td>{_text(check["set"])}</td><td class="words">{words}</td>'
            f"<td>{form.format(check['measured'])}</td><td>{either}{form.format(check['limit'])}</td>"
            f'<td class="{word}">{said}</td></tr>'
        )
    return (
        '<div class="wide"><table><tr><th>set</th><th class="words">what</th><th>measured</th>'
        f"<th>allowed</th><th></th></tr>{rows}</table></div>"
    )


def _sets(sets: dict[str, Row]) -> str:
    shown: dict[str, Callable[[Row], object]] = {
        "images": lambda row: row["images"],
        "largest difference, levels": lambda row: row["levels_max"],
        "99.9 % of values differ by at most, levels": lambda row: row["levels_p999"],
        "values that are equal": lambda row: f"{row['values_equal']:.1%}",
        "PSNR": lambda row: "equal" if row["psnr"] is None else f"{row['psnr']:.1f} dB",
        "delta-E, mean over images": lambda row: f"{row['delta_e_mean']:.4f}",
        "delta-E, worst image": lambda row: f"{row['delta_e_image_max']:.3f}",
        "delta-E, worst pixel": lambda row: f"{row['delta_e_max']:.2f}",
        "fMSE of the composites": lambda row: f"{row['fmse_before']:.1f}",
        "fMSE of the reference": lambda row: f"{row['fmse_reference']:.1f}",
        "fMSE of the candidate": lambda row: f"{row['fmse_candidate']:.1f}",
        "change of fMSE": lambda row: f"{row['fmse_change']:+.3%}",
    }
    rows = [[words, *(cell(row) for row in sets.values())] for words, cell in shown.items()]
    return _table(["", *sets], rows)


def _arguments(arguments: Row) -> str:
    table = _table(["argument", "max abs difference", "mean"], argument_rows(arguments))
    if "contrast" not in arguments["filters"]:
        return table
    return (
        f"{table}<p>Contrast falls on another of its 255 steps in {arguments['contrast_steps']} "
        "images.</p>"
    )


def argument_rows(arguments: Row) -> list[list[str]]:
    """Name, largest and mean difference of each operation's numbers, and of all together."""
    rows = []
    for name, row in arguments["filters"].items():
        many = f" ({row['numbers']} numbers)" if row["numbers"] > 1 else ""
        rows.append([f"{name}{many}", f"{row['max']:.5f}", f"{row['mean']:.6f}"])
    if len(rows) > 1:
        rows.append(["all", f"{arguments['max']:.5f}", f"{arguments['mean']:.6f}"])
    return rows


def _plot(data: bytes, words: str) -> str:
    """A plot at its own size, on white whatever the page's colours."""
    with Image.open(io.BytesIO(data)) as image:
        width = round(image.width * SHOWN / DOTS)
    picture = _picture(data, words).replace("<img ", f'<img class="plot" width="{width}" ')
    return f'<div class="wide">{picture}</div>'


def _picture(data: bytes, words: str, kind: str = "png") -> str:
    encoded = base64.b64encode(data).decode()
    return f'<img alt="{_text(words)}" src="data:image/{kind};base64,{encoded}">'


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _case(case: Case) -> str:
    composite, reference, candidate = case.pictures
    apart = np.abs(reference.astype(np.int16) - candidate) * AMPLIFIED
    amplified = np.minimum(apart, 255).astype(np.uint8)
    figures = "".join(
        f"<figure>{_picture(_jpeg(pixels), words, 'jpeg')}<figcaption>{words}</figcaption></figure>"
        for pixels, words in (
            (composite, "composite"),
            (reference, "reference"),
            (candidate, "candidate"),
            (amplified, f"difference times {AMPLIFIED}"),
        )
    )
    return (
        f"<p><b>{_text(case.name)}</b> ({_text(case.set)}): delta-E mean {case.delta_e_mean:.3f}, "
        f"max {case.delta_e_max:.2f}; {case.levels_max} levels; fMSE "
        f"{case.fmse_reference:.1f} &rarr; {case.fmse_candidate:.1f}</p>"
        f'<div class="case">{figures}</div>'
    )
