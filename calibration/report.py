"""The gate's report as one HTML file: tables, plots and pictures inside it, nothing fetched."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.judging import Case, Judgement, Row
from harmonizer.files import write_atomically

matplotlib.use("Agg")
import matplotlib.pyplot as plt

AMPLIFIED = 16
"""What the picture of a difference is multiplied by."""

BLOCKS_SHOWN = 60

_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1120px; padding: 0 1rem;
  color: #1d2329; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .8rem 0 }
th, td { padding: .3rem .75rem; border-bottom: 1px solid #dde2e7; text-align: right }
th:first-child, td:first-child { text-align: left }
td { white-space: nowrap }
th { font-weight: 600; color: #4a545e }
img { max-width: 100%; height: auto; display: block }
code { font-size: .85em; overflow-wrap: anywhere }
.verdict { display: inline-block; padding: .25rem .8rem; border-radius: .3rem; color: #fff;
  font-weight: 600 }
.passed { background: #1a7f4b } .failed { background: #b3261e }
td.passed { background: none; color: #1a7f4b } td.failed { background: none; color: #b3261e }
.case { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem; margin: .3rem 0 1.4rem }
.case figcaption { font-size: .85em; color: #4a545e } figure { margin: 0 }
@media (max-width: 700px) { .case { grid-template-columns: repeat(2, 1fr) } }
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
        _picture(_scatter(judgement), "candidate's argument against the reference's, by filter"),
        _picture(_histogram(judgement), "images by mean delta-E"),
    ]
    if sensitivity is not None:
        parts += [
            "<h2>Sensitivity of each block</h2>",
            f"<p>{_text(sensitivity['precision'])}, each block alone, "
            f"{sensitivity['probes']} images; {sensitivity['reduced_share']:.1%} of the "
            "multiplications are reduced in the result.</p>",
            _picture(_sensitivity(sensitivity["blocks"]), "mean delta-E of each block alone"),
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
    return f"<table><tr>{head}</tr>{body}</table>"


def _checks(checks: Sequence[Row]) -> str:
    rows = "".join(
        f"<tr><td>{_text(c['set'])}</td><td>{_text(c['check'])}</td><td>{c['measured']:.4g}</td>"
        f'<td>{c["limit"]:g}</td><td class="{"passed" if c["passed"] else "failed"}">'
        f"{'kept' if c['passed'] else 'exceeded'}</td></tr>"
        for c in checks
    )
    return (
        "<table><tr><th>set</th><th>what</th><th>measured</th><th>allowed</th><th></th></tr>"
        f"{rows}</table>"
    )


def _sets(sets: dict[str, Row]) -> str:
    header = [
        *("set", "images", "levels max", "p99.9", "equal values", "PSNR", "delta-E mean"),
        *("worst image", "worst pixel", "fMSE before", "reference", "candidate", "change"),
    ]
    rows = [
        [
            name,
            row["images"],
            row["levels_max"],
            row["levels_p999"],
            f"{row['values_equal']:.1%}",
            "equal" if row["psnr"] is None else f"{row['psnr']:.1f} dB",
            f"{row['delta_e_mean']:.4f}",
            f"{row['delta_e_image_max']:.3f}",
            f"{row['delta_e_max']:.2f}",
            f"{row['fmse_before']:.1f}",
            f"{row['fmse_reference']:.1f}",
            f"{row['fmse_candidate']:.1f}",
            f"{row['fmse_change']:+.3%}",
        ]
        for name, row in sets.items()
    ]
    return _table(header, rows)


def _arguments(arguments: Row) -> str:
    rows = [
        [name, f"{row['max']:.5f}", f"{row['mean']:.6f}"]
        for name, row in arguments["filters"].items()
    ]
    rows.append(["all", f"{arguments['max']:.5f}", f"{arguments['mean']:.6f}"])
    return (
        _table(["argument", "max abs difference", "mean"], rows)
        + f"<p>Contrast falls on another of its 255 steps in {arguments['contrast_steps']} "
        "images.</p>"
    )


def _scatter(judgement: Judgement) -> bytes:
    count = len(judgement.filters)
    columns = min(count, 3)
    lines = -(-count // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3.6 * columns, 3.4 * lines), squeeze=False)
    reference = np.stack([case.reference for case in judgement.cases])
    candidate = np.stack([case.candidate for case in judgement.cases])
    for index, axis in enumerate(axes.flat):
        if index >= count:
            axis.set_axis_off()
            continue
        x, y = reference[:, index], candidate[:, index]
        ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
        axis.plot(ends, ends, color="#b0b8c0", linewidth=1, zorder=1)
        axis.scatter(x, y, s=9, color="#1f5fa8", alpha=0.6, linewidths=0, zorder=2)
        axis.set_title(judgement.filters[index], fontsize=10)
        axis.tick_params(labelsize=8)
    figure.supxlabel("reference", fontsize=9)
    figure.supylabel("candidate", fontsize=9)
    return _png(figure)


def _histogram(judgement: Judgement) -> bytes:
    figure, axis = plt.subplots(figsize=(7.5, 2.6))
    names = list(judgement.levels)
    values = [[c.delta_e_mean for c in judgement.cases if c.set == name] for name in names]
    colours = ["#1f5fa8", "#d98324", "#5f8f3e"][: len(names)]
    axis.hist(values, bins=30, label=names, color=colours)
    axis.set_xlabel("mean delta-E 2000 of an image's foreground", fontsize=9)
    axis.set_ylabel("images", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, frameon=False)
    return _png(figure)


def _sensitivity(blocks: Sequence[Row]) -> bytes:
    shown = sorted(blocks, key=lambda b: float(b["delta_e_mean"]), reverse=True)[:BLOCKS_SHOWN]
    names = {block["name"] for block in shown}
    shown = [block for block in blocks if block["name"] in names]  # the order of execution
    figure, axis = plt.subplots(figsize=(8.5, 0.6 + 0.22 * len(shown)))
    places = np.arange(len(shown))
    colours = ["#1f5fa8" if block["reduced"] else "#d98324" for block in shown]
    axis.barh(places, [float(block["delta_e_mean"]) for block in shown], color=colours)
    axis.set_yticks(places, [block["name"] for block in shown], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("mean delta-E (blue: reduced in the result, orange: float32)", fontsize=9)
    axis.tick_params(axis="x", labelsize=8)
    return _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


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
