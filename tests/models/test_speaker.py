"""Motion of one person: span, limit and rest from observed frames, and the smile of a photo."""

import numpy as np
import pytest
import torch
from torch import Tensor

import drawn_face
from cals.models.mesh import FaceMesh, measure_lip_gap
from cals.models.motion import MeshDecoder
from cals.models.speaker import (
    DEFAULT_MAX_OPENING,
    DEFAULT_SPAN,
    MAX_OPENING_RATIO,
    SPAN_RANGE,
    SPEAKING_STD_RANGE,
    Speaker,
    compute_match_weights,
    fit_speaker,
    replace_motion,
    retarget_motion,
)
from drawn_person import apply_poses, clip, opening_by

FRAMES = 80


def build_frames(widest_px: float, seed: int = 3) -> Tensor:
    """Build frames [t 468 3] with openings of up to that many pixels; a third of the mouths are closed."""
    shares = np.clip(np.random.default_rng(seed).uniform(-0.5, 1, FRAMES), 0, 1)
    return torch.from_numpy(np.stack([drawn_face.points(float(widest_px * share)) for share in shares]))


def measure_openings(decoder: MeshDecoder, motion: Tensor) -> Tensor:
    return motion @ measure_lip_gap(decoder.mesh.basis)


def build_motion(decoder: MeshDecoder, *pixels: float) -> Tensor:
    """Build motion [t k] of the average speaker with that opening, and some motion without effect on it."""
    gaps = measure_lip_gap(decoder.mesh.basis)
    across = torch.tensor([-gaps[1], gaps[0]]) / gaps.norm()
    return torch.stack([opening_by(decoder.mesh, value) + 0.3 * across for value in pixels])


def test_who_opens_twice_as_far_has_twice_the_span(decoder: MeshDecoder) -> None:
    one, other = fit_speaker(decoder, build_frames(9)), fit_speaker(decoder, build_frames(18))
    assert SPAN_RANGE[0] < float(one.span) < float(other.span) < SPAN_RANGE[1]
    assert float(other.span) == pytest.approx(2 * float(one.span), rel=0.05)
    assert float(other.max_opening_px) == pytest.approx(2 * float(one.max_opening_px), rel=0.05)
    said = build_motion(decoder, 1.0)
    opened = [float(measure_openings(decoder, retarget_motion(decoder, speaker, said))) for speaker in (one, other)]
    assert opened[1] == pytest.approx(2 * opened[0], rel=0.1)


def test_the_heads_motion_is_no_span(decoder: MeshDecoder) -> None:
    still = clip("anna", FRAMES, 5)
    one, other = (fit_speaker(decoder, torch.from_numpy(points)) for points in (still, apply_poses(still, 6)))
    assert float(other.span) == pytest.approx(float(one.span), rel=0.02)


def test_the_average_speaker_speaks_as_told(decoder: MeshDecoder) -> None:
    speaker = Speaker(
        rest=decoder.mesh.template,
        span=torch.tensor(1.0),
        max_opening_px=torch.tensor(50.0),
        rest_gap_px=torch.tensor(0.0),
    )
    said = build_motion(decoder, 0.0, 3.0, 8.0)
    torch.testing.assert_close(retarget_motion(decoder, speaker, said), said)
    torch.testing.assert_close(retarget_motion(decoder, speaker, said, torch.ones(3)), said)


def test_lips_that_nearly_meet_meet(decoder: MeshDecoder) -> None:
    speaker = Speaker(
        rest=decoder.mesh.template,
        span=torch.tensor(2.0),
        max_opening_px=torch.tensor(90.0),
        rest_gap_px=torch.tensor(0.0),
    )
    deviation_px = 2 * float(decoder.opening_px)
    meant = torch.linspace(0, 2 * deviation_px, 41)
    opened = measure_openings(decoder, retarget_motion(decoder, speaker, build_motion(decoder, *(meant / 2).tolist())))
    assert bool((opened.diff() > 0).all())
    assert float(opened[0]) == pytest.approx(0, abs=1e-3)
    small = (meant > 0) & (meant < 0.3 * deviation_px)
    assert bool((opened < 0.5 * meant)[small].all())
    torch.testing.assert_close(opened[20:], meant[20:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("widest_px", [6, 12, 24])
def test_rest_stays_rest(decoder: MeshDecoder, widest_px: float) -> None:
    speaker = fit_speaker(decoder, build_frames(widest_px))
    silence = torch.zeros(4, 2)
    for loudness in (None, torch.zeros(4), torch.ones(4)):
        torch.testing.assert_close(retarget_motion(decoder, speaker, silence, loudness), silence, atol=1e-3, rtol=0)


def test_no_mouth_opens_much_further_than_it_was_seen_to(decoder: MeshDecoder) -> None:
    speaker = fit_speaker(decoder, build_frames(9))
    seen_px = float(
        decoder.mesh.compute_motion(build_frames(9), speaker.rest).matmul(measure_lip_gap(decoder.mesh.basis)).max()
    )
    said = build_motion(decoder, *np.linspace(0, 60, 61))
    opened = measure_openings(decoder, retarget_motion(decoder, speaker, said))
    assert float(opened.max()) <= MAX_OPENING_RATIO * seen_px
    assert float(opened.max()) > 0.95 * seen_px
    assert bool((opened.diff() >= -1e-4).all())
    further = measure_openings(decoder, retarget_motion(decoder, speaker, said, strength=1.5))
    assert float(further.max()) == pytest.approx(1.5 * float(opened.max()), rel=0.02)
    gaps = measure_lip_gap(decoder.mesh.basis)
    sideways = retarget_motion(decoder, speaker, said) @ torch.tensor([-gaps[1], gaps[0]])
    torch.testing.assert_close(sideways, sideways[:1].expand(61), atol=1e-3, rtol=0)  # nothing but the opening


def test_half_the_motion_is_half_as_open(decoder: MeshDecoder) -> None:
    speaker, said = fit_speaker(decoder, build_frames(18)), build_motion(decoder, 2.0, 4.0)
    full, half = (
        measure_openings(decoder, retarget_motion(decoder, speaker, said, strength=share)) for share in (1.0, 0.5)
    )
    torch.testing.assert_close(half, full / 2, rtol=0.02, atol=0)


def test_who_hardly_opens_the_mouth_is_not_given_the_usual_span(decoder: MeshDecoder) -> None:
    own = float(fit_speaker(decoder, build_frames(18)).span)
    shares = np.array([own / 18 * widest for widest in (5.0, 8.0, 12.0)])
    assert shares[0] > SPEAKING_STD_RANGE[1] > SPEAKING_STD_RANGE[0] > 0.1
    spans = [float(fit_speaker(decoder, build_frames(widest)).span) for widest in (5.0, 8.0, 12.0)]
    assert spans == pytest.approx(shares, rel=0.05)


def test_between_silence_and_speech_nothing_leaps(decoder: MeshDecoder) -> None:
    a_little = sum(SPEAKING_STD_RANGE) / 2 / float(fit_speaker(decoder, build_frames(9)).span) * 9
    assert SPEAKING_STD_RANGE[1] < float(fit_speaker(decoder, build_frames(a_little)).span) < DEFAULT_SPAN


def test_who_was_not_seen_to_speak_has_the_usual_span_and_limit(decoder: MeshDecoder) -> None:
    still = fit_speaker(decoder, build_frames(0.5))
    assert float(still.span) == DEFAULT_SPAN
    opened = measure_openings(decoder, retarget_motion(decoder, still, build_motion(decoder, 4.0, 60.0)))
    assert opened.tolist() == pytest.approx(
        [4 * DEFAULT_SPAN, DEFAULT_MAX_OPENING * float(decoder.opening_px)], rel=0.01
    )


def test_a_photos_smile_counts_as_opening(decoder: MeshDecoder) -> None:
    wide = build_motion(decoder, 60.0)
    faces = [torch.from_numpy(drawn_face.points(open_px))[None] for open_px in (0.0, 6.0)]
    found = []
    for photo in faces:
        speaker = fit_speaker(decoder, photo)
        found.append(
            float(
                measure_lip_gap(replace_motion(decoder.mesh, speaker, photo, retarget_motion(decoder, speaker, wide)))
            )
        )
    assert found[1] == pytest.approx(found[0], abs=0.5)
    assert found[0] > 12


def test_a_photo_keeps_its_smile_in_silence_and_closes_it_in_speech(decoder: MeshDecoder) -> None:
    photo = torch.from_numpy(drawn_face.points(5.0, 1.0))[None]
    speaker = fit_speaker(decoder, photo)
    said = torch.stack([torch.zeros(2), torch.zeros(2), *build_motion(decoder, 8.0)])
    motion = retarget_motion(decoder, speaker, said, torch.tensor([0.0, 1.0, 1.0]))
    faces = replace_motion(decoder.mesh, speaker, photo.expand(3, -1, -1), motion)
    silent, closed, wide = measure_lip_gap(faces).tolist()
    assert silent == pytest.approx(float(measure_lip_gap(photo)), abs=1e-3)
    torch.testing.assert_close(faces[0], photo[0], atol=1e-3, rtol=0)
    assert closed == pytest.approx(float(measure_lip_gap(decoder.mesh.template)), abs=0.3)
    assert wide == pytest.approx(float(measure_lip_gap(photo)) + 8 * DEFAULT_SPAN, abs=0.3)


def test_who_is_seen_in_motion_has_no_smile_to_close(decoder: MeshDecoder) -> None:
    assert float(fit_speaker(decoder, build_frames(9)).rest_gap_px) == 0
    pressed = torch.from_numpy(drawn_face.points(-0.5))[None]
    assert float(fit_speaker(decoder, pressed).rest_gap_px) == 0


def test_a_moved_face_says_what_it_was_told_in_the_pose_it_had(mesh: FaceMesh, decoder: MeshDecoder) -> None:
    frames = clip("bert", FRAMES, 7)
    speaker, turned = fit_speaker(decoder, torch.from_numpy(frames)), torch.from_numpy(apply_poses(frames[:6], 8))
    motion = build_motion(decoder, *range(6))
    faces = replace_motion(mesh, speaker, turned, motion)
    torch.testing.assert_close(mesh.compute_motion(faces, speaker.rest), motion, atol=0.02, rtol=0)
    torch.testing.assert_close(faces[:, mesh.upper], turned[:, mesh.upper])


def test_mouths_are_compared_by_what_moves_most(mesh: FaceMesh) -> None:
    weights = compute_match_weights(mesh)
    assert float(weights.sum()) == pytest.approx(16)
    energy = mesh.basis.square().sum(dim=(1, 2))
    torch.testing.assert_close(weights / weights.sum(), energy / energy.sum())
