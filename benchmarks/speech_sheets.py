"""The pictures of docs/speaking.md: what generated mouths look like, on GRID's held-out clips and on a photo.

python benchmarks/speech_sheets.py ../shared/corpus/grid --splits ../shared/corpus/splits.json --out docs
"""

import argparse
import json
import tempfile
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from cals import hub
from cals.data.manifest import ClipSource
from cals.data.sources import grid
from cals.evaluation.drives import RealClip, read_clip, roll_sound
from cals.evaluation.outputs import generate_output
from cals.face.detector import BlazeFaceMesh, FaceDetector, FaceModels
from cals.face.draw import render_contact_sheet
from cals.face.tracker import FaceTracker
from cals.inference.frame_tracker import track_and_align
from cals.inference.lipsync import LipSync
from cals.types import U8

EXAMPLES = Path(__file__).parents[1] / "examples"
COLUMNS = 12


def save(path: Path, picture: U8) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    print(path)


def lower(crops: U8) -> list[U8]:
    """Nose to chin, twice as large: what speaks."""
    return [cv2.resize(crop[52:124, 22:106], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for crop in crops]


def strip(rows: list[tuple[str, U8]], columns: int, texts: list[str] | None = None) -> U8:
    labels = [
        f"{name} {texts[i]}" if texts and row == 0 else (name if i == 0 else "")
        for row, (name, _) in enumerate(rows)
        for i in range(columns)
    ]
    return render_contact_sheet([picture for _, crops in rows for picture in crops], columns, labels)


def self_and_cross(clip: RealClip, other: RealClip, lips: LipSync, detector: FaceDetector) -> U8:
    """The face, the real mouth whose (rolled) sound is heard, and the face saying it."""
    with tempfile.TemporaryDirectory() as place:
        sound = Path(place) / "rolled.wav"
        roll_sound(other, sound)
        crossed = generate_output(clip, sound, lips, detector).faces
    own = generate_output(clip, clip.source.video, lips, detector).faces
    count = min(len(clip.frames), len(other.frames))
    at = np.linspace(10, count - 12, COLUMNS).round().astype(int)
    heard = np.roll(np.arange(len(other.frames)), len(other.frames) // 2)[at]
    rows = [
        ("the face", clip.faces.crops[at]),
        ("said by itself", own.crops[at]),
        ("another sentence", other.faces.crops[heard]),
        ("said by the face", crossed.crops[at]),
    ]
    return strip([(name, np.stack(lower(crops))) for name, crops in rows], COLUMNS)


def closures(clips: list[RealClip], lips: LipSync, detector: FaceDetector) -> U8:
    """Frames around the first sound of words that begin with closed lips: real above generated."""
    pictures, labels = [], []
    for clip in clips:
        own = generate_output(clip, clip.source.video, lips, detector).faces
        word = next(w for w in clip.source.words or () if w.text in ("bin", "place"))
        first = int(float(word.start_s) * 25)
        at = np.clip(np.arange(first - 3, first + 9), 0, len(clip.frames) - 1)
        for name, seen in (("real", clip.faces), ("generated", own)):
            pictures += lower(seen.crops[at])
            labels += [f"{name} {word.text}" if i == 0 else "" for i in range(len(at))]
    return render_contact_sheet(pictures, 12, labels)


def photo(lips: LipSync, detector: FaceDetector, face: Path, audio: Path) -> U8:
    """A photo, and the frames of it speaking."""
    with closing(lips.frames(face, audio)) as stream:
        frames = [done.frame for done in stream]
    at = np.linspace(4, len(frames) - 6, 2 * COLUMNS).round().astype(int)
    first = next(iter(track_and_align(frames[:1], FaceTracker(detector), 256)))
    assert first.view is not None
    from cals.face.align import sample_crop

    crops = [sample_crop(frames[i], first.view.transform)[90:250, 40:216] for i in at]
    return render_contact_sheet(crops, COLUMNS, [f"{float(frames[i].time_s):.2f} s" for i in at])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    lips = LipSync(arguments.model)
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models()))
    there: dict[str, ClipSource] = {clip.name: clip for clip in grid.list_clips(arguments.corpus)}
    splits = json.loads(arguments.splits.read_text())
    seen, unseen = sorted(splits["val_seen"]), sorted(splits["val_unseen"])
    pairs = [(unseen[0], unseen[-1]), (unseen[-1], seen[0]), (seen[3], seen[17])]
    sheets = [self_and_cross(*(read_clip(there[n], detector) for n in pair), lips, detector) for pair in pairs]
    width = max(sheet.shape[1] for sheet in sheets)
    sheets = [np.pad(sheet, ((0, 8), (0, width - sheet.shape[1]), (0, 0)), constant_values=255) for sheet in sheets]
    save(arguments.out / "speaking.jpg", np.concatenate(sheets))
    lips_closed = [name for name in seen if {w.text for w in there[name].words or ()} & {"bin", "place"}][:4]
    save(arguments.out / "closures.jpg", closures([read_clip(there[n], detector) for n in lips_closed], lips, detector))
    save(arguments.out / "photo.jpg", photo(lips, detector, EXAMPLES / "astronaut.jpg", EXAMPLES / "speech.wav"))


if __name__ == "__main__":
    main()
