"""`cals synthetic`: a corpus of synthetic people, as a folder that `cals train` takes."""

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

import numpy as np

from cals.data.offset import MAX_SHIFT, compute_loudness, compute_offset_curve
from cals.data.segments import encode_crops
from cals.data.shards import Sample, convert_write_errors, read_shard, write_shard
from cals.data.synthetic import VERSION
from cals.data.synthetic.drawing import Portrait
from cals.data.synthetic.flite import synthesize_flite
from cals.data.synthetic.geometry import apply_head_motion, load_geometry
from cals.data.synthetic.grammar import F64, PhoneOrder, PhoneSequence, build_chain, draw_lexicon, speak, speak_words
from cals.data.synthetic.mouth import Dominance, compute_frame_times, compute_mouth
from cals.data.synthetic.oracle import compute_oracle_curve
from cals.data.synthetic.people import FRAME_PX, Speaker, sample_head_motion, sample_scene, sample_speaker
from cals.data.synthetic.sound import SAMPLE_RATE_HZ, synthesize
from cals.errors import ConfigError, DataError
from cals.face.align import CROP_SIZE_PX, Aligner
from cals.face.draw import encode_png, render_contact_sheet
from cals.face.landmarks import measure_mouth_opening
from cals.files import replace_atomically
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.media.reader import VideoFormat
from cals.media.writer import VideoWriter
from cals.options import EncodeOptions
from cals.types import F32, U8, ProgressCallback, TrackedFace

logger = logging.getLogger(__name__)

FPS = 25
SHARD_CLIPS = 16
"""Clips in a shard: the most that an interruption costs."""
MAX_CLIP_S = 10.0
"""Longest clip, as `cals prepare` cuts them."""
_ORACLE_KS = tuple(range(26))
_SHEET_FRAMES, _SHEET_CLIPS = 8, 6
_UNSEEN_FROM = 3
"""With so many speakers or more the last one is kept for `val_unseen`."""


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Parameters of a corpus; together with the generator's version they determine it."""

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
        if not 1 <= self.seconds <= MAX_CLIP_S:
            raise ConfigError(f"seconds: expected 1 to {MAX_CLIP_S:g}, found {self.seconds}")
        if self.voice not in ("formant", "flite"):
            raise ConfigError(f"voice: expected formant or flite, found {self.voice!r}")
        if self.vocabulary < 0 or (self.vocabulary and self.voice == "flite"):
            raise ConfigError(
                f"vocabulary: expected 0 or more words, of the formant voice, found {self.vocabulary} of {self.voice}"
            )
        build_chain(self.phones)

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return round(self.seconds * FPS)


def build_rng(seed: int, what: str, number: int) -> np.random.Generator:
    """Build the random generator of one thing of one clip: with another reach the same people say the same."""
    return np.random.default_rng([seed, *what.encode(), number])


@lru_cache(maxsize=4)
def build_lexicon(config: SyntheticConfig) -> list[tuple[int, ...]]:
    """Sample the words of a corpus, as states of its chain of phones."""
    return draw_lexicon(build_chain(config.phones), config.vocabulary, build_rng(config.seed, "lexicon", 0))


def synthesize_clip(config: SyntheticConfig, index: int) -> tuple[Speaker, PhoneSequence, F32, F64]:
    """Synthesise a clip without its picture: speaker, speech, sound [n] at 16 kHz, and mouth [t 3]."""
    person = sample_speaker(index % config.speakers, config.seed)
    words_rng = build_rng(config.seed, "words", index)
    seconds = config.frames / FPS
    if config.voice == "flite":
        spoken, wav = synthesize_flite(seconds, index % config.speakers, words_rng)
    else:
        chain, tempo = build_chain(config.phones), person.voice.tempo
        if config.vocabulary:
            spoken = speak_words(chain, build_lexicon(config), seconds, words_rng, tempo)
        else:
            spoken = speak(chain, seconds, words_rng, tempo)
        wav = synthesize(spoken, person.voice, build_rng(config.seed, "sound", index))
    return person, spoken, wav, compute_mouth(spoken, compute_frame_times(config.frames), config.dominance)


def render_clip(
    config: SyntheticConfig, index: int, on_frames: Callable[[list[U8], F32], None] | None = None
) -> Sample:
    """Render one clip as a sample of `cals prepare`; `on_frames` receives the full frames and the sound."""
    person, spoken, wav, mouth = synthesize_clip(config, index)
    portrait = Portrait.of(load_geometry(), person.appearance, sample_scene(build_rng(config.seed, "scene", index)))
    head_motion = sample_head_motion(config.frames, build_rng(config.seed, "motion", index))
    points = apply_head_motion(
        portrait.geometry.build_faces(person.shape, mouth, head_motion.lids), head_motion
    ).astype(np.float32)
    aligner = Aligner(CROP_SIZE_PX)
    crops, landmarks = [], []
    for i, face in enumerate(points):
        tracked = TrackedFace(
            index=i, time_s=Fraction(i, FPS), valid=True, track=0, cut=False, score=1.0, box=None, landmarks=face
        )
        transform = aligner.update(tracked)
        crops.append(portrait.draw(face.astype(np.float64), transform.matrix, CROP_SIZE_PX))
        landmarks.append(transform.map_landmarks(face))
    if on_frames is not None:
        identity = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        on_frames([portrait.draw(face.astype(np.float64), identity, FRAME_PX) for face in points], wav)
    name = f"{person.name}/c{index:05d}"
    opening = np.array([measure_mouth_opening(face) for face in landmarks])
    curve = compute_offset_curve(opening, compute_loudness(wav, SAMPLE_RATE_HZ // FPS, config.frames))
    facts = {
        "clip": name,
        "speaker": person.name,
        "start_frame": 0,
        "frames": config.frames,
        "words": [list(word) for word in spoken.words] or None,
        "offset_corrected_frames": 0,
        "sync_correlation": round(float(curve[MAX_SHIFT - 1 : MAX_SHIFT + 2].max()), 4),
        "phones": [list(phone) for phone in spoken.list_times()],
        "mouth": mouth.round(4).tolist(),
    }
    return Sample(
        key=f"{name.replace('/', '-')}-000000",
        crops=encode_crops(crops, FPS),
        wav=wav,
        landmarks=np.stack(landmarks).astype(np.float16),
        facts=facts,
    )


def generate_corpus(out: Path, config: SyntheticConfig, progress: ProgressCallback | None = None) -> dict[str, Any]:
    """Write shards, `manifest.jsonl`, `splits.json`, `synthetic.json`, `sheet.png` and, if asked, `videos/` into `out`.

    An interrupted run resumes with the missing shards. Returns the contents of `synthetic.json`. Raises DataError when
    `out` is finished, is being made with other parameters, or cannot be written.
    """
    document: dict[str, Any] = json.loads(json.dumps({"generator": VERSION, "parameters": dataclasses.asdict(config)}))
    _claim_folder(out, document)
    done = 0
    lines: list[str] = []
    total_frames = 0
    for number, first in enumerate(range(0, config.clips, SHARD_CLIPS)):
        indices = range(first, min(first + SHARD_CLIPS, config.clips))
        shard = out / f"shard-{number:05d}.tar"
        if not shard.exists():
            write_shard(shard, _render_clips(config, out, indices, progress))
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
    document |= {"samples": len(lines), "frames": total_frames, "true_window": _compute_true_window(config)}
    _write_sheet(out / "sheet.png", out, config)
    _write(out / "splits.json", json.dumps(_build_splits(config), indent=1))
    _write(out / "synthetic.json", json.dumps(document, indent=1))
    _write(out / "manifest.jsonl", "\n".join(lines))
    return document


def _claim_folder(out: Path, document: dict[str, Any]) -> None:
    """Write the settings into a new folder; DataError where it is finished, or holds other settings or files."""
    with convert_write_errors(out):
        if (out / "manifest.jsonl").exists():
            raise DataError(
                f"{out}: expected a folder not made yet, found a manifest; remove it or name another folder"
            )
        out.mkdir(parents=True, exist_ok=True)
    note = out / "synthetic.json"
    if note.exists():
        existing = json.loads(note.read_text(encoding="utf-8"))
        if {name: existing.get(name) for name in document} != document:
            raise DataError(
                f"{out}: expected to go on with the same parameters and generator, found others in {note.name}; give "
                "those, or name another folder"
            )
        return
    if any(out.iterdir()):
        raise DataError(f"{out}: expected a new or empty folder, found files; name another folder")
    _write(note, json.dumps(document, indent=1))


def _render_clips(
    config: SyntheticConfig, out: Path, indices: range, progress: ProgressCallback | None
) -> Iterator[Sample]:
    """Render clips one by one, reporting progress."""
    for index in indices:
        if progress is not None:
            progress(index, config.clips)
        yield render_clip(config, index, _build_video_writer(out, config, index) if config.videos else None)


def _build_video_writer(out: Path, config: SyntheticConfig, index: int) -> Callable[[list[U8], F32], None]:
    name = sample_speaker(index % config.speakers, config.seed).name
    path = out / "videos" / name / f"c{index:05d}.mp4"

    def write(frames: list[U8], wav: F32) -> None:
        with convert_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, frames, wav)

    return write


def write_video(path: Path, frames: list[U8], wav: F32) -> None:
    """Write frames [h w 3] at 25 fps with their sound at 16 kHz as a widely playable video."""
    pictures = [from_rgb(pixels) for pixels in frames]
    video_format = VideoFormat(
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
        with VideoWriter(
            path, video_format, audio=sound, force=True, encode=EncodeOptions(preset="veryfast")
        ) as writer:
            for i, picture in enumerate(pictures):
                writer.write(Frame(picture, i, Fraction(i, FPS), Fraction(1, FPS)))


def _compute_true_window(config: SyntheticConfig) -> dict[str, Any]:
    """Compute the window that the context study should find."""
    window: dict[str, Any] = {"support_s": config.dominance.support_s}
    if config.voice == "formant" and not config.vocabulary:  # of words there is no chain of phones
        curve = compute_oracle_curve(
            build_chain(config.phones), config.dominance, _ORACLE_KS, seed=config.seed, moments=1000
        )
        window |= {
            "window_95_s": round(curve.window_s(), 4),
            "window_95_of_gain_s": round(curve.window_s(gain=True), 4),
            "explained": dict(zip(map(str, curve.ks), curve.mean.round(4).tolist(), strict=True)),
        }
    return window


def _build_splits(config: SyntheticConfig) -> dict[str, list[str]]:
    """Split the clip names: 3 % of the clips, one at least, are held out, and the last of three or more speakers."""
    names = [(f"p{i % config.speakers:02d}", f"p{i % config.speakers:02d}/c{i:05d}") for i in range(config.clips)]
    unseen = f"p{config.speakers - 1:02d}" if config.speakers >= _UNSEEN_FROM else ""
    seen = [name for speaker_name, name in names if speaker_name != unseen]
    held_out = max(1, round(0.03 * config.clips)) if len(seen) > 1 else 0
    return {
        "train": seen[: len(seen) - held_out],
        "val_seen": seen[len(seen) - held_out :],
        "val_unseen": [name for speaker_name, name in names if speaker_name == unseen],
    }


def _write_sheet(path: Path, out: Path, config: SyntheticConfig) -> None:
    """Write a contact sheet: some frames of one clip of each of the first speakers."""
    from cals.data.store import decode_crops

    pictures: list[U8] = []
    labels: list[str] = []
    for sample in read_shard(out / "shard-00000.tar"):
        crops = decode_crops(sample.crops, config.frames)
        indices = np.linspace(0.2 * config.frames, 0.8 * config.frames, _SHEET_FRAMES).astype(int)
        pictures += [crops[i] for i in indices]
        labels += [sample.facts["speaker"], *[""] * (_SHEET_FRAMES - 1)]
        if len(pictures) >= _SHEET_FRAMES * min(_SHEET_CLIPS, config.speakers):
            break
    with convert_write_errors(path), replace_atomically(path) as partial:
        partial.write_bytes(encode_png(render_contact_sheet(pictures, _SHEET_FRAMES, labels)))


def _write(path: Path, text: str) -> None:
    with convert_write_errors(path), replace_atomically(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
