"""The CALS models: output depends on the person's other frames, not on the frame's own mouth."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

import drawn_face
from cals.errors import ConfigError
from cals.models.a2l import A2LConfig
from cals.models.cals import MeshLips, MeshLipsConfig, UNetLips, UNetLipsConfig
from cals.models.factory import from_checkpoint, to_checkpoint
from cals.models.lips import MIN_REFERENCE_GAP_S, Faces, Gallery, build_pose_prior
from cals.models.mesh import FaceMesh, measure_lip_gap
from cals.models.motion import MeshConfig, build_lip_readout
from cals.models.speaker import fit_speaker
from cals.models.unet import UNetConfig
from drawn_person import A2L, bias_model, build_faces, build_gallery, clip, mesh_lips, opening_by, openings

CLIP = clip("anna", 60, 5)
ORDER = np.argsort(openings(60, 5)).tolist()
GALLERY = [ORDER[0], ORDER[30], ORDER[-1]]
MOUTH = (..., slice(80, 110), slice(40, 88))
UNET = UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2)


@pytest.fixture
def lips(mesh: FaceMesh) -> MeshLips:
    return mesh_lips(mesh)


def invert_motion(lips: MeshLips, frame: int) -> Tensor:
    """Compute the motion [k] for which this person has the mouth of one of their frames."""
    speaker = fit_speaker(lips.decoder, torch.from_numpy(CLIP))
    return lips.decoder.mesh.compute_motion(torch.from_numpy(CLIP[[frame]]), speaker.rest)[0] / speaker.span


@torch.no_grad()
def render(lips: MeshLips, motion: Tensor, faces: Faces, shown: Gallery) -> Tensor:
    return lips.render(bias_model(lips, motion).expand(len(faces.crops), -1), faces, shown)


def test_a_mouth_that_was_seen_is_shown_as_it_was(lips: MeshLips) -> None:
    shown = build_gallery(CLIP, GALLERY)
    faces = build_faces([drawn_face.picture(CLIP[ORDER[10]])], [CLIP[ORDER[10]]])
    for k, frame in enumerate(GALLERY):
        drawn = render(lips, invert_motion(lips, frame), faces, shown)
        wrong = [float((drawn[0] - crop)[MOUTH].abs().mean()) for crop in shown.crops]
        assert wrong[k] < 0.03
        assert wrong[k] < 0.3 * min(wrong[:k] + wrong[k + 1 :])


def test_a_frame_never_lends_itself_its_mouth(lips: MeshLips) -> None:
    shown = build_gallery(CLIP, GALLERY)
    shown.crops[2][MOUTH] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]  # at 12 s
    faces = build_faces([drawn_face.picture(CLIP[0])] * 4, [CLIP[0]] * 4)
    away = torch.tensor([0.0, MIN_REFERENCE_GAP_S / 2, -MIN_REFERENCE_GAP_S / 2, MIN_REFERENCE_GAP_S])
    drawn = render(lips, invert_motion(lips, GALLERY[2]), dataclasses.replace(faces, times_s=12 + away), shown)
    red = drawn[MOUTH][:, 0].mean(dim=(1, 2)) - drawn[MOUTH][:, 1].mean(dim=(1, 2))
    assert float((red[:3] - red[0]).abs().max()) < 1e-3
    assert float(red[3] - red[0]) > 0.2
    alone = build_gallery(CLIP, GALLERY[:1])
    assert bool(
        torch.isfinite(render(lips, torch.zeros(2), dataclasses.replace(faces, times_s=10 + away), alone)).all()
    )


def test_of_the_frame_itself_pose_and_light_count_alone(lips: MeshLips) -> None:
    shown, motion = build_gallery(CLIP, GALLERY), opening_by(lips.decoder.mesh, 3.0)
    landmarks = drawn_face.points(7.0)
    crop = drawn_face.picture(landmarks)
    shuffled = crop.copy()
    shuffled[64:] = np.random.default_rng(0).permutation(shuffled[64:].reshape(-1, 3)).reshape(64, 128, 3)
    drawn = render(lips, motion, build_faces([crop, shuffled, crop // 2], [landmarks] * 3), shown)
    torch.testing.assert_close(drawn[1], drawn[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(drawn[2], drawn[0] / 2, atol=0.01, rtol=0)


def test_the_frames_own_motion_does_not_come_through(lips: MeshLips) -> None:
    faces = [drawn_face.points(open_px, wide_px) for open_px, wide_px in ((0.5, 0.0), (7.0, 0.0), (3.0, 1.0))]
    crops = [drawn_face.picture(faces[0])] * 3
    drawn = render(lips, opening_by(lips.decoder.mesh, 4.0), build_faces(crops, faces), build_gallery(CLIP, GALLERY))
    apart = (drawn[1:] - drawn[:1])[MOUTH].abs().mean(dim=(1, 2, 3))
    shown = torch.from_numpy(np.stack([drawn_face.picture(face) for face in faces])).permute(0, 3, 1, 2) / 255
    assert bool((apart < 0.15 * (shown[1:] - shown[:1])[MOUTH].abs().mean(dim=(1, 2, 3))).all())


def test_a_louder_unit_opens_the_mouth(lips: MeshLips) -> None:
    landmarks = CLIP[ORDER[10]]
    faces, shown = build_faces([drawn_face.picture(landmarks)], [landmarks]), build_gallery(CLIP, GALLERY)
    closed, wide = (render(lips, opening_by(lips.decoder.mesh, gap), faces, shown)[0] for gap in (0.0, 6.0))
    between = (..., slice(90, 93), slice(58, 71))  # what was lip is now mouth
    assert float((wide - closed)[between].abs().mean()) > 0.1
    assert float((wide - closed)[..., :50, :].abs().max()) < 0.05


def test_a_photo_speaks_from_its_own_single_frame(lips: MeshLips) -> None:
    landmarks = drawn_face.points(7.0)
    photo = build_faces([drawn_face.picture(landmarks)], [landmarks])
    alone = Gallery(
        crops=photo.crops, landmarks=photo.landmarks, times_s=photo.times_s, observed_landmarks=photo.landmarks
    )
    still = render(lips, torch.zeros(2), photo, alone)
    torch.testing.assert_close(still, photo.crops, atol=0.02, rtol=0)  # its expression is its own
    wider = render(lips, opening_by(lips.decoder.mesh, 4.0), photo, alone)
    assert float((wider - still)[MOUTH].abs().mean()) > 0.02


def test_hidden_sound_changes_the_motion(lips: MeshLips) -> None:
    mel = -40 + 10 * torch.randn(1, 40, 80, generator=torch.Generator().manual_seed(0))
    hidden = torch.arange(10)[None] == 7
    with torch.no_grad():
        lips.a2l.front.hidden_step.normal_()
        torch.testing.assert_close(lips(mel), lips.decoder.predict(lips.predict_units(mel)))
        assert lips(mel)[0].shape == (1, 10, 2)
        assert not torch.allclose(lips(mel, hidden)[0][0, 7], lips(mel)[0][0, 7], atol=1e-4)


def test_opening_and_width_are_read_from_coefficients(mesh: FaceMesh) -> None:
    faces = torch.from_numpy(clip("anna", 20, 9))
    rest = mesh.estimate_rest(torch.from_numpy(CLIP))
    found = mesh.compute_motion(faces, rest) @ build_lip_readout(mesh)
    upright = mesh.align_to_rest(faces, rest)
    torch.testing.assert_close(found[:, 0], measure_lip_gap(upright) - measure_lip_gap(rest), atol=0.2, rtol=0)
    width = upright[:, 291, 0] - upright[:, 61, 0] - (rest[291, 0] - rest[61, 0])
    torch.testing.assert_close(found[:, 1], width, atol=0.2, rtol=0)


def test_the_lower_half_of_the_frame_is_nothing_to_the_unet() -> None:
    torch.manual_seed(0)
    model = UNetLips(UNetLipsConfig(a2l=A2L, decoder=UNET)).eval()
    landmarks = drawn_face.points(6.0)
    crop = drawn_face.picture(landmarks)
    red, blind = crop.copy(), crop.copy()
    red[64:] = (255, 0, 0)
    blind[:64] = 0
    faces = build_faces([crop, red, blind], [landmarks, drawn_face.points(0.0), landmarks])
    with torch.no_grad():
        drawn = model.render(torch.ones(3, 16), faces, build_gallery(CLIP, GALLERY))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    priors = build_pose_prior(faces.crops)
    assert float(priors[..., 64:, :].abs().max()) == 0
    assert torch.equal(priors[..., :64, :], faces.crops[..., :64, :])


def test_the_unets_reference_is_the_quietest_frame_of_another_time() -> None:
    shown = build_gallery(CLIP, GALLERY)
    model = UNetLips(UNetLipsConfig(a2l=A2L, decoder=UNET)).eval()
    asked: list[torch.Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _, given: asked.append(given[1]))
    faces = build_faces([drawn_face.picture(CLIP[0])] * 2, [CLIP[0]] * 2)
    for time_s, frame in ((1.0, 0), (10.0, 1), (10.15, 1), (10.2, 0), (11.0, 0)):
        model.render(torch.zeros(2, 16), Faces(faces.crops, faces.landmarks, torch.full((2,), time_s)), shown)
        assert torch.equal(asked[-1], shown.crops[[frame, frame]]), time_s


@pytest.mark.parametrize("kind", ["mesh", "unet"])
def test_a_checkpoint_brings_back_the_same_model(mesh: FaceMesh, kind: str) -> None:
    torch.manual_seed(3)
    model = mesh_lips(mesh) if kind == "mesh" else UNetLips(UNetLipsConfig(a2l=A2L, decoder=UNET)).eval()
    checkpoint = to_checkpoint(model, step=3)
    assert (checkpoint.kind, checkpoint.step) == (kind, 3)
    again = from_checkpoint(checkpoint)
    assert type(again) is type(model)
    assert again.config == model.config
    faces = build_faces([drawn_face.picture(CLIP[3])], [CLIP[3]])
    with torch.no_grad():
        drawn = [each.render(torch.ones(1, 16), faces, build_gallery(CLIP, GALLERY)) for each in (model, again)]
    assert torch.equal(*drawn)
    mel = torch.full((1, 40, 80), -50.0)
    assert again.predict_units(mel).shape == (1, 10, 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeshLipsConfig(a2l=A2L, decoder=MeshConfig(unit=8)), "one width of units, found 16 against 8"),
        (lambda: MeshLipsConfig(a2l=A2L, decoder=MeshConfig(unit=16), crop_px=64), "crops of 128 px, found 64"),
        (lambda: UNetLipsConfig(a2l=A2L, decoder=UNET, crop_px=64), "one size of crops, found 64 and 128"),
        (lambda: UNetLipsConfig(a2l=A2LConfig(), decoder=UNET), "one width of units, found 512 against 16"),
        (lambda: MeshConfig(components=0), "positive sizes"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=message):
        make()
