"""Other faces from the same frames: mirror images and morphs are what they say, without tears, and only when asked."""

import functools
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import drawn_face
from cals.data.store import ClipStore, LoadedClip
from cals.errors import ConfigError
from cals.face.landmarks import (
    LEFT_BROW,
    LEFT_EYE,
    MIDLINE,
    MIRROR,
    MOUTH_INNER,
    MOUTH_OUTER,
    N_POINTS,
    NOSE_BRIDGE,
    NOSE_TIP,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
)
from cals.inference.load import load_model
from cals.models.mesh import FaceMesh, lip_gap, measured, similarity
from cals.models.mesh_decoder import Views
from cals.models.speaking import MeshLips
from cals.nn.warp import sampled
from cals.training.pairs import (
    Geometry,
    Look,
    LookAugment,
    Pair,
    People,
    batched,
    drawn_pair,
    geometry_of,
    mirrored,
)
from cals.types import F32

SIZE, FRAMES = 128, 40
SHAPES = {"anna": (1.05, 0.96), "bert": (0.94, 1.05), "cleo": (1.0, 1.1)}
"""Each person's proportions, width and height below the eyes."""
CPU = torch.device("cpu")


class Shelf:
    """As much of a store as geometry needs."""

    def __init__(self, clips: dict[str, F32]) -> None:
        self.speakers, self._clips = list(clips), list(clips.values())

    def __len__(self) -> int:
        return len(self._clips)

    def landmarks(self, index: int) -> F32:
        return self._clips[index]


def symmetric(points: F32) -> F32:
    """The face whose right half is its left half; points of the midline that have no name lie on the forehead."""
    free = [point for point in MIDLINE if point not in {*OVAL, *NOSE_BRIDGE, *MOUTH_OUTER, *MOUTH_INNER, NOSE_TIP}]
    left = np.array([point for point in range(N_POINTS) if point < MIRROR[point]])
    face = points.copy()
    face[np.array(MIRROR)[left]] = face[left] * (-1, 1, 1) + (SIZE, 0, 0)
    face[list(MIDLINE), 0] = SIZE / 2
    face[free, 1] = np.linspace(14, 30, len(free))
    return face


@functools.cache
def said(speaker: str, seed: int) -> F32:
    """Landmarks [t 468 3] of a symmetric face that says something: opening, width, and a jaw that is not straight."""
    rng = np.random.default_rng(seed)
    wide, high = SHAPES[speaker]
    frames = []
    for opening in np.clip(4 + 4 * rng.normal(size=FRAMES), 0, 12):
        face = symmetric(drawn_face.points(float(opening), float(rng.normal())))
        below = np.clip(face[:, 1] - 40, 0, None)
        face[:, 1] += (high - 1) * below + 2 * rng.normal() * (face[:, 0] / 64 - 1) * (below > 25)
        face[:, 0] = 64 + (face[:, 0] - 64) * wide
        frames.append(face)
    return np.stack(frames).astype(np.float32)


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return measured([said(name, seed) for seed, name in enumerate(SHAPES)], list(SHAPES), 3)


def ramp() -> Any:
    """A picture [h w 3] that says in its first two channels where each pixel is: twice its column and its row."""
    row, column = np.mgrid[:SIZE, :SIZE]
    return np.stack([2 * column, 2 * row, np.full_like(row, 90)], axis=-1).astype(np.uint8)


def places(crops: Tensor) -> Tensor:
    """Where each pixel of changed ramps [b 3 h w] comes from, [b 2 h w]."""
    return crops[:, :2] * 255 / 2 + 0.5


def clip_of(speaker: str, landmarks: F32, crop: Any) -> LoadedClip:
    crops = np.broadcast_to(crop, (len(landmarks), SIZE, SIZE, 3)).copy()
    return LoadedClip(
        key=speaker, speaker=speaker, crops=crops, mel=torch.zeros(1, 1), landmarks=landmarks, facts={"clip": speaker}
    )


def known(mesh: FaceMesh, clips: dict[str, F32]) -> list[Geometry]:
    return geometry_of(mesh, cast(ClipStore, Shelf(clips)))


def cast_of(mesh: FaceMesh) -> tuple[list[LoadedClip], list[Geometry]]:
    clips = {name: said(name, seed + 10) for seed, name in enumerate(SHAPES)}
    return [clip_of(name, landmarks, ramp()) for name, landmarks in clips.items()], known(mesh, clips)


def seen(clip: LoadedClip, face: Geometry, look: Look) -> tuple[Views, Tensor, Tensor, Tensor]:
    """The most open frame as target, the first as source, the least open as bank."""
    target, bank = int(face.gaps.argmax()), int(face.gaps.argmin())
    return batched([Pair(source=0, target=target, bank=bank, clip=clip, face=face, look=look)], CPU)


def test_the_mirror_image_of_the_mirror_image_is_the_face() -> None:
    assert sorted(MIRROR) == list(range(N_POINTS))
    assert [MIRROR[point] for point in MIRROR] == list(range(N_POINTS))
    assert {point for point in range(N_POINTS) if MIRROR[point] == point} == set(MIDLINE)
    points = torch.rand(2, N_POINTS, 3)
    torch.testing.assert_close(mirrored(mirrored(points, SIZE), SIZE), points)


def test_named_points_have_their_mirror_images() -> None:
    def image(points: tuple[int, ...]) -> list[int]:
        return [MIRROR[point] for point in points]

    def turned(ring: tuple[int, ...], start: int) -> list[int]:
        """The closed outline the other way round."""
        return [ring[(start - i) % len(ring)] for i in range(len(ring))]

    assert image(LEFT_EYE) == turned(RIGHT_EYE, RIGHT_EYE.index(263))
    assert set(image(LEFT_BROW)) == set(RIGHT_BROW)
    assert image(MOUTH_OUTER) == turned(MOUTH_OUTER, 10)
    assert image(MOUTH_INNER) == turned(MOUTH_INNER, 10)
    assert image(OVAL) == turned(OVAL, 0)
    assert image(NOSE_BRIDGE) == list(NOSE_BRIDGE)


def test_real_faces_are_as_symmetric_as_the_mirror_says() -> None:
    network = load_model("grid-small").network
    assert isinstance(network, MeshLips)
    face = network.decoder.mesh.template.float()
    image = mirrored(face, SIZE)
    scale, turn, middle, face_middle = similarity(face[None], image[None], torch.ones(N_POINTS, dtype=torch.bool))
    upright = (image - middle[0]) @ turn[0].T / scale + face_middle[0]
    assert (upright - face).norm(dim=1).max() < 1.5
    assert torch.cdist(upright, face).argmin(dim=1).tolist() == list(range(N_POINTS))


def test_without_a_look_nothing_is_changed(mesh: FaceMesh) -> None:
    clips, faces = cast_of(mesh)
    pair = drawn_pair(clips[0], faces[0], np.random.default_rng(0))
    views, target, motion, wanted = batched([pair], CPU)
    torch.testing.assert_close(wanted[0], torch.from_numpy(ramp()).permute(2, 0, 1) / 255, atol=1e-3, rtol=0)
    torch.testing.assert_close(target[0], faces[0].landmarks[pair.target])
    assert torch.equal(motion[0], faces[0].motion[pair.target])
    assert torch.equal(views.motion[0], faces[0].motion[pair.source])
    torch.testing.assert_close(views.bank_landmarks[0], faces[0].landmarks[pair.bank])


def test_a_flip_is_the_mirrored_clip(mesh: FaceMesh) -> None:
    landmarks = said("anna", 5)
    clip, face = clip_of("anna", landmarks, ramp()), known(mesh, {"anna": landmarks})[0]
    turned = mirrored(torch.from_numpy(landmarks), SIZE).numpy()
    there = clip_of("anna", turned, ramp()[:, ::-1]), known(mesh, {"anna": turned})[0]
    views, target, motion, wanted = seen(clip, face, Look(flip=True))
    views_there, target_there, motion_there, wanted_there = seen(*there, Look())
    torch.testing.assert_close(wanted, wanted_there)
    torch.testing.assert_close(views.bank_crops, views_there.bank_crops)
    torch.testing.assert_close(target, target_there)
    torch.testing.assert_close(views.landmarks, views_there.landmarks)
    torch.testing.assert_close(motion, motion_there, atol=0.08, rtol=0)
    torch.testing.assert_close(views.motion, views_there.motion, atol=0.08, rtol=0)
    kept = face.motion[int(face.gaps.argmax())]
    assert (motion[0] - kept).abs().max() > 0.3  # the test is for a mouth that is not symmetric


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("share", [-0.3, 0.7])
def test_pixels_move_with_their_landmarks(mesh: FaceMesh, share: float, flip: bool) -> None:
    clips, faces = cast_of(mesh)
    look = Look(share=share, other=faces[1].rest, stretch=(1.1, 0.9), flip=flip)
    _, target, _, wanted = seen(clips[0], faces[0], look)
    own = faces[0].landmarks[int(faces[0].gaps.argmax())][None]
    unmoved = mirrored(own, SIZE) if flip else own
    stretched = (unmoved[..., :2] - 64) * torch.tensor(look.stretch) + 64
    moved_px = (target[..., :2] - stretched).norm(dim=-1)
    assert moved_px.max() > 1
    come = sampled(places(wanted), target[:, :, None, :2])[..., 0].permute(0, 2, 1)
    inside = ((target[..., :2] > 3) & (target[..., :2] < SIZE - 3)).all(dim=-1)
    before = unmoved if not flip else torch.cat([SIZE - unmoved[..., :1], unmoved[..., 1:]], dim=-1)
    error = (come - before[..., :2]).norm(dim=-1)[inside]
    assert error.mean() < 0.1
    assert error.max() < 0.7


def test_the_open_mouth_is_carried_along_and_nothing_tears(mesh: FaceMesh) -> None:
    clips, faces = cast_of(mesh)
    frame = int(faces[0].gaps.argmax())
    own = faces[0].landmarks[frame]
    assert lip_gap(own) > 6
    look = Look(share=0.7, other=faces[1].rest)
    _, target, _, wanted = seen(clips[0], faces[0], look)
    middle = [face[[13, 14], :2].mean(dim=0) for face in (own, target[0])]
    assert (middle[1] - middle[0]).norm() > 1
    come = sampled(places(wanted), middle[1][None, None, None])[0, :, 0, 0]
    torch.testing.assert_close(come, middle[0], atol=0.4, rtol=0)
    read = places(wanted)[0]
    for axis in (1, 2):  # neighbours come from neighbours, in the same order
        step = read.diff(dim=axis)[2 - axis]
        assert step.max() < 2
        assert step[8:-8, 8:-8].min() > 0.1


def test_no_pixel_comes_from_further_than_points_move(mesh: FaceMesh) -> None:
    clips, faces = cast_of(mesh)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.7, (N_POINTS, 3))).float()  # makes slivers
    _, target, _, wanted = seen(clips[0], faces[0], Look(share=1.0, other=faces[0].rest + noise))
    furthest = (target[0] - faces[0].landmarks[int(faces[0].gaps.argmax())])[:, :2].abs().max()
    here = torch.from_numpy(ramp()[..., :2]).permute(2, 0, 1) / 2 + 0.5
    assert (places(wanted)[0] - here).abs().max() < furthest + 0.5


def test_what_lies_outside_the_ring_stays(mesh: FaceMesh) -> None:
    clips, faces = cast_of(mesh)
    look = Look(share=0.7, other=faces[1].rest, stretch=(0.95, 1.05))
    wanted = seen(clips[0], faces[0], look)[3]
    still = seen(clips[0], faces[0], look._replace(other=None))[3]
    assert (wanted - still).abs().max() > 0.01
    frame = faces[0].landmarks[int(faces[0].gaps.argmax())][None]
    ring = mesh.vertices(frame, frame)[0, N_POINTS:]
    away = (torch.tensor([[0.5, 0.5], [127.5, 0.5], [0.5, 127.5], [127.5, 127.5]]) - ring.mean(dim=0)).norm(dim=-1)
    assert away.min() > 85, "the ring does not reach the corners"
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert torch.equal(wanted[..., row, column], still[..., row, column])


@pytest.mark.parametrize("share", [-0.3, 0.7])
def test_a_morph_is_another_shape_that_says_the_same(mesh: FaceMesh, share: float) -> None:
    clips, faces = cast_of(mesh)
    look = Look(share=share, other=faces[1].rest)
    views, target, motion, _ = seen(clips[0], faces[0], look)
    own, other = faces[0].rest, faces[1].rest
    torch.testing.assert_close(motion, mesh.motion(target, own + share * (other - own)), atol=1e-4, rtol=0)
    torch.testing.assert_close(motion[0], faces[0].motion[int(faces[0].gaps.argmax())], atol=0.02, rtol=0)
    torch.testing.assert_close(views.motion[0], faces[0].motion[0], atol=0.02, rtol=0)
    assert (mesh.motion(target, own) - motion).abs().max() > 0.05  # against the rest it had it would say another thing


def test_the_whole_share_is_the_other_person(mesh: FaceMesh) -> None:
    clips, faces = cast_of(mesh)
    target = seen(clips[0], faces[0], Look(share=1.0, other=faces[1].rest))[1]
    frame = faces[0].landmarks[int(faces[0].gaps.argmax())]
    # Of as many frames as these the mesh makes no guess: it only takes out the pose.
    became, was = (mesh.resting(points.expand(40, -1, -1)) for points in (target[0], frame))
    torch.testing.assert_close(became - was, faces[1].rest - faces[0].rest, atol=0.1, rtol=0)


def test_a_batch_is_its_pairs_one_by_one(mesh: FaceMesh) -> None:
    clips, faces = cast_of(mesh)
    looks = [Look(), Look(flip=True), Look(share=0.5, other=faces[0].rest, gamma=1.2, channels=(2, 0, 1))]
    pairs = [
        Pair(source=1, target=2, bank=3, clip=clip, face=face, look=look)
        for clip, face, look in zip(clips, faces, looks, strict=True)
    ]
    together = batched(pairs, CPU)
    for i, pair in enumerate(pairs):
        alone = batched([pair], CPU)
        for many, one in zip([*together[0][:5], *together[1:]], [*alone[0][:5], *alone[1:]], strict=True):
            torch.testing.assert_close(many[i], one[0], atol=1e-4, rtol=1e-4)


def test_looks_are_drawn_as_configured(mesh: FaceMesh) -> None:
    people = cast_of(mesh)[1][0].people
    rng = np.random.default_rng(0)
    config = LookAugment(flip=0.25, morph=0.75, share=(-0.2, 0.4))
    looks = [Look.drawn(rng, config, people, "anna") for _ in range(400)]
    assert np.mean([look.flip for look in looks]) == pytest.approx(0.25, abs=0.07)
    assert np.mean([look.other is not None for look in looks]) == pytest.approx(0.75, abs=0.07)
    shares = [look.share for look in looks]
    assert -0.2 <= min(shares) < -0.15
    assert 0.35 < max(shares) <= 0.4
    met = {name for name, rests in people.rests.items() for look in looks if any(look.other is rest for rest in rests)}
    assert met == {"bert", "cleo"}
    again = Look.drawn(np.random.default_rng(1), config, people, "anna")
    assert str(again) == str(Look.drawn(np.random.default_rng(1), config, people, "anna"))


def test_who_is_alone_is_not_morphed(mesh: FaceMesh) -> None:
    alone = People(mesh, {"anna": [mesh.template]})
    assert Look.drawn(np.random.default_rng(0), LookAugment(morph=1.0), alone, "anna").other is None


@pytest.mark.parametrize("wrong", [{"flip": 1.5}, {"morph": -0.1}, {"share": (0.5, 0.1)}])
def test_impossible_looks_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="look: expected"):
        LookAugment(**wrong)
