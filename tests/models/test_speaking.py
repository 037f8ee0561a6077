"""The frame's own mouth does not shine through: neither its pixels nor its motion."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from drawn_person import A2L, clip, drawn_mesh, faces_of, known, mesh_lips, openings, saying
from torch import Tensor

import drawn_face
from cals.errors import ConfigError
from cals.face.landmarks import MOUTH_INNER, MOUTH_OUTER
from cals.inference.gallery import pictures
from cals.models.a2l import A2LConfig
from cals.models.factory import from_checkpoint, to_checkpoint
from cals.models.lips import OWN_S, Faces, Gallery, prior
from cals.models.mesh import FaceMesh, lip_gap
from cals.models.mesh_decoder import MeshConfig, Views
from cals.models.refine import BOTTOM, LEFT, RIGHT, TOP
from cals.models.response import USUAL
from cals.models.speaking import MeshLips, MeshLipsConfig, UNetLips, UNetLipsConfig, Whole, most_open
from cals.models.unet import UNetConfig
from cals.nn.warp import drawn_polygon
from cals.types import F32, U8

CLIP = clip("anna", 60, 5)
ORDER = np.argsort(openings(60, 5)).tolist()
GALLERY = [ORDER[0], ORDER[30], ORDER[-1]]
RIM_PX = 1.5
UNET = UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2)


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return drawn_mesh()


@pytest.fixture
def lips(mesh: FaceMesh) -> MeshLips:
    return mesh_lips(mesh)


def between_the_lips(landmarks: F32) -> np.ndarray:
    """Pixels within the inner lips but for a rim: a pixel that the lip's edge runs through shows the lip as well, and
    whoever reads the lip between two pixels reads that one."""
    outline = landmarks[list(MOUTH_INNER), :2].reshape(-1, 1, 2)
    y, x = np.mgrid[:128, :128] + 0.5
    depth = [cv2.pointPolygonTest(outline, (float(a), float(b)), True) for a, b in zip(x.flat, y.flat, strict=True)]
    return np.array(depth).reshape(128, 128) > RIM_PX


def painted(crop: U8, where: np.ndarray) -> U8:
    red = crop.copy()
    red[where] = (255, 0, 0)
    return red


def opening(lips: MeshLips, pixels: float) -> float:
    """The first motion that opens the mouth so far."""
    return pixels / float(lip_gap(lips.decoder.mesh.basis[0]))


@pytest.mark.parametrize("opening_px", [4.0, 7.0, 11.0])
@pytest.mark.parametrize("says", [(0.0, 0.0), (0.0, 1.0), (3.0, 0.0), (6.0, -1.0), (11.0, 0.5)])
def test_what_is_between_the_frames_lips_is_not_seen(
    lips: MeshLips, opening_px: float, says: tuple[float, float]
) -> None:
    unit = saying(lips, opening(lips, says[0]), says[1])
    landmarks = drawn_face.points(opening_px)
    inside = between_the_lips(landmarks)
    assert inside.sum() > 10
    crop = drawn_face.picture(landmarks)
    faces = faces_of([crop, painted(crop, inside)], [landmarks] * 2)
    with torch.no_grad():
        drawn = lips.render(unit.expand(2, -1), faces, known(CLIP, GALLERY))
    assert float((drawn[1] - drawn[0]).abs().max()) <= 1 / 255


def test_the_skin_around_it_is_seen(lips: MeshLips) -> None:
    landmarks = drawn_face.points(6.0)
    crop = drawn_face.picture(landmarks)
    faces = faces_of([crop, painted(crop, ~between_the_lips(landmarks))], [landmarks] * 2)
    with torch.no_grad():
        drawn = lips.render(saying(lips, 0.5, 0.0).expand(2, -1), faces, known(CLIP, GALLERY))
    assert float((drawn[1] - drawn[0]).abs().mean()) > 0.1  # the test above could fail


def frames_of_one_face(lips: MeshLips, changes: list[tuple[float, float]]) -> Faces:
    """One crop at rest moved by the mesh itself: nothing but the motion differs."""
    mesh = lips.decoder.mesh
    landmarks = torch.from_numpy(drawn_face.points(0.5))[None].repeat(len(changes), 1, 1)
    rest = mesh.resting(torch.from_numpy(CLIP))
    target = mesh.moved(landmarks, rest, torch.tensor(changes))
    crops = pictures([drawn_face.picture(drawn_face.points(0.5))]).repeat(len(changes), 1, 1, 1)
    bank = known(CLIP, GALLERY[-1:] * len(changes))
    still = mesh.motion(landmarks, rest)
    views = Views(crops=crops, landmarks=landmarks, motion=still, bank_crops=bank.crops, bank_landmarks=bank.landmarks)
    return Faces(crops=lips.decoder.compose(views, target)[0], landmarks=target, times_s=torch.ones(len(changes)))


@pytest.mark.parametrize("said_px", [1.0, 5.0])
def test_the_frames_own_motion_does_not_come_through(mesh: FaceMesh, said_px: float) -> None:
    lips = mesh_lips(mesh, refined=False)
    faces = frames_of_one_face(lips, [(0.0, 0.0), (opening(lips, 7.0), 0.0), (opening(lips, 3.0), 1.0)])
    assert lip_gap(faces.landmarks).max() - lip_gap(faces.landmarks).min() > 5
    rest = mesh.resting(torch.from_numpy(CLIP))
    said = opening(lips, said_px)
    unit = saying(lips, said, 0.0)
    motion = lips.decoder.motion(unit.expand(3, -1)).detach()
    target = mesh.moved(faces.landmarks, rest, motion - mesh.motion(faces.landmarks, rest))
    assert float(lip_gap(target).max() - lip_gap(target).min()) < 0.01
    with torch.no_grad():
        drawn = lips.render(unit.expand(3, -1), faces, known(CLIP, GALLERY))
    mouth = (..., slice(75, 115), slice(35, 93))
    before = (faces.crops[1:] - faces.crops[:1])[mouth].abs().mean(dim=(1, 2, 3))
    after = (drawn[1:] - drawn[:1])[mouth].abs().mean(dim=(1, 2, 3))
    assert (after < 0.15 * before).all()
    assert (after < 2 / 255).all()


def test_a_louder_unit_opens_the_mouth_in_any_frame(mesh: FaceMesh) -> None:
    lips = mesh_lips(mesh, refined=False)
    faces = frames_of_one_face(lips, [(0.0, 0.0), (opening(lips, 7.0), 0.0)])
    shown = known(CLIP, GALLERY)
    with torch.no_grad():
        closed, wide = (
            lips.render(saying(lips, opening(lips, gap), 0.0).expand(2, -1), faces, shown) for gap in (0.0, 8.0)
        )
    between = (..., slice(90, 95), slice(56, 73))  # what was lip is now mouth
    assert (wide - closed)[between].abs().mean(dim=(1, 2, 3)).min() > 0.1
    assert float((wide[1] - wide[0])[between].abs().mean()) < 0.03  # the same from either frame
    assert float((wide - closed)[..., :56, :].abs().max()) == 0  # the upper face has no part in it


def test_what_a_mouth_does_not_follow_is_asked_for_in_advance(mesh: FaceMesh) -> None:
    lips = mesh_lips(mesh)
    own, said = torch.tensor([[1.0, 0.3], [0.2, 0.2]]), torch.tensor([[-0.5, 0.1], [0.2, 0.2]])
    gaps = lip_gap(mesh.basis)
    plain = lips.decoder._change(own, said, torch.tensor(1.0))
    torch.testing.assert_close(plain, said - own)
    further = lips.decoder._change(own, said, torch.tensor(0.8))
    torch.testing.assert_close(further @ gaps, plain @ gaps / 0.8)
    across = torch.eye(2) - torch.outer(gaps, gaps) / gaps.square().sum()
    torch.testing.assert_close(further @ across, plain @ across)  # nothing but the opening
    torch.testing.assert_close(further[1], torch.zeros(2))  # a mouth that already says it stays as it is


@pytest.mark.parametrize("frames", [[0, *range(5, 60, 6)], [0]])
@pytest.mark.parametrize("response", [1.0, 0.8, 0.6])
def test_trial_drawings_find_how_far_a_mouth_goes(mesh: FaceMesh, frames: list[int], response: float) -> None:
    lips = mesh_lips(mesh)
    gallery = dataclasses.replace(known(CLIP, frames), seen=torch.from_numpy(CLIP[frames]))  # of one frame: a photo

    def look(crops: Tensor, expected: Tensor) -> Tensor:
        """A mesh that sees a part of what was done to the mouth, and all mouths a little wider open."""
        assert crops.shape == (3 * len(frames), 3, 128, 128)
        rest, gaps = mesh.resting(gallery.seen), lip_gap(mesh.basis)
        faces = gallery.landmarks.repeat_interleave(3, dim=0)
        change = mesh.motion(expected, rest) - mesh.motion(faces, rest)
        more = 0.2 - (1 - response) * change @ gaps
        return mesh.moved(faces, rest, change + more[:, None] * gaps / gaps.square().sum())

    torch.testing.assert_close(lips.tried(gallery, look).response, torch.tensor(response), atol=0.06, rtol=0)


def test_mend_takes_a_share_of_the_refinement(mesh: FaceMesh) -> None:
    landmarks = drawn_face.points(4.0)
    faces, shown = faces_of([drawn_face.picture(landmarks)], [landmarks]), known(CLIP, GALLERY)
    lips, drawn = mesh_lips(mesh), []
    with torch.no_grad():
        lips.decoder.refinement.last[1].bias.fill_(1.0)
        for mend in (0.0, 0.5, 1.0):
            lips.decoder.config = MeshConfig(**{**vars(lips.decoder.config), "mend": mend})
            drawn.append(lips.render(saying(lips, 1.0, 0.0), faces, shown))
    assert float((drawn[2] - drawn[0]).abs().max()) > 0.05
    inside = ((drawn[0] > 0.01) & (drawn[2] > 0.01) & (drawn[0] < 0.99) & (drawn[2] < 0.99)).all(dim=1)[0]
    half = (drawn[0] + drawn[2]) / 2
    torch.testing.assert_close(drawn[1][..., inside], half[..., inside], atol=0.02, rtol=0)


def test_refinement_stays_in_its_region_and_out_of_it_nothing_moves(lips: MeshLips) -> None:
    landmarks = drawn_face.points(4.0)
    crop = drawn_face.picture(landmarks)
    composed = pictures([crop])
    mended = lips.decoder.refinement(
        composed, torch.zeros(1, 2, 128, 128), torch.ones(1, 1, 128, 128), torch.zeros(1, 2)
    )
    change = (mended - composed).detach().abs().amax(dim=(0, 1))
    assert float(change[TOP:BOTTOM, LEFT:RIGHT].max()) > 0
    change[TOP:BOTTOM, LEFT:RIGHT] = 0
    assert float(change.max()) == 0
    with torch.no_grad():
        drawn = lips.render(saying(lips, 1.0, 0.0), faces_of([crop], [landmarks]), known(CLIP, GALLERY))
    assert torch.equal(drawn[..., :48, :], composed[..., :48, :])
    assert float((drawn - composed)[..., 80:110, 40:90].abs().mean()) > 0.01


def test_a_photo_speaks_from_its_own_single_frame(lips: MeshLips) -> None:
    landmarks = drawn_face.points(7.0)
    photo = faces_of([drawn_face.picture(landmarks)], [landmarks])
    alone = Gallery(crops=photo.crops, landmarks=photo.landmarks, times_s=photo.times_s, seen=photo.landmarks)
    with torch.no_grad():
        drawn = lips.render(saying(lips, 0.0, 0.0), photo, alone)
    assert bool(torch.isfinite(drawn).all())
    rest = lips.decoder.mesh.resting(alone.seen)
    assert float(lip_gap(rest)) < 0.7 * float(lip_gap(photo.landmarks[0]))


def test_the_lower_half_of_the_frame_is_nothing_to_the_unet() -> None:
    torch.manual_seed(0)
    model = UNetLips(UNetLipsConfig(a2l=A2L, decoder=UNET)).eval()
    landmarks = drawn_face.points(6.0)
    crop = drawn_face.picture(landmarks)
    red, blind = crop.copy(), crop.copy()
    red[64:] = (255, 0, 0)
    blind[:64] = 0
    faces = faces_of([crop, red, blind], [landmarks, drawn_face.points(0.0), landmarks])
    with torch.no_grad():
        drawn = model.render(torch.ones(3, 16), faces, known(CLIP, GALLERY))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    priors = prior(faces.crops)
    assert float(priors[..., 64:, :].abs().max()) == 0
    assert torch.equal(priors[..., :64, :], faces.crops[..., :64, :])


def test_the_unets_reference_is_the_quietest_frame_of_another_time() -> None:
    shown = known(CLIP, GALLERY)
    model = UNetLips(UNetLipsConfig(a2l=A2L, decoder=UNET)).eval()
    asked: list[torch.Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _, given: asked.append(given[1]))
    faces = faces_of([drawn_face.picture(CLIP[0])] * 2, [CLIP[0]] * 2)
    for time_s, frame in ((1.0, 0), (10.0, 1), (10.15, 1), (10.2, 0), (11.0, 0)):
        model.render(torch.zeros(2, 16), Faces(faces.crops, faces.landmarks, torch.full((2,), time_s)), shown)
        assert torch.equal(asked[-1], shown.crops[[frame, frame]]), time_s


def test_the_most_open_mouth_is_never_the_frames_own() -> None:
    shown = known(CLIP, GALLERY)  # at 10, 11 and 12 s, from closed to open
    times = torch.tensor([0.0, 12.0, 12.0 - OWN_S / 2, 12.0 + OWN_S / 2, 12.0 + OWN_S, 11.0, 10.0])
    assert most_open(times, shown).tolist() == [2, 1, 1, 1, 2, 2, 2]
    alone = known(CLIP, GALLERY[:1])
    assert most_open(torch.tensor([10.0, 3.0]), alone).tolist() == [0, 0]  # a photo has nothing else


def test_forward_and_render_agree(mesh: FaceMesh) -> None:
    """Training and inference draw the same picture of the same unit."""
    lips = mesh_lips(mesh)
    shown = dataclasses.replace(known(CLIP, GALLERY), response=torch.tensor(USUAL))
    landmarks = drawn_face.points(4.0)
    faces = faces_of([drawn_face.picture(landmarks)], [landmarks])
    mel = -40 + 10 * torch.randn(1, 40, 80, generator=torch.Generator().manual_seed(0))
    rest = mesh.resting(shown.seen)
    views = Views(
        crops=faces.crops,
        landmarks=faces.landmarks,
        motion=mesh.motion(faces.landmarks, rest),
        bank_crops=shown.crops[-1:],
        bank_landmarks=shown.landmarks[-1:],
    )
    with torch.no_grad():
        pair = Whole(views, faces.landmarks, views.motion)
        heard = torch.zeros(1, 10, dtype=torch.bool)
        motion, drawn, spoken = lips(mel, heard, pair, Whole(views, rest[None], torch.tensor([7])))
        assert motion.shape == (1, 10, 2)
        assert drawn.shape == (1, 3, 128, 128)
        assert lips(mel, heard, pair)[2] is None
        hidden = torch.arange(10)[None] == 7
        assert not torch.allclose(lips(mel, hidden, pair)[0][0, 7], motion[0, 7])
        torch.testing.assert_close(lips.render(lips.units(mel)[0, 7:8], faces, shown), spoken)


def test_the_same_frame_drawn_from_itself_is_itself_outside_its_mouth(mesh: FaceMesh) -> None:
    lips = mesh_lips(mesh, refined=False)
    shown = known(CLIP, GALLERY)
    landmarks = torch.from_numpy(CLIP[GALLERY[1]])[None]
    crops = shown.crops[1:2]
    views = Views(
        crops=crops,
        landmarks=landmarks,
        motion=mesh.motion(landmarks, mesh.resting(shown.seen)),
        bank_crops=shown.crops[2:],
        bank_landmarks=shown.landmarks[2:],
        whole=True,
    )
    composed, seen = lips.decoder.compose(views, landmarks)
    untouched = (seen[:, :1] == 0).expand_as(crops)
    torch.testing.assert_close(composed[untouched], crops[untouched], atol=1e-3, rtol=0)
    hole = drawn_polygon(landmarks[:, list(MOUTH_INNER), :2], 128, 128)
    torch.testing.assert_close(seen[:, :1], hole)
    assert (seen[:, 1] <= seen[:, 0]).all()
    assert float(seen[:, 1].sum() / seen[:, 0].sum()) > 0.5  # an open mouth nearly fills it


def test_geometry_is_exact_whatever_the_networks_run_in(mesh: FaceMesh) -> None:
    lips = mesh_lips(mesh, refined=False)
    landmarks = torch.from_numpy(CLIP[:3])
    rest = mesh.resting(torch.from_numpy(CLIP))
    shown = known(CLIP, [0, 1, 2])
    change = torch.tensor([[0.3, 1.0]] * 3)

    def drawn() -> list[torch.Tensor]:
        motion = mesh.motion(landmarks, rest)
        target = mesh.moved(landmarks, rest, change)
        views = Views(shown.crops, landmarks, motion, shown.crops, shown.landmarks)
        return [mesh.resting(landmarks), motion, target, *lips.decoder.compose(views, target)]

    plain = drawn()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = drawn()
    for one, other in zip(plain, mixed, strict=True):
        assert torch.equal(one, other)


def test_vertices_of_the_lips_learn_from_the_picture(mesh: FaceMesh) -> None:
    """What d_av and d_vv say about a picture reaches the unit that was to say it."""
    lips = mesh_lips(mesh)
    landmarks = drawn_face.points(3.0)
    faces = faces_of([drawn_face.picture(landmarks)], [landmarks])
    unit = torch.zeros(1, 16, requires_grad=True)
    drawn = lips.render(unit, faces, known(CLIP, GALLERY))
    lip = drawn_polygon(torch.from_numpy(landmarks[None, list(MOUTH_OUTER), :2]), 128, 128)
    (gradient,) = torch.autograd.grad((drawn * lip).sum(), unit)
    assert float(gradient.abs().max()) > 1e-3


@pytest.mark.parametrize("kind", ["mesh", "unet"])
def test_a_checkpoint_brings_back_the_same_model(mesh: FaceMesh, kind: str) -> None:
    torch.manual_seed(3)
    model = mesh_lips(mesh) if kind == "mesh" else UNetLips(UNetLipsConfig(a2l=A2L, decoder=UNET)).eval()
    checkpoint = to_checkpoint(model, step=3)
    assert (checkpoint.kind, checkpoint.step) == (kind, 3)
    again = from_checkpoint(checkpoint)
    assert type(again) is type(model)
    assert again.config == model.config
    faces = faces_of([drawn_face.picture(CLIP[3])], [CLIP[3]])
    with torch.no_grad():
        drawn = [each.render(torch.ones(1, 16), faces, known(CLIP, GALLERY)) for each in (model, again)]
    assert torch.equal(*drawn)
    mel = torch.full((1, 40, 80), -50.0)
    assert again.units(mel).shape == (1, 10, 16)


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
