"""A video's face track, as JSON and as a contact sheet."""

import json
from collections import Counter
from functools import partial
from pathlib import Path

import cv2

from cals import hub
from cals.errors import ConfigError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.draw import draw_track, encode_png, render_contact_sheet
from cals.face.record import face_to_record
from cals.inference.even_sampling import EvenSampler
from cals.inference.person_tracker import build_no_face_error, build_tracker
from cals.inference.report import create_file
from cals.media.frame import Frame
from cals.media.reader import VideoReader
from cals.types import U8, ProgressCallback, TrackedFace

SHEET_FRAMES = 24
THUMB_PX = 320


def track_video(
    video: Path,
    track_file: Path,
    sheet_file: Path,
    *,
    person: str = "largest",
    keep_going: bool = False,
    force: bool = False,
    face_models: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Counter[str]:
    """Write the track of one person (JSON, one record a frame) and a contact sheet; return the counts.

    Raises NoFaceError, with nothing written, when no frame has a face.
    """
    if sheet_file.suffix.lower() != ".png":
        raise ConfigError(f"sheet: expected a name ending in .png, found {sheet_file.name}; rename it")
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models(face_models)))
    tracker = build_tracker(video, person, detector, partial(VideoReader, video, keep_going=keep_going))
    counts: Counter[str] = Counter()
    sheet = EvenSampler[U8](SHEET_FRAMES)
    with (
        VideoReader(video, keep_going=keep_going) as reader,
        create_file(track_file, force=force, reserved=(video, sheet_file)) as partial_track,
        create_file(sheet_file, force=force, reserved=(video,)) as partial_sheet,
    ):
        with partial_track.open("w", encoding="utf-8") as lines:
            header = {"video": video.name, "width": reader.width, "height": reader.height}
            lines.write(json.dumps(header)[:-1] + ', "frames": [')
            for frame in reader:
                face = tracker.update(frame, frame.time_s, frame.index)
                lines.write(("," if frame.index else "") + "\n" + json.dumps(face_to_record(face)))
                sheet.offer(frame.index, partial(_draw_thumbnail, frame, face))
                counts.update(["frames", "faces"] if face.valid else ["frames"])
                counts["tracks"] = max(counts["tracks"], face.track + 1 if face.valid else 0)
                if progress is not None:
                    progress(counts["frames"], reader.frame_count_estimate)
            lines.write("\n]}\n")
        if not counts["faces"]:
            raise build_no_face_error(video, person, tracker)
        partial_sheet.write_bytes(encode_png(_build_sheet(sheet.items)))
    return counts


def _draw_thumbnail(frame: Frame, face: TrackedFace) -> U8:
    image = draw_track(frame.rgb(), face)
    height = round(frame.height * THUMB_PX / frame.width)
    return cv2.resize(image, (THUMB_PX, max(1, height)), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _build_sheet(thumbnails: dict[int, U8]) -> U8:
    """Build the contact sheet [h w 3] of thumbnails by frame index."""
    step = -(-len(thumbnails) // SHEET_FRAMES)
    selected = list(thumbnails.items())[::step]
    return render_contact_sheet(
        [image for _, image in selected], columns=6, labels=[f"frame {index}" for index, _ in selected]
    )
