"""Harmonize a video file: read, predict, smooth, draw and encode, each stage in its own thread."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from harmonizer.images.colour import Colours
from harmonizer.recipes import Recipe, Tools
from harmonizer.video.colour import Colour, Converter
from harmonizer.video.encoders import Choice, Encoding, choose
from harmonizer.video.feed import Carried, Feed
from harmonizer.video.images import ImageWriter, check_pattern, choose_images, is_image_output
from harmonizer.video.inputs import Inputs
from harmonizer.video.job import Job, Report
from harmonizer.video.libav import check_version
from harmonizer.video.opening import Opener, sent
from harmonizer.video.planes import paste
from harmonizer.video.planning import Tally, VideoFrame, interpolated, planned, predicted, replayed
from harmonizer.video.reader import VideoReader
from harmonizer.video.sequence import SequenceReader
from harmonizer.video.smoothing import Smoothing
from harmonizer.video.stages import RunAhead, close
from harmonizer.video.track import Track
from harmonizer.video.track_files import TrackWriter
from harmonizer.video.writer import VideoWriter

Writer = VideoWriter | ImageWriter

Progress = Callable[[str, int, int | None], None]
"""Called after each frame: the pass's name, the frames done, how many there are if known."""

_AHEAD = 2
"""Frames that may wait between two stages; with what each holds, about ten are in memory."""


def harmonize_video(
    tools: Tools,
    inputs: Inputs,
    output: str | Path,
    job: Job | None = None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Report:
    """Harmonize a video and write it; memory does not depend on its length.

    (Two-pass smoothing and tracks hold a few hundred bytes a frame.) The output appears under its
    name when it is complete. Other streams and the metadata are copied.

    Args:
        tools: Renderer, and harmonizer unless arguments are given.
        inputs: What is read.
        output: Video file to write; an existing one is replaced. Or a pattern for numbered images,
            such as out/%05d.png, of which none may exist yet.
        job: How; None for the defaults.
        progress: Called after each frame.
        cancel: When set, the work ends after the frame in hand.

    Returns:
        The report.

    Raises:
        VideoError: If an input cannot be read or does not fit, or the output cannot be written.
        ImageFileError: If an image file among the inputs cannot be read, or the track not written.
        ArgumentsError, ModelError: As `Harmonizer` does.
    """
    check_version()
    job = job or Job()
    output, cancel = Path(output), cancel or threading.Event()
    report, tally = Report(), Tally()
    if is_image_output(output):
        check_pattern(output)
        inputs = replace(inputs, copied=())
    track = job.track
    if track is None and job.two_pass:
        track, first = _first_pass(tools, inputs, output, job, progress, cancel)
        tally.concerns.update(first.concerns)
        if cancel.is_set():
            report.cancelled = True
            return report
        # The recipe is in the track already.
        recipe = Recipe()
    else:
        recipe = job.recipe
    feed = Feed(inputs, job.threads)
    with closing(feed):
        choice = _prepared(feed, output, job.encoding)
        writer = _open_writer(feed, output, choice)
        report.codec = choice.codec
        saver: TrackWriter | None = None
        try:
            if job.save_track is not None:
                saver = TrackWriter(job.save_track)
            every = 1 if track is not None else job.smoothing.every
            opener = Opener(tools, every, track is None and recipe.given is None)
            video_frames: Iterable[VideoFrame] = _read(feed, opener)
            if track is not None:
                guided: Iterator[VideoFrame] = replayed(video_frames, recipe, track, tally)
            else:
                guided = _guided(video_frames, tools, recipe, job.smoothing, tally)
            video_frames = RunAhead(sent(guided, in_place=True), _AHEAD, "predict")
            converter = Converter(job.threads)
            results = drawn(video_frames, converter, feed.colour, tally, feed.wide)
            frames = RunAhead(results, _AHEAD, "draw")
            with closing(opener), closing(frames):
                _encode(feed, frames, writer, saver, report, progress, cancel)
            report.cancelled = cancel.is_set()
            if report.cancelled and (job.on_cancel == "discard" or not report.frames):
                writer.discard()
                if saver is not None:
                    saver.discard()
            else:
                writer.finish()
                report.written = True
                if saver is not None:
                    saver.finish()
        except BaseException:
            writer.discard()
            if saver is not None and not report.written:
                saver.discard()
            raise
        report.cuts, report.drawn = tally.cuts, tally.drawn
        report.notes += [*feed.notes, *choice.notes, *writer.notes]
        report.notes += _closing_notes(feed, report, tally, choice)
    return report


def drawn(
    video_frames: Iterable[VideoFrame],
    converter: Converter,
    colour: Colour,
    tally: Tally,
    wide: Colours | None = None,
) -> Iterator[VideoFrame]:
    """Draw each frame's plan and paste the result into the frame that it carries.

    Args:
        video_frames: With their plans.
        converter: From RGB.
        colour: Of the frames.
        tally: Counts what is drawn.
        wide: Colours that the drawn ones are converted back to; None for sRGB's.
    """
    try:
        for video_frame in video_frames:
            draws = video_frame.plan is not None and not all(
                s.is_identity for s in video_frame.plan.steps
            )
            if video_frame.plan is not None and video_frame.box is not None and draws:
                tally.drawn += 1
                part = video_frame.box.of(
                    video_frame.opened.draw(video_frame.plan, video_frame.image)
                )
                if wide is not None and video_frame.own is not None:
                    part = wide.back(part, video_frame.box.of(video_frame.own))
                picture = video_frame.carry.picture
                new = converter.from_rgb(part, picture.format.name, colour, picture.height)
                # The decoder may still hold it as a reference for the frames to come.
                picture.make_writable()
                paste(picture, new, video_frame.mask, video_frame.box)
            video_frame.close()
            yield video_frame
    finally:
        close(video_frames)


def _read(feed: Feed, opener: Opener) -> Iterator[VideoFrame]:
    """The composed frames, where they are drawn."""
    return opener.opened(RunAhead(feed.video_frames(), _AHEAD, "compose"), ahead=True)


def _guided(
    video_frames: Iterable[VideoFrame],
    tools: Tools,
    recipe: Recipe,
    smoothing: Smoothing,
    tally: Tally,
) -> Iterator[VideoFrame]:
    keyed = predicted(video_frames, tools, recipe, smoothing, tally)
    return planned(interpolated(keyed), recipe, smoothing)


def _prepared(feed: Feed, output: Path, encoding: Encoding) -> Choice:
    frame = feed.first.frame
    if is_image_output(output):
        choice = choose_images(output, frame.format.name, encoding)
    else:
        interlaced = frame.interlaced_frame
        choice = choose(output, frame.format.name, encoding, feed.size, interlaced)
    feed.prepare(choice.working_format)
    return choice


def _open_writer(feed: Feed, output: Path, choice: Choice) -> Writer:
    reader = feed.reader
    if is_image_output(output):
        start = reader.start if isinstance(reader, SequenceReader) else None
        icc = feed.wide.profile if feed.wide is not None else b""
        return ImageWriter(output, feed.orientation, start, icc)
    return VideoWriter(
        output,
        choice,
        feed.size,
        feed.colour,
        reader.time_base,
        reader.rate,
        reader.aspect,
        feed.matrix,
        reader if isinstance(reader, VideoReader) else None,
    )


def _first_pass(
    tools: Tools,
    inputs: Inputs,
    output: Path,
    job: Job,
    progress: Progress | None,
    cancel: threading.Event,
) -> tuple[Track, Tally]:
    """Predict and measure every frame, unsmoothed, and smooth over past and future."""
    tally = Tally()
    bare = Smoothing(0.0, 0.0, None, job.smoothing.every, job.smoothing.cuts)
    entries = []
    feed = Feed(inputs, job.threads)
    with closing(feed):
        _prepared(feed, output, job.encoding)
        opener = Opener(tools, bare.every, job.recipe.given is None)
        total = feed.reader.frame_count
        guided = _guided(_read(feed, opener), tools, job.recipe, bare, tally)
        looked = RunAhead(guided, _AHEAD, "predict")
        with closing(opener), closing(looked):
            for video_frame in looked:
                video_frame.close()
                entries.append(video_frame.entry())
                if progress is not None:
                    progress("look", len(entries), total)
                if cancel.is_set():
                    break
    filters = next((e.arguments.filters for e in entries if e.arguments is not None), ())
    return Track(filters, entries).smoothed(job.smoothing), tally


def _encode(
    feed: Feed,
    frames: Iterable[VideoFrame],
    writer: Writer,
    saver: TrackWriter | None,
    report: Report,
    progress: Progress | None,
    cancel: threading.Event,
) -> None:
    total = feed.reader.frame_count
    for video_frame in frames:
        carry: Carried = video_frame.carry
        for packet in carry.packets:
            writer.copy(packet)
        carry.picture.pts, carry.picture.time_base = carry.pts, feed.reader.time_base
        writer.write(carry.picture)
        report.frames += 1
        if saver is not None:
            saver.add(video_frame.entry())
        if progress is not None:
            progress("harmonize", report.frames, total)
        if cancel.is_set():
            return
    for packet in feed.trailing:
        writer.copy(packet)


def _closing_notes(feed: Feed, report: Report, tally: Tally, choice: Choice) -> list[str]:
    notes = feed.closing_notes(not report.cancelled)
    if feed.captions and not choice.captions:
        notes.append(
            f"{feed.captions} frames have closed captions, which {choice.codec} does not write"
        )
    empty = report.frames - tally.drawn
    if empty and not report.cancelled:
        notes.append(f"{empty} of {report.frames} frames have nothing to draw and stay as they are")
    for concern, count in tally.concerns.items():
        if count:
            notes.append(f"in {count} frames {concern}")
    return notes
