"""Harmonized video: files with `harmonize_video`, frames from anywhere with `harmonize_frames`.

The stages are iterators; those that work on files run in threads with bounded queues between them:
read -> compose -> predict, smooth, measure -> draw -> encode. docs/video.md describes them.
"""

from harmonizer.masks import Levels
from harmonizer.video.encoders import Encoding
from harmonizer.video.errors import VideoError
from harmonizer.video.frames import Harmonized, harmonize_frames
from harmonizer.video.inputs import Inputs
from harmonizer.video.job import Job, Report
from harmonizer.video.pipeline import harmonize_video
from harmonizer.video.smoothing import OFF, Smoothing
from harmonizer.video.track import Track

__all__ = [
    "OFF",
    "Encoding",
    "Harmonized",
    "Inputs",
    "Job",
    "Levels",
    "Report",
    "Smoothing",
    "Track",
    "VideoError",
    "harmonize_frames",
    "harmonize_video",
]
