"""A drawn corpus: what lies in it agrees with itself, our own tracker sees the faces, and training takes it."""

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from cals import hub
from cals.checkpoint import load_checkpoint
from cals.cli import main
from cals.data.segments import compute_loudness
from cals.data.shards import read_shard
from cals.data.store import ClipStore, load_split_names
from cals.data.synthetic import corpus as corpus_module
from cals.data.synthetic.corpus import SyntheticConfig, generate_corpus, render_clip, synthesize_clip
from cals.data.synthetic.drawing import Portrait
from cals.data.synthetic.geometry import OPEN_PX, WIDE_PX, HeadTrack, Shape, apply_head_motion, load_geometry
from cals.data.synthetic.mouth import Dominance
from cals.data.synthetic.people import FRAME_PX, sample_head_motion, sample_scene, sample_speaker
from cals.errors import ConfigError, DataError
from cals.face.detector import BlazeFaceMesh, FaceModels
from cals.face.landmarks import MOUTH_68, measure_inter_ocular_px, measure_mouth_opening
from cals.face.picture import ArrayPicture
from cals.face.tracker import FaceTracker
from cals.features.mel import MelConfig
from cals.media import VideoReader, load_mono

pytestmark = pytest.mark.slow

WHOLE = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FRAMES = 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of three people, one of them a stranger to training; one clip's frames as a video."""
    out = tmp_path_factory.mktemp("synthetic") / "corpus"
    arguments = ["--clips", "4", "--speakers", "3", "--reach", "0.2", "--seed", "3", "--seconds", "1.6"]
    main(["synthetic", str(out), *arguments])
    return out


def test_the_folder_says_what_it_is(corpus: Path) -> None:
    document = json.loads((corpus / "synthetic.json").read_text())
    assert document["parameters"]["dominance"] == {"before_s": 0.2, "after_s": 0.2, "hold": 0.5}
    assert (document["samples"], document["frames"], document["generator"]) == (4, 4 * FRAMES, 1)
    assert document["true_window"]["support_s"] == pytest.approx(0.4)
    assert 0.2 < document["true_window"]["window_95_s"] < 0.4
    assert document["true_window"]["explained"]["5"] == 1.0
    names = [load_split_names(corpus / "splits.json", part) for part in ("train", "val_seen", "val_unseen")]
    assert names == [{"p00/c00000", "p01/c00001"}, {"p00/c00003"}, {"p02/c00002"}]
    assert (corpus / "sheet.png").stat().st_size > 10_000


def test_pictures_sound_and_times_belong_together(corpus: Path) -> None:
    store = ClipStore(corpus, MelConfig())
    assert [store[i].crops.shape for i in range(4)] == [(FRAMES, 128, 128, 3)] * 4
    for i in range(4):
        clip = store[i]
        assert clip.mel.shape == (4 * FRAMES, 80)
        opening = np.array([measure_mouth_opening(face) for face in clip.landmarks])
        target = np.array(clip.facts["mouth"])[:, 0]
        assert np.corrcoef(opening, target)[0, 1] > 0.99
        starts, ends, names = zip(*clip.facts["phones"], strict=True)
        assert starts[1:] == ends[:-1]
        assert (starts[0], ends[-1]) == (0, FRAMES / 25)
        loud = clip.mel.mean(dim=1).numpy()
        times = (np.arange(4 * FRAMES) + 0.5) / 100
        spoken = np.array(names)[np.searchsorted(ends, times, side="right").clip(max=len(names) - 1)]
        assert loud[spoken != "SIL"].mean() > loud[spoken == "SIL"].mean() + 15


def test_the_dark_of_the_mouth_is_where_the_landmarks_say(corpus: Path) -> None:
    """Openness measured in the pixels between the inner lips follows the track."""
    clip = ClipStore(corpus, MelConfig())[0]
    values, target = [], np.array(clip.facts["mouth"])[:, 0]
    for crop, face in zip(clip.crops, clip.landmarks, strict=True):
        top, bottom = face[13, 1], face[14, 1]
        column = crop[:, round(float(face[13, 0]))].astype(float)
        strip = column[round(float(top)) - 2 : round(float(bottom)) + 3]
        values.append(float((strip[:, 0] - strip[:, 2] < 25).sum()))  # teeth and the dark are not red as lips are
    assert np.corrcoef(values, target)[0, 1] > 0.7


def test_with_another_reach_only_the_mouth_is_another() -> None:
    near, far = (
        SyntheticConfig(clips=1, speakers=1, dominance=Dominance.from_reach(r), seconds=1.0) for r in (0.0, 0.4)
    )
    (_, speech, sound, mouth), (_, other_speech, other_sound, other_mouth) = (
        synthesize_clip(near, 0),
        synthesize_clip(far, 0),
    )
    assert speech.list_times() == other_speech.list_times()
    assert np.array_equal(sound, other_sound)
    assert np.abs(mouth - other_mouth).max() > 0.1
    one, two = render_clip(near, 0), render_clip(near, 0)
    assert one.crops == two.crops
    assert np.array_equal(one.landmarks, two.landmarks)


def test_the_mesh_opens_and_widens_by_the_pixels_it_is_told() -> None:
    mesh = load_geometry()
    tracks = np.array([[0, 0, 0], [0.5, 0, 0], [0, 1, 0], [0.25, -0.5, 1]], float)
    faces = mesh.build_faces(Shape(), tracks, np.zeros(4))
    gap = (faces[:, [178, 14, 402], 1] - faces[:, [81, 13, 311], 1]).mean(axis=1)
    width = faces[:, 291, 0] - faces[:, 61, 0]
    np.testing.assert_allclose(gap, OPEN_PX * tracks[:, 0], atol=1e-6)
    np.testing.assert_allclose(width - width[0], WIDE_PX * tracks[:, 1], atol=1e-6)
    assert faces[3, [13, 14], 2].mean() < faces[0, [13, 14], 2].mean() - 4  # forward is towards the camera
    shut = mesh.build_faces(Shape(), tracks[:1], np.ones(1))[0]
    assert np.abs(shut[159] - shut[145]).max() < 1e-9
    still = HeadTrack(np.zeros((4, 3)), np.ones(4), np.tile([64.0, 34.0], (4, 1)), np.zeros(4))
    np.testing.assert_allclose(apply_head_motion(faces, still), faces, atol=1e-9)


def test_our_tracker_finds_the_drawn_faces_where_they_are() -> None:
    detector = BlazeFaceMesh(FaceModels(*hub.read_face_models()))
    for number in range(6):
        person, rng = sample_speaker(number, 7), np.random.default_rng(number)
        portrait = Portrait.of(load_geometry(), person.appearance, sample_scene(rng))
        head_motion = sample_head_motion(3, rng)
        tracks = np.array([[0, 0, 0], [0.8, 0, 0], [0.2, -1, 1]], float)
        points = apply_head_motion(portrait.geometry.build_faces(person.shape, tracks, np.zeros(3)), head_motion)
        tracker, opening = FaceTracker(detector), []
        for i, face in enumerate(points):
            tracked = tracker.update(ArrayPicture(portrait.draw(face, WHOLE, FRAME_PX)), Fraction(i, 25), i)
            assert tracked.valid, (number, i)
            distance = np.hypot(*(tracked.landmarks[:, :2] - face[:, :2]).T) / measure_inter_ocular_px(face)
            assert distance.mean() < 0.08, (number, i)
            assert distance[list(MOUTH_68)].mean() < 0.12, (number, i)
            opening.append(measure_mouth_opening(tracked.landmarks))
        assert opening[1] > opening[0] + 0.1


def test_people_differ_and_light_falls_from_its_side() -> None:
    one, two = sample_speaker(0, 0), sample_speaker(1, 0)
    assert one.voice != two.voice
    assert one.appearance != two.appearance
    assert one == sample_speaker(0, 0)
    rng = np.random.default_rng(0)
    plain = sample_scene(rng)
    face = apply_head_motion(
        load_geometry().build_faces(Shape(), np.zeros((1, 3)), np.zeros(1)), sample_head_motion(1, rng)
    )[0]
    sides = []
    for x in (-0.7, 0.7):
        lit = type(plain)(light=(x, 0.0, -0.71), ambient=0.4, warmth=0.0, ground=plain.ground, seed=1)
        picture = Portrait.of(load_geometry(), one.appearance, lit).draw(face, WHOLE, FRAME_PX)
        cheeks = [face[point, :2].astype(int) for point in (50, 280)]
        left, right = (picture[y - 4 : y + 4, x - 4 : x + 4].mean() for x, y in cheeks)
        sides.append(left - right)
    assert sides[0] > 10
    assert sides[1] < -10


def test_broken_off_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SyntheticConfig(clips=3, speakers=1, seconds=1.0, dominance=Dominance.from_reach(0.0))
    monkeypatch.setattr(corpus_module, "SHARD_CLIPS", 1)

    def stop(done: int, total: int | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        generate_corpus(out, config, stop)
    assert sorted(path.name for path in out.glob("shard*")) == ["shard-00000.tar", "shard-00001.tar"]
    assert not (out / "manifest.jsonl").exists()
    before = (out / "shard-00000.tar").stat().st_mtime_ns
    with pytest.raises(DataError, match="same parameters"):
        generate_corpus(out, SyntheticConfig(clips=3, speakers=1, seconds=1.0, dominance=Dominance.from_reach(0.1)))
    assert generate_corpus(out, config)["samples"] == 3
    assert (out / "shard-00000.tar").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="not made yet"):
        generate_corpus(out, config)
    keys = [sample.key for path in sorted(out.glob("*.tar")) for sample in read_shard(path)]
    assert keys == [f"p00-c{i:05d}-000000" for i in range(3)]


def test_a_clip_as_a_video_has_its_sound(tmp_path: Path) -> None:
    generate_corpus(tmp_path / "out", SyntheticConfig(clips=1, speakers=1, seconds=1.0, videos=True))
    path = tmp_path / "out" / "videos" / "p00" / "c00000.mp4"
    with VideoReader(path) as reader:
        shapes = [frame.rgb().shape for frame in reader]
    assert shapes == [(FRAME_PX, FRAME_PX, 3)] * 25
    sample = next(read_shard(tmp_path / "out" / "shard-00000.tar"))
    curves = [compute_loudness(sound, 640, 25) for sound in (load_mono(path, 16_000), sample.wav)]
    assert np.corrcoef(*curves)[0, 1] > 0.97


def test_training_takes_it(corpus: Path, tmp_path: Path) -> None:
    runs = [str(tmp_path / name) for name in ("sync", "a2l", "l2f")]
    common = ["--corpus", str(corpus), "--splits", str(corpus / "splits.json")]
    main(["train", "sync", "sync-debug", *common, "--run", runs[0]])
    main(["train", "a2l", "a2l-debug", *common, "--run", runs[1], "--sync", f"{runs[0]}/model"])
    parts = ["--sync", f"{runs[0]}/model", "--a2l", f"{runs[1]}/model"]
    main(["train", "l2f", "l2f-debug", *common, "--run", runs[2], *parts, "--max-minutes", "0.05"])
    assert load_checkpoint(tmp_path / "l2f" / "model").step > 0


def test_what_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"clips": 0}, {"speakers": 0}, {"seconds": 60.0}, {"voice": "espeak"}, {"phones": "latin"}):
        with pytest.raises(ConfigError):
            SyntheticConfig(**wrong)  # type: ignore[arg-type]
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="new or empty"):
        generate_corpus(tmp_path, SyntheticConfig(clips=1, speakers=1))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="--voice formant"):
        synthesize_clip(SyntheticConfig(clips=1, speakers=1, voice="flite"), 0)


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flite_says_its_phones_when_it_says_them() -> None:
    version = subprocess.run(["flite", "--version"], capture_output=True, check=False)
    assert version.stdout or version.stderr
    config = SyntheticConfig(clips=4, speakers=4, voice="flite", seconds=3.0)
    for index in range(4):
        _, spoken, wav, mouth = synthesize_clip(config, index)
        assert (len(wav), len(mouth)) == (48_000, 75)
        loud = compute_loudness(wav, 160, 300)
        which = np.searchsorted(spoken.edges_s, (np.arange(300) + 0.5) / 100, side="right") - 1
        vowel = np.array([spoken.phones[i] in ("AA", "AE", "IY", "OW", "AY", "EY") for i in which])
        pause = np.array([spoken.phones[i] == "SIL" for i in which])
        assert loud[vowel].mean() > loud[pause].mean() + 10
