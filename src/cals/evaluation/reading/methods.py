"""Methods that are compared on a real clip's face: models, and videos made by other systems."""

from collections.abc import Sequence
from pathlib import Path

from cals.data.manifest import ClipSource
from cals.data.sources import folder
from cals.errors import ConfigError, DataError
from cals.evaluation.drives import AlignedFaces, RealClip
from cals.evaluation.outputs import COPY, REAL, build_copy_output, build_real_output, generate_output, read_output
from cals.evaluation.reading.readings import BASELINES
from cals.face.detector import FaceDetector
from cals.inference.lipsync import LipSync


class Methods:
    """Models, and folders with videos that another system made."""

    def __init__(self, models: dict[str, LipSync], generated: Sequence[Path], detector: FaceDetector) -> None:
        self._models, self._detector = models, detector
        self._videos: dict[str, dict[str, Path]] = {}
        for place in generated:
            name = place.resolve().name
            if name in self._videos or name in models:
                raise ConfigError(f"{place}: expected methods of different names, found another {name!r}; rename it")
            self._videos[name] = {clip.name: clip.video for clip in folder.list_clips(place)}
        reserved = [name for name in (*models, *self._videos) if name in BASELINES]
        if reserved:
            raise ConfigError(
                f"methods: expected other names than {', '.join(BASELINES)}, found {reserved[0]!r}; rename it"
            )

    def check(self, clips: Sequence[ClipSource]) -> None:
        """Raise DataError unless there is a video of every clip."""
        for name, videos in self._videos.items():
            missing = [clip.name for clip in clips if clip.name not in videos]
            if missing:
                raise DataError(
                    f"{name}: expected a video of every clip, as SPEAKER/CLIP.mp4, found none of {len(missing)}, for "
                    f"example {missing[0]}; make them, or read fewer clips"
                )

    def track_methods(self, clip: RealClip) -> dict[str, AlignedFaces]:
        """Return the tracked face of a clip by method."""
        video_path, detector = clip.source.video, self._detector
        shown_by = {REAL: build_real_output(clip), COPY: build_copy_output(clip, detector)}
        shown_by |= {name: generate_output(clip, video_path, lips, detector) for name, lips in self._models.items()}
        videos = {name: of_clip[clip.source.name] for name, of_clip in self._videos.items()}
        shown_by |= {name: read_output(clip, video, detector) for name, video in videos.items()}
        return {name: shown.faces for name, shown in shown_by.items()}
