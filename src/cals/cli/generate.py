"""`cals generate`: the main job."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals import hub
from cals.cli.progress import show_progress


def generate(
    *,
    face: Path,
    audio: Path,
    out: Annotated[Path, tyro.conf.arg(aliases=["--outfile"])],
    model: str = hub.DEFAULT_MODEL,
    pose: Path | None = None,
    length: Literal["bounce", "loop", "audio", "video"] = "bounce",
    person: str = "largest",
    strength: float = 1.0,
    covered: Literal["keep", "draw"] = "keep",
    audio_track: str | None = None,
    keep_tracks: bool = True,
    size: int | None = None,
    codec: str = "auto",
    crf: int | None = None,
    preset: str | None = None,
    face_models: Path | None = None,
    device: str = "cpu",
    batch: int = 8,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    report: Path | None = None,
    keep_going: bool = False,
    force: bool = False,
    provenance: bool = True,
) -> None:
    """Make the face of a video or photo say a speech.

    Use it only on people who agreed to it; the result carries a note that it is synthetic.

    Args:
        face: Video or image with the face.
        audio: Speech: any sound file, or a video with sound.
        out: The video to write: .mp4, .m4v, .mov, .mkv or .webm.
        model: A name from `cals models list`, or a checkpoint folder.
        pose: With a model of PC-AVS or Audio2Head and a photo: a video whose head the photo's is held like, played back
            and forth; the output is the face's crop. Without it a face keeps its pose, but for photos by Audio2Head.
        length: When sound and picture differ in length: `bounce` plays a shorter video back and forth and cuts a
            longer one, `loop` starts a shorter one again, `audio` holds its last frame, `video` keeps the
            picture's length and the mouth rests after the speech.
        person: Whom to follow: largest, left, right, a number counted from the left, or x,y@seconds.
        strength: How much the mouth moves, 0.5 to 1.5; 1 is as this person does.
        covered: A mouth with a hand, a microphone, a mask or text before it: `keep` leaves it as it is, `draw` draws
            over it.
        audio_track: Which of several sound tracks of `audio` drives: a number from 1 on, or a language such as eng.
        keep_tracks: Carry further sound tracks, subtitles and chapters of `face` over, where the output can hold them.
        size: Longest side in pixels of a video made of a photo; 4096 unless given. Positions in `person` count in its
            pixels.
        codec: Video encoder; `auto` picks one that players know.
        crf: Quality, lower is better; the default is near visually lossless.
        preset: Encoder speed, as the encoder names it.
        face_models: Folder with the two face networks, for machines without a network.
        device: Where the model runs, as torch names it.
        batch: Frames rendered at once.
        precision: What mouths are drawn in; `auto` is bf16 where that is faster, else fp32.
        report: Write what happened to every frame to this JSON file.
        keep_going: Use what can be decoded of a damaged video or sound.
        force: Overwrite an existing output.
        provenance: Note in the file that the mouth is generated.
    """
    from cals.inference.lipsync import LipSync

    lips = LipSync(model, face_models=face_models, device=device, batch=batch, precision=precision)
    with show_progress("generating") as progress:
        result = lips.generate(
            face,
            audio,
            out,
            pose=pose,
            length=length,
            person=person,
            strength=strength,
            covered=covered,
            audio_track=audio_track,
            keep_tracks=keep_tracks,
            size=size,
            keep_going=keep_going,
            codec=codec,
            crf=crf,
            preset=preset,
            force=force,
            provenance=provenance,
            report=report,
            progress=progress,
        )
    print(f"{out}: {result.line()}")
