"""`cals corrupt`: a video with a hidden mouth and drowned speech, to test recognition with."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from cals.cli.progress import show_progress


def corrupt(
    video: Annotated[Path, tyro.conf.Positional],
    out: Annotated[Path, tyro.conf.Positional],
    *,
    streams: Literal["audio", "video", "both"] = "both",
    seed: int = 0,
    kind: tuple[str, ...] = (),
    snr_db: tuple[float, ...] = (),
    babble: Path | None = None,
    truth: Path | None = None,
    person: str = "largest",
    keep_going: bool = False,
    face_models: Path | None = None,
    force: bool = False,
) -> None:
    """Corrupt a video with bursts of hidden mouth and noisy speech, and record when: to test audio-visual recognition.

    Args:
        video: The video.
        out: The video to write: .mp4, .m4v, .mov, .mkv or .webm.
        streams: What is corrupted.
        seed: Seed of all that is random: the same video and seed give the same bursts.
        kind: One or more of patch, noise, blur (picture), babble, white, pink, music, dropout (sound); default: all.
            A stream none of whose kinds is named is left as it is.
        snr_db: Level of the speech over noise beside it: one number, or the lowest and the highest (0 to 15).
        babble: Folder of sound or video files to mix babble from; without it, babble is the video's own speech, shifted
            and partly reversed.
        truth: The JSON file for the ground truth; default: beside the output, with `.truth.json`.
        person: Whose mouth: largest, left, right, a number counted from the left, or x,y@seconds.
        keep_going: Use what can be decoded of a damaged video.
        face_models: Folder with the two face networks, for machines without a network.
        force: Overwrite existing outputs.
    """
    from cals.data.corruption.config import choose_config
    from cals.inference.corrupt import corrupt_video

    truth = truth or out.with_suffix(".truth.json")
    with show_progress("corrupting") as progress:
        counts = corrupt_video(
            video,
            out,
            truth=truth,
            config=choose_config(streams, kind, snr_db),
            seed=seed,
            babble=babble,
            person=person,
            keep_going=keep_going,
            face_models=face_models,
            force=force,
            progress=progress,
        )
    print(
        f"{out}, {truth}: of {counts['frames']} frames the mouth is corrupted in {counts['video']}, the sound in "
        f"{counts['audio']}; {counts['missed']} drawn for it show no mouth and are left as they are"
    )
