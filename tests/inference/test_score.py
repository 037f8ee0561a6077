"""`SyncScorer`: its parts by themselves, and the whole way on a drawn clip whose light follows its sound."""

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from cals import SyncScorer
from cals.cli import main
from cals.errors import ConfigError, MediaError, NoFaceError
from cals.features.mel import MelConfig, compute_log_mel
from cals.inference.score import MIN_WINDOWS, compute_offset_segments
from cals.inference.sync_distances import (
    BATCH,
    AudioEmbeddings,
    SyncDistances,
    iterate_windows,
    measure_shifts,
    resample_frames,
)
from cals.inference.sync_encoders import CalsEncoders, OriginalSyncNet, slide_windows
from cals.models.interop.mfcc import iterate_mfcc
from cals.models.interop.syncnet import SyncNet
from cals.models.sync import SyncConfig, SyncModel
from cals.types import F32, U8
from drawing import write_video, write_wav

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "grid"
FRAMES = 60
DARK = 0.6


def draw_levels(frames: int = FRAMES, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, frames)


class Flashes:
    """Encoders that know whether the middle of a window is bright, and whether there is a tone."""

    name, fps, frames, crop_px, sample_rate_hz, edges, first_audio_frame = "flashes", 25, 5, 128, 16_000, "drop", 0

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    def extract_crop(self, item: Any, view: Any) -> U8:
        return view.crop[64:]

    def visual(self, windows: U8) -> Tensor:
        is_bright = windows[:, 2].mean(axis=(1, 2, 3)) > self.threshold
        return torch.from_numpy(np.eye(2, dtype=np.float32)[is_bright.astype(int)])

    def audio(self, sound: Iterable[F32]) -> Iterator[Tensor]:
        wav = np.concatenate(list(sound))
        is_loud = np.sqrt((wav[: len(wav) // 640 * 640].reshape(-1, 640) ** 2).mean(axis=1)) > 0.1
        yield torch.from_numpy(np.eye(2, dtype=np.float32)[is_loud.astype(int)])


def draw_tone(levels: np.ndarray) -> F32:
    wave = 0.5 * np.sin(2 * np.pi * 300 * np.arange(640 * len(levels)) / 16_000)
    return (wave * np.repeat(levels, 640)).astype(np.float32)


def build_item(index: int, level: float, track: int | None = 0, step_s: Fraction = Fraction(1, 25)) -> Any:
    """Build a tracked frame; `track` is None where there is no face."""
    frame = SimpleNamespace(time_s=index * step_s, duration_s=step_s)
    view = None if track is None else SimpleNamespace(crop=np.full((128, 128, 3), level, np.float32))
    return SimpleNamespace(frame=frame, face=SimpleNamespace(track=track), view=view)


def measure(items: list[Any], sound: list[F32]) -> SyncDistances:
    *_, shifts = measure_shifts(items, sound, Flashes())
    return shifts


@pytest.mark.parametrize("late", [-9, -1, 0, 4, 10])
def test_sound_that_comes_late_has_a_positive_offset(late: int) -> None:
    levels = draw_levels(90)
    shifts = measure([build_item(i, level) for i, level in enumerate(levels)], [draw_tone(np.roll(levels, late))])
    mean = np.mean(shifts.distances, axis=0)
    assert int(mean.argmin()) - 15 == late
    assert mean.min() < 0.1 < 0.4 < np.median(mean)


def test_every_frame_is_accounted_for() -> None:
    """Two frames at either end have no window, 4 around the gap and the gap's 3, then what the sound does not reach."""
    items = [
        build_item(i, level, track=None if 40 <= i < 43 else int(i >= 43)) for i, level in enumerate(draw_levels(90))
    ]
    shifts = measure(items, [draw_tone(draw_levels(80))])
    assert shifts.frames == 90
    assert shifts.no_face == 2 + 2 + 3 + 4
    assert shifts.frame_indices == [*range(15, 38), *range(45, 65)]
    assert shifts.no_sound == 90 - shifts.no_face - len(shifts.frame_indices)


def test_windows_hold_one_person_and_no_cut() -> None:
    tracks = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, None, 1, 1, 1, 1]
    result = list(iterate_windows([build_item(i, i, track) for i, track in enumerate(tracks)], Flashes()))
    assert [i for i, window in enumerate(result) if window is not None] == [2, 3, 8]
    assert [float(look[0, 0, 0]) for look in result[3] or []] == [1, 2, 3, 4, 5]
    for short in range(5):
        assert list(iterate_windows([build_item(i, 0) for i in range(short)], Flashes())) == [None] * short


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(50), Fraction(12), Fraction(25)])
def test_any_rate_is_read_at_the_encoders_own(rate: Fraction) -> None:
    """Frame n of 1/25 s is what is shown in its middle."""
    items = [build_item(i, 0, step_s=1 / rate) for i in range(int(2 * rate))]
    times_s = [part.frame.time_s for part in resample_frames(items, 25)]
    length_s = len(items) / rate
    assert times_s == [((n + Fraction(1, 2)) / 25 * rate).__floor__() / rate for n in range(round(length_s * 25))]


def test_sound_is_held_only_as_long_as_it_is_needed() -> None:
    audio = AudioEmbeddings((torch.full((25, 3), float(i)) for i in range(200)), first=2)
    assert not audio.slice(-10, 0)[1].any()
    first, valid = audio.slice(-13, 18)
    assert valid.tolist() == [False] * 15 + [True] * 16
    assert first.shape == (31, 3)
    for low in range(2, 4900, 10):
        span, valid = audio.slice(low, low + 31)
        assert valid.all()
        assert span[:, 0].tolist() == [(low + i - 2) // 25 for i in range(31)]
        assert len(audio._embeddings) <= 31 + 2 * 25
    last, valid = audio.slice(4990, 5021)
    assert valid.tolist() == [True] * 12 + [False] * 19
    assert last[:, 0].tolist() == [199.0] * 12 + [0.0] * 19
    assert not audio.slice(5010, 5041)[1].any()


@pytest.mark.parametrize("rows", [7, 40, 43, 44])
def test_sliding_windows_are_those_of_the_whole(rows: int) -> None:
    whole = torch.arange(rows, dtype=torch.float32)[:, None]
    blocks = [whole[:3], whole[3:20], whole[20:21], whole[21:]]
    result = torch.cat(list(slide_windows(iter(blocks), 20, 4, 8, -1.0)))
    ticks = -(-rows // 4)
    padded = torch.cat([torch.full((8, 1), -1.0), whole, torch.full((4 * ticks - rows + 8, 1), -1.0)])
    assert torch.equal(result, padded.unfold(0, 20, 4).transpose(1, 2))
    assert len(result) == ticks
    inside = list(slide_windows(iter(blocks), 20, 4))
    assert sum(map(len, inside)) == max(0, (rows - 20) // 4 + 1)


def test_own_encoders_stream_what_the_model_says_of_a_whole_clip() -> None:
    torch.manual_seed(0)
    model = SyncModel(SyncConfig(crop_px=64, width=4)).eval()
    encoders = CalsEncoders(model, "own")
    rng = np.random.default_rng(0)
    wav = (0.1 * rng.normal(size=30 * 640)).astype(np.float32)
    crops = rng.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    lower = torch.from_numpy(crops[:, 32:]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        visual, audio = model.embed_clip(lower, compute_log_mel(torch.from_numpy(wav[None]), MelConfig())[0])
    streamed = torch.cat(list(encoders.audio(wav[i : i + 1000] for i in range(0, len(wav), 1000))))
    assert torch.allclose(streamed, audio, atol=1e-5)
    inputs = [encoders.extract_crop(None, SimpleNamespace(crop=crop)) for crop in crops]  # type: ignore[arg-type]
    embedded = encoders.visual(np.stack([np.stack(inputs[i - 2 : i + 3]) for i in range(2, 28)]))
    assert torch.allclose(embedded, visual[2:28], atol=1e-5)


def test_syncnet_hears_the_mfcc_from_the_windows_first_frame() -> None:
    torch.manual_seed(0)
    model = SyncNet().eval()
    encoders = OriginalSyncNet(model)
    wav = (0.1 * np.random.default_rng(0).normal(size=10 * 640)).astype(np.float32)
    embeddings = torch.cat(list(encoders.audio([wav])))
    mfcc = torch.from_numpy(np.concatenate(list(iterate_mfcc([wav]))))
    third = mfcc[12:32][None]  # belongs to frames 3..7, whose middle is 5
    with torch.inference_mode():
        assert torch.allclose(embeddings[5 - encoders.first_audio_frame], model.audio(third)[0], atol=1e-5)


def test_the_offset_over_time_follows_a_jump() -> None:
    def distances_to(shift: int) -> np.ndarray:
        return np.abs(np.arange(-15, 16) - shift).astype(np.float32)

    shifts = SyncDistances(
        frames=300,
        frame_indices=list(range(15, 285)),
        distances=[distances_to(2 if i < 150 else -6) for i in range(15, 285)],
    )
    stretches = list(compute_offset_segments(shifts, 25))
    assert [part.middle_s for part in stretches] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert [part.offset_frames for part in stretches[:3]] == [2, 2, 2]
    assert [part.offset_frames for part in stretches[-3:]] == [-6, -6, -6]
    assert (
        list(compute_offset_segments(SyncDistances(frames=100, frame_indices=[50], distances=[distances_to(0)]), 25))
        == []
    )


def write_flashing(path: Path, *, late: int = 0, rate: int = 25, face: bool = True, sound: bool = True) -> Path:
    """Write a video of a person in flickering light with a tone while it is bright, `late` frames of 40 ms after it."""
    photo = cv2.cvtColor(cv2.imread(str(PHOTO)), cv2.COLOR_BGR2RGB)[:320, 64:384]
    photo = photo if face else np.full_like(photo, 90)
    levels = draw_levels()
    frame_levels = [levels[int((i + 0.5) * 25 / rate)] for i in range(FRAMES * rate // 25)]
    frames = [(photo * (1.0 if level else DARK)).astype(np.uint8) for level in frame_levels]
    wav = draw_tone(np.roll(levels, late))[None] if sound else None
    return write_video(
        path, frames=frames, rate=rate, size=(320, 320), options={"crf": "18"}, sound=wav, sound_rate_hz=16_000
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flashing(tmp_path_factory.mktemp("score") / "late.mp4", late=4)


@pytest.fixture(scope="module")
def scorer() -> SyncScorer:
    """By flashes: the lower face of the photo has a mean of about 128."""
    result = SyncScorer()
    result.encoders = Flashes(threshold=128 * (1 + DARK) / 2)  # type: ignore[assignment]
    return result


def test_a_video_whose_sound_comes_late(clip: Path, scorer: SyncScorer) -> None:
    steps: list[tuple[int, int | None]] = []
    result = scorer.score(clip, progress=lambda done, total: steps.append((done, total)))
    assert result.offset_frames == 4
    assert result.offset_ms == 160
    assert result.lse_d < 0.1 < result.lse_c
    assert (result.frames, result.no_face) == (FRAMES, 4)
    assert result.judged == FRAMES - 30
    assert result.judged + result.no_face + result.no_sound == FRAMES
    assert result.in_step < 0.6  # in their places the flashes do not agree
    assert steps[-1] == (FRAMES, FRAMES)
    assert steps[0][0] == BATCH
    assert "comes late" in result.text()


def test_another_rate_and_the_sound_of_another_file(tmp_path: Path, scorer: SyncScorer) -> None:
    video = write_flashing(tmp_path / "fast.mp4", rate=30)
    assert scorer.score(video).offset_frames == 0
    other = write_wav(tmp_path / "early.wav", draw_tone(np.roll(draw_levels(), -3)))
    early = scorer.score(video, other)
    assert early.offset_frames == -3
    assert "comes early" in early.text()


def test_what_cannot_be_judged_says_why(tmp_path: Path, clip: Path, scorer: SyncScorer) -> None:
    with pytest.raises(MediaError, match="expected a video, found a picture"):
        scorer.score(PHOTO, clip)
    with pytest.raises(MediaError, match="expected sound"):
        scorer.score(write_flashing(tmp_path / "mute.mp4", sound=False))
    with pytest.raises(NoFaceError, match="found none in any frame"):
        scorer.score(write_flashing(tmp_path / "nobody.mp4", face=False))
    short = write_wav(tmp_path / "short.wav", draw_tone(draw_levels(30 + MIN_WINDOWS - 1)))
    with pytest.raises(MediaError, match=r"10 or more frames of 40 ms .* found 9 of 60 \(4 without a face, 47 without"):
        scorer.score(clip, short)
    with pytest.raises(ConfigError, match="one kind of encoders"):
        SyncScorer(sync=tmp_path, syncnet=tmp_path / "x")


def test_syncnet_sees_the_whole_face_and_counts_the_ends(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(SyncNet().state_dict(), tmp_path / "syncnet_v2.model")
    shapes: list[torch.Size] = []

    def encode(_self: SyncNet, inputs: Tensor) -> Tensor:
        shapes.append(inputs.shape[1:])
        return torch.ones(len(inputs), 1024)

    monkeypatch.setattr(SyncNet, "visual", encode)
    monkeypatch.setattr(SyncNet, "audio", encode)
    result = SyncScorer(syncnet=tmp_path / "syncnet_v2.model").score(clip)
    assert set(shapes) == {torch.Size([5, 224, 224, 3]), torch.Size([20, 13])}
    assert (result.frames, result.judged, result.no_sound) == (
        FRAMES,
        FRAMES - 5,
        1,
    )  # MFCC windows are longer than hops
    assert result.lse_d == 0.0
    # beyond the sound lie zeros, 32 away: so do 15 of the 55 windows' sounds 15 frames later
    assert result.total.distances[-1] == pytest.approx(32 * 15 / 55)
    assert result.encoders == "SyncNet"


def test_the_command_prints_and_draws(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "score.png"
    main(["score", str(clip), "--json", "--plot", str(plot)])
    document = json.loads(capsys.readouterr().out)
    assert document["offset_ms"] == 40 * document["offset_frames"]
    assert len(document["distances"]) == 31
    assert document["lse_d"] == min(document["distances"])
    assert document["lse_c"] == pytest.approx(np.median(document["distances"]) - document["lse_d"])
    assert document["judged"] == FRAMES - 30
    picture = cv2.imread(str(plot))
    assert picture.shape[1] == 800
    assert picture.std() > 5
    with pytest.raises(SystemExit):
        main(["score", str(clip), "--plot", str(plot)])
    assert "--force" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["score", str(clip), "--plot", str(tmp_path / "score.svg")])
    assert "ending in .png" in capsys.readouterr().err


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["s1/bbbf9a", "gN/bbad1n"])
def test_planted_offsets_are_found_in_real_speech(name: str, tmp_path: Path) -> None:
    video = CORPUS / f"{name}.mp4"
    if not video.is_file():
        pytest.skip(f"no {video}")
    from cals.media.audio import load_mono

    scorer, wav = SyncScorer(), load_mono(video)
    for late in (-10, 0, 7):
        n = 640 * abs(late)
        shifted = np.pad(wav, (n, 0))[: len(wav)] if late >= 0 else np.pad(wav, (0, n))[n:]
        result = scorer.score(video, write_wav(tmp_path / f"{late}.wav", shifted))
        assert abs(result.offset_frames - late) <= 1
