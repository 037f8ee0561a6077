"""A bank of a person's mouths: bounded, in order of time, and never a frame's own."""

from fractions import Fraction

import numpy as np
import pytest
import torch

import drawn_face
from cals.face.patches import measure_light
from cals.inference import mouth_bank
from cals.inference.frame_tracker import View
from cals.inference.mouth_bank import MouthBank, estimate_rotation, sample_farthest
from cals.media.frame import Frame
from cals.media.pictures import from_rgb
from cals.models.lips import MIN_REFERENCE_GAP_S
from cals.models.mesh import FaceMesh, measure_lip_gap
from cals.models.motion import MeshDecoder
from cals.models.sources import SourceCosts
from cals.models.speaker import fit_speaker
from cals.types import F32, U8, CropTransform
from drawn_person import apply_poses, clip, mesh_lips, openings

IDENTITY = CropTransform(np.eye(2, 3), 128)
GREY = np.full((128, 128, 3), 120, np.uint8)


def draw_frames(landmarks: F32, first: int = 0, step: int = 1, crop: U8 = GREY) -> list[tuple[Frame, View]]:
    """Build frames of 25 a second with these faces, `step` frames apart."""
    picture = from_rgb(crop)
    return [
        (Frame(picture, k, Fraction(k, 25), Fraction(1, 25)), View(IDENTITY, crop, face, (128, 128)))
        for k, face in zip(range(first, first + step * len(landmarks), step), landmarks, strict=True)
    ]


def read_times_s(bank: MouthBank) -> list[float]:
    return bank._arrays.times_s.tolist()


def test_a_bank_holds_each_frame_once_in_order(decoder: MeshDecoder) -> None:
    bank, faces = MouthBank(decoder, SourceCosts()), draw_frames(clip("anna", 40, 1))
    bank.add(faces[:20])
    bank.add(faces[10:40])  # ten of them again
    bank.add(
        [
            (frame.with_time(90 - k, Fraction(90 - k, 25), frame.duration_s), view)
            for k, (frame, view) in enumerate(reversed(faces))
        ]
    )  # and all of them backwards
    assert read_times_s(bank) == pytest.approx([k / 25 for k in range(40)])
    assert len(bank.sources) == len(bank.landmarks) == 40
    assert len(bank._fit_landmarks) == 40
    torch.testing.assert_close(bank.landmarks, torch.from_numpy(np.stack([view.landmarks for _, view in faces])))


def test_a_photo_is_one_mouth_however_long_it_is_shown(decoder: MeshDecoder) -> None:
    bank, photo = MouthBank(decoder, SourceCosts()), draw_frames(clip("anna", 1, 1))
    for _ in range(5):
        bank.add(photo * 8)
    assert len(bank.sources) == 1
    assert float(bank.speaker.rest_gap_px) >= 0


def test_the_speaker_is_whom_all_frames_show(decoder: MeshDecoder) -> None:
    faces = clip("bert", 80, 2)
    bank = MouthBank(decoder, SourceCosts())
    for first in range(0, 80, 8):
        bank.add(draw_frames(faces[first : first + 8], first))
    bank.fit()
    expected = fit_speaker(decoder, torch.from_numpy(faces))
    torch.testing.assert_close(bank.speaker.rest, expected.rest)
    assert float(bank.speaker.span) == pytest.approx(float(expected.span))


def test_later_frames_lend_mouths_but_change_the_speaker_no_more(decoder: MeshDecoder) -> None:
    bank = MouthBank(decoder, SourceCosts())
    bank.add(draw_frames(clip("anna", 60, 2)))
    bank.add(draw_frames(clip("anna", 5, 3), first=25 * 20 - 10))
    bank.fit()
    speaker = bank.speaker
    bank.add(draw_frames(clip("anna", 60, 3) + 5, first=25 * 20 + 1))
    bank.fit()
    assert bank.speaker is speaker
    assert len(bank.sources) == 125


def test_own_frames_cost_too_much(decoder: MeshDecoder) -> None:
    bank, faces = MouthBank(decoder, SourceCosts()), clip("anna", 40, 1)
    bank.add(draw_frames(faces))
    landmarks = torch.from_numpy(faces)
    motion = decoder.mesh.compute_motion(landmarks, bank.speaker.rest)
    rotation = estimate_rotation(decoder, bank.speaker, landmarks)
    light, look = np.tile(measure_light(GREY), (40, 1)), bank._appearance
    costs = bank.measure_costs(motion, look, rotation, light, np.arange(40, dtype=np.float32) / 25)
    distances = np.abs(np.subtract.outer(np.arange(40), np.arange(40))) / 25
    assert (costs[distances < MIN_REFERENCE_GAP_S - 1e-6] >= 1e3).all()
    assert (costs[distances >= MIN_REFERENCE_GAP_S] < 1e3).all()
    later_costs = bank.measure_costs(motion, look, rotation, light, 100 + np.arange(40, dtype=np.float32) / 25)
    assert (later_costs.argmin(axis=1) == np.arange(40)).mean() > 0.9  # shut mouths are all alike
    assert np.abs(np.diag(later_costs)).max() < 0.01


def test_pose_and_light_speak_against_a_mouth(decoder: MeshDecoder) -> None:
    bank = MouthBank(decoder, SourceCosts(pose=60, light=20))
    faces = clip("anna", 30, 1)
    bank.add(draw_frames(faces[:15]))
    bank.add(draw_frames(apply_poses(faces[:15], 3), first=15, crop=GREY // 2))
    motion, look, rotation = bank._motion[:1], bank._appearance[:1], bank._rotation[:1]
    costs = [
        bank.measure_costs(motion, look, rotation, light[None], np.float32([50.0]))[0]
        for light in (measure_light(GREY), measure_light(GREY // 2))
    ]
    light = measure_light(GREY)[None]
    posed_costs = bank.measure_costs(motion, look, bank._rotation[15:16], light, np.float32([50.0]))[0]
    assert costs[1][0] - costs[0][0] == pytest.approx(20 * 3 * (60 / 255) ** 2, rel=0.01)
    rotation_distance = float((bank._rotation[0] - bank._rotation[15]).square().sum())
    assert rotation_distance > 1e-3
    assert posed_costs[0] - costs[0][0] == pytest.approx(60 * rotation_distance, rel=0.02)


def test_neighbours_are_neighbours_in_time(decoder: MeshDecoder) -> None:
    bank = MouthBank(decoder, SourceCosts())
    bank.add(draw_frames(clip("anna", 5, 1)))
    bank.add(draw_frames(clip("anna", 5, 2), first=20, step=5))
    assert bank.is_followed.tolist() == [True] * 4 + [False] * 5
    assert bank.is_consecutive(2, 3)
    assert bank.is_consecutive(3, 2)
    assert bank.is_consecutive(7, 7)
    assert not bank.is_consecutive(4, 5)
    assert not bank.is_consecutive(1, 3)


@pytest.mark.parametrize("limit", ["count", "bytes"])
def test_memory_is_bounded_and_the_extremes_are_kept(
    decoder: MeshDecoder, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    faces, mouth_openings = clip("anna", 120, 7), openings(120, 7)
    photo = draw_frames(faces)[:1]
    probe = MouthBank(decoder, SourceCosts())
    probe.add(photo)
    monkeypatch.setattr(mouth_bank, "BANK_COUNT", 50 if limit == "count" else 10**6)
    if limit == "bytes":
        monkeypatch.setattr(mouth_bank, "BANK_BYTES", 50 * probe.sources[0].nbytes)
    bank = MouthBank(decoder, SourceCosts())
    sizes = []
    for first in range(0, 120, 10):
        bank.add(draw_frames(faces[first : first + 10], first))
        sizes.append(len(bank.sources))
        if first == 0:
            first_sources = list(bank.sources)
    assert max(sizes) <= 50
    assert sizes[-1] >= 40
    assert len(bank.landmarks) == len(bank._motion) == len(bank._rotation) == len(read_times_s(bank)) == sizes[-1]
    assert read_times_s(bank) == sorted(read_times_s(bank))
    indices = {round(25 * time_s) for time_s in read_times_s(bank)}
    assert int(np.argmax(mouth_openings)) in indices
    assert float(measure_lip_gap(bank.landmarks).min()) == pytest.approx(
        float(measure_lip_gap(torch.from_numpy(faces)).min()), abs=0.3
    )
    positions = [bank.find_index(source) for source in first_sources]
    assert None in positions  # some were given up
    assert all(
        bank.sources[position] is source
        for position, source in zip(positions, first_sources, strict=True)
        if position is not None
    )
    for position, time_s in enumerate(read_times_s(bank)):
        np.testing.assert_array_equal(bank.landmarks[position], faces[round(25 * time_s)])


def test_what_is_chosen_covers_all() -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(np.concatenate([rng.normal(0, 0.01, (60, 3)), [[9, 0, 0], [0, 9, 0], [0, 0, -9]]]))
    assert {60, 61, 62} <= set(sample_farthest(features, 5))
    assert sorted(sample_farthest(features, 63)) == list(range(63))
    assert len(set(sample_farthest(torch.ones(6, 2), 4))) == 4


def test_light_is_that_of_the_lower_face() -> None:
    crop = drawn_face.picture(drawn_face.points())
    np.testing.assert_allclose(measure_light(crop // 2), measure_light(crop) / 2, atol=0.003)
    crop[:60] = 0
    np.testing.assert_allclose(measure_light(crop), measure_light(drawn_face.picture(drawn_face.points())), rtol=1e-6)


def test_of_mouths_of_one_shape_that_with_the_right_look_is_nearest(mesh: FaceMesh) -> None:
    decoder = mesh_lips(mesh, appearance=4).decoder
    faces = np.repeat(clip("anna", 1, 1), 30, axis=0)
    teeth = [drawn_face.picture(face) for face in faces]
    for k, crop in enumerate(teeth):
        crop[84:100, 50:78] = 8 * k
    bank = MouthBank(decoder, SourceCosts())
    for k, (face, crop) in enumerate(zip(faces, teeth, strict=True)):
        bank.add(draw_frames(face[None], first=k, crop=crop))
    light = np.tile(measure_light(teeth[0]), (30, 1))
    times_s = np.full(30, 100.0, np.float32)
    costs = bank.measure_costs(bank._motion, bank._appearance, bank._rotation, light, times_s)
    assert (costs.argmin(axis=1) == np.arange(30)).all()
    half = bank.retarget_appearance(bank._appearance, torch.full((30,), 0.5))
    torch.testing.assert_close(bank.retarget_appearance(bank._appearance, torch.ones(30)), bank._appearance)
    torch.testing.assert_close(half - bank._rest_appearance, (bank._appearance - bank._rest_appearance) / 2)
    copy = MouthBank.from_arrays(decoder, SourceCosts(), bank.export_arrays())
    torch.testing.assert_close(copy._appearance, bank._appearance)


def test_a_restored_bank_goes_on_like_the_one_it_was_made_of(
    decoder: MeshDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored pixels take twice the memory, which must not thin the bank earlier."""
    faces = clip("anna", 60, 1)
    bank = MouthBank(decoder, SourceCosts())
    bank.add(draw_frames(faces[:40]))
    copy = MouthBank.from_arrays(decoder, SourceCosts(), bank.export_arrays())
    assert copy.sources[0].nbytes > bank.sources[0].nbytes
    monkeypatch.setattr(mouth_bank, "BANK_BYTES", 50 * bank.sources[0].nbytes)
    for one in (bank, copy):
        one.add(draw_frames(faces[40:], first=40))
    assert 30 < len(bank.sources) < 60
    assert len(copy.sources) == len(bank.sources)
    torch.testing.assert_close(copy.landmarks, bank.landmarks)


def test_a_mouth_that_has_to_be_torn_open_costs_more(decoder: MeshDecoder) -> None:
    faces = clip("anna", 60, 1)
    costs = []
    for stretch in (0.0, 100.0):
        bank = MouthBank(decoder, SourceCosts(stretch=stretch))
        bank.add(draw_frames(faces))
        light = np.tile(measure_light(GREY), (60, 1))
        times_s = np.full(60, 100.0, np.float32)
        costs.append(bank.measure_costs(bank._motion, bank._appearance, bank._rotation, light, times_s))
    opening = openings(60, 1)
    extra = costs[1] - costs[0]
    widest, closed = int(opening.argmax()), int(opening.argmin())
    assert extra[widest, closed] == pytest.approx(100, rel=1e-3)
    assert extra[closed].max() < 1  # to close a mouth tears nothing
    assert np.diag(extra).max() < 1
