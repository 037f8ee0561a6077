"""`cals synthetic`: people who never lived, as a folder that `cals train` takes."""

import dataclasses
import json
import logging
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from cals.data.offset import MAX_SHIFT, loudness, offset_curve
from cals.data.segments import encoded
from cals.data.shards import Sample, read_shard, write_shard, writing
from cals.data.synthetic import VERSION
from cals.data.synthetic.drawing import Portrait
from cals.data.synthetic.flite import flite_speech
from cals.data.synthetic.geometry import geometry, posed
from cals.data.synthetic.grammar import F64, PhoneOrder, Spoken, chain_of, draw_lexicon, speak, speak_words
from cals.data.synthetic.mouth import Dominance, frame_times, mouth_at
from cals.data.synthetic.oracle import oracle_curve
from cals.data.synthetic.people import FRAME_PX, Speaker, motion, scene, speaker
from cals.data.synthetic.sound import SAMPLE_RATE_HZ, synthesised
from cals.errors import ConfigError, DataError
from cals.face.align import CROP_SIZE_PX, Aligner
from cals.face.draw import contact_sheet
from cals.face.landmarks import mouth_opening
from cals.files import replacing
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoFormat
from cals.media.writer import VideoWriter
from cals.types import F32, U8, ProgressCallback, TrackedFace

logger = logging.getLogger(__name__)

FPS = 25
SHARD_CLIPS = 16
"""What an interruption costs at most."""
LONGEST_S = 10.0
"""As `cals prepare` cuts them."""
_ORACLE_KS = tuple(range(26))
_SHEET_FRAMES, _SHEET_CLIPS = 8, 6
_UNSEEN_FROM = 3
"""Of so many speakers or more the last is kept for `val_unseen`."""


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Everything a corpus depends on, but the generator's version."""

    clips: int = 100
    speakers: int = 10
    dominance: Dominance = dataclasses.field(default_factory=Dominance)
    seed: int = 0
    phones: PhoneOrder = "english"
    seconds: float = 4.0
    voice: Literal["formant", "flite"] = "formant"
    videos: bool = False
    vocabulary: int = 0
    """Words that sentences are made of, in any order; 0: words as the chain of phones makes them, ever new."""

    def __post_init__(self) -> None:
        if self.clips < 1 or not 1 <= self.speakers <= 99:
            raise ConfigError(f"synthetic: expected clips >= 1 and 1..99 speakers, found {self}")
        if not 1 <= self.seconds <= LONGEST_S:
            raise ConfigError(f"seconds: expected 1 to {LONGEST_S:g}, found {self.seconds}")
        if self.voice not in ("formant", "flite"):
            raise ConfigError(f"voice: expected formant or flite, found {self.voice!r}")
        if self.vocabulary < 0 or (self.vocabulary and self.voice == "flite"):
            raise ConfigError(
                f"vocabulary: expected 0 or more words, of the formant voice, found {self.vocabulary} of {self.voice}"
            )
        chain_of(self.phones)

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)


def rng_of(seed: int, what: str, number: int) -> np.random.Generator:
    """Random numbers for one thing of one clip: with another reach the same people say the same."""
    return np.random.default_rng([seed, *what.encode(), number])


@lru_cache(maxsize=4)
def lexicon_of(config: SyntheticConfig) -> list[tuple[int, ...]]:
    """The words of a corpus, as states of its chain of phones."""
    return draw_lexicon(chain_of(config.phones), config.vocabulary, rng_of(config.seed, "lexicon", 0))


def spoken_clip(config: SyntheticConfig, index: int) -> tuple[Speaker, Spoken, F32, F64]:
    """Who says what in a clip, its sound [n] at 16 kHz, and its mouth [t 3]: all but the picture."""
    who = speaker(index % config.speakers, config.seed)
    words = rng_of(config.seed, "words", index)
    seconds = config.frames / FPS
    if config.voice == "flite":
        spoken, wav = flite_speech(seconds, index % config.speakers, words)
    else:
        chain, tempo = chain_of(config.phones), who.voice.tempo
        if config.vocabulary:
            spoken = speak_words(chain, lexicon_of(config), seconds, words, tempo)
        else:
            spoken = speak(chain, seconds, words, tempo)
        wav = synthesised(spoken, who.voice, rng_of(config.seed, "sound", index))
    return who, spoken, wav, mouth_at(spoken, frame_times(config.frames), config.dominance)


def drawn_clip(config: SyntheticConfig, index: int, on_frames: Callable[[list[U8], F32], None] | None = None) -> Sample:
    """One clip as `cals prepare` would have it; `on_frames` gets the full frames and the sound."""
    who, spoken, wav, mouth = spoken_clip(config, index)
    portrait = Portrait.of(geometry(), who.look, scene(rng_of(config.seed, "scene", index)))
    moves = motion(config.frames, rng_of(config.seed, "motion", index))
    points = posed(portrait.geometry.faces(who.shape, mouth, moves.lids), moves).astype(np.float32)
    aligner = Aligner(CROP_SIZE_PX)
    crops, landmarks = [], []
    for i, face in enumerate(points):
        seen = TrackedFace(
            index=i, time_s=Fraction(i, FPS), valid=True, track=0, cut=False, score=1.0, box=None, landmarks=face
        )
        transform = aligner.update(seen)
        crops.append(portrait.draw(face.astype(np.float64), transform.matrix, CROP_SIZE_PX))
        landmarks.append(transform.landmarks(face))
    if on_frames is not None:
        whole = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        on_frames([portrait.draw(face.astype(np.float64), whole, FRAME_PX) for face in points], wav)
    name = f"{who.name}/c{index:05d}"
    opening = np.array([mouth_opening(face) for face in landmarks])
    curve = offset_curve(opening, loudness(wav, SAMPLE_RATE_HZ // FPS, config.frames))
    facts = {
        "clip": name,
        "speaker": who.name,
        "start_frame": 0,
        "frames": config.frames,
        "words": [list(word) for word in spoken.words] or None,
        "offset_corrected_frames": 0,
        "sync_correlation": round(float(curve[MAX_SHIFT - 1 : MAX_SHIFT + 2].max()), 4),
        "phones": [list(phone) for phone in spoken.timed()],
        "mouth": mouth.round(4).tolist(),
    }
    return Sample(
        key=f"{name.replace('/', '-')}-000000",
        crops=encoded(crops, FPS),
        wav=wav,
        landmarks=np.stack(landmarks).astype(np.float16),
        facts=facts,
    )


def generate(out: Path, config: SyntheticConfig, progress: ProgressCallback | None = None) -> dict[str, Any]:
    """Write shards, `manifest.jsonl`, `splits.json`, `synthetic.json`, `sheet.png` and, if asked, `videos/` into `out`.

    Interrupted, it goes on with the shards that are not there yet. Returns what `synthetic.json` holds. Raises
    DataError when `out` is finished, is being made with other parameters, or cannot be written.
    """
    document: dict[str, Any] = json.loads(json.dumps({"generator": VERSION, "parameters": dataclasses.asdict(config)}))
    _begin(out, document)
    done = 0
    lines: list[str] = []
    total_frames = 0
    for number, first in enumerate(range(0, config.clips, SHARD_CLIPS)):
        indices = range(first, min(first + SHARD_CLIPS, config.clips))
        shard = out / f"shard-{number:05d}.tar"
        if not shard.exists():
            write_shard(shard, _counted(config, out, indices, progress))
        # What was written is read again: a shard that cannot be is never in the manifest.
        for sample in read_shard(shard):
            lines.append(json.dumps({"key": sample.key, "shard": shard.name} | sample.facts))
            total_frames += int(sample.facts["frames"])
        done += len(indices)
        if progress is not None:
            progress(done, config.clips)
    if len(lines) != config.clips:
        raise DataError(
            f"{out}: expected {config.clips} clips in its shards, found {len(lines)}; remove it, start anew"
        )
    document |= {"samples": len(lines), "frames": total_frames, "true_window": _true_window(config)}
    _sheet(out / "sheet.png", out, config)
    _write(out / "splits.json", json.dumps(_splits(config), indent=1))
    _write(out / "synthetic.json", json.dumps(document, indent=1))
    _write(out / "manifest.jsonl", "\n".join(lines))
    return document


def _begin(out: Path, document: dict[str, Any]) -> None:
    with writing(out):
        if (out / "manifest.jsonl").exists():
            raise DataError(
                f"{out}: expected a folder not made yet, found a manifest; remove it or name another folder"
            )
        out.mkdir(parents=True, exist_ok=True)
    note = out / "synthetic.json"
    if note.exists():
        found = json.loads(note.read_text(encoding="utf-8"))
        if {name: found.get(name) for name in document} != document:
            raise DataError(
                f"{out}: expected to go on with the same parameters and generator, found others in {note.name}; give "
                "those, or name another folder"
            )
        return
    if any(out.iterdir()):
        raise DataError(f"{out}: expected a new or empty folder, found files; name another folder")
    _write(note, json.dumps(document, indent=1))


def _counted(config: SyntheticConfig, out: Path, indices: range, progress: ProgressCallback | None) -> Iterator[Sample]:
    for index in indices:
        if progress is not None:
            progress(index, config.clips)
        yield drawn_clip(config, index, _video_writer(out, config, index) if config.videos else None)


def _video_writer(out: Path, config: SyntheticConfig, index: int) -> Callable[[list[U8], F32], None]:
    who = speaker(index % config.speakers, config.seed).name
    path = out / "videos" / who / f"c{index:05d}.mp4"

    def write(frames: list[U8], wav: F32) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, wav)

    return write


def write_video(path: Path, frames: list[U8], wav: F32) -> None:
    """Frames [h w 3] at 25 fps with their sound at 16 kHz as a video that plays anywhere."""
    pictures = [from_rgb(pixels) for pixels in frames]
    like = VideoFormat(
        width=pictures[0].width,
        height=pictures[0].height,
        pix_fmt=pictures[0].format.name,
        time_base=Fraction(1, FPS),
        rate=Fraction(FPS),
        colorspace=int(pictures[0].colorspace),
        color_range=int(pictures[0].color_range),
    )
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        with wave.open(str(sound), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE_HZ)
            file.writeframes((np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes())
        with VideoWriter(path, like, audio=sound, force=True, preset="veryfast") as writer:
            for i, picture in enumerate(pictures):
                writer.write(Frame(picture, i, Fraction(i, FPS), Fraction(1, FPS)))


def _true_window(config: SyntheticConfig) -> dict[str, Any]:
    """What the context study should find."""
    found: dict[str, Any] = {"support_s": config.dominance.support_s}
    if config.voice == "formant" and not config.vocabulary:  # of words there is no chain of phones
        curve = oracle_curve(chain_of(config.phones), config.dominance, _ORACLE_KS, seed=config.seed, moments=1000)
        found |= {
            "window_95_s": round(curve.window_s(), 4),
            "window_95_of_gain_s": round(curve.window_s(gain=True), 4),
            "explained": dict(zip(map(str, curve.ks), curve.mean.round(4).tolist(), strict=True)),
        }
    return found


def _splits(config: SyntheticConfig) -> dict[str, list[str]]:
    """Clip names of the parts: 3 % of the clips, one at least, are held out, and the last of three or more speakers."""
    names = [(f"p{i % config.speakers:02d}", f"p{i % config.speakers:02d}/c{i:05d}") for i in range(config.clips)]
    stranger = f"p{config.speakers - 1:02d}" if config.speakers >= _UNSEEN_FROM else ""
    seen = [name for who, name in names if who != stranger]
    held_out = max(1, round(0.03 * config.clips)) if len(seen) > 1 else 0
    return {
        "train": seen[: len(seen) - held_out],
        "val_seen": seen[len(seen) - held_out :],
        "val_unseen": [name for who, name in names if who == stranger],
    }


def _sheet(path: Path, out: Path, config: SyntheticConfig) -> None:
    """Some frames of one clip of each of the first speakers."""
    from cals.data.store import decoded

    pictures: list[U8] = []
    labels: list[str] = []
    for sample in read_shard(out / "shard-00000.tar"):
        crops = decoded(sample.crops, config.frames)
        which = np.linspace(0.2 * config.frames, 0.8 * config.frames, _SHEET_FRAMES).astype(int)
        pictures += [crops[i] for i in which]
        labels += [sample.facts["speaker"], *[""] * (_SHEET_FRAMES - 1)]
        if len(pictures) >= _SHEET_FRAMES * min(_SHEET_CLIPS, config.speakers):
            break
    picture = cv2.imencode(".png", cv2.cvtColor(contact_sheet(pictures, _SHEET_FRAMES, labels), cv2.COLOR_RGB2BGR))[1]
    with writing(path), replacing(path) as partial:
        partial.write_bytes(picture.tobytes())


def _write(path: Path, text: str) -> None:
    with writing(path), replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
