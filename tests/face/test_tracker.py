"""Following one face: motion, gaps, cuts, jumps, several people, and looking for one that is absent."""

from fractions import Fraction

import numpy as np
import pytest
from face_scenes import GRID, background, grid_frames, put_face, run

from cals.face.detector import BlazeFaceMesh, Detection
from cals.face.landmarks import N_POINTS
from cals.face.person import parse_person
from cals.face.picture import ArrayPicture
from cals.face.shots import Shot, ShotDetector
from cals.face.trace import trace_back
from cals.face.tracker import FaceTracker
from cals.types import F32, U8, TrackedFace

SIZE = (640, 360)


def _centre(face: TrackedFace) -> tuple[float, float]:
    x, y = face.landmarks[:, :2].mean(axis=0)
    return float(x), float(y)


def _draw_two_faces(portrait: U8, seed: int = 1) -> U8:
    """Draw a smaller face on the left, a larger one on the right."""
    scene = put_face(background(*SIZE, seed), portrait, 90, (150, 170))
    return put_face(scene, portrait, 120, (470, 180), mirror=True)


def test_every_frame_gets_its_face(detector: BlazeFaceMesh, portrait: U8) -> None:
    ground = background(*SIZE, 1)
    places = [(200 + 14 * i, 180 + 4 * i) for i in range(12)]
    faces = run(FaceTracker(detector), [put_face(ground, portrait, 100, at) for at in places])
    assert all(face.valid and not face.cut and face.track == 0 for face in faces)
    assert [face.index for face in faces] == list(range(12))
    steps = np.diff([_centre(face) for face in faces], axis=0)
    np.testing.assert_allclose(steps, np.full_like(steps, 1) * (14, 4), atol=1.5)


@pytest.mark.parametrize(("face_px", "angle_deg"), [(100, 0), (131, 0), (160, 12), (187, -7)])
def test_a_picture_that_stays_keeps_its_mesh(
    detector: BlazeFaceMesh, portrait: U8, face_px: float, angle_deg: float
) -> None:
    """The mesh depends on its region and the region on the mesh before: followed at once it swings for ever."""
    scene = put_face(background(*SIZE, 1), portrait, face_px, (310.4, 182.7), angle_deg)
    faces = run(FaceTracker(detector), [scene] * 30)
    for face in faces[26:]:
        np.testing.assert_array_equal(face.landmarks, faces[25].landmarks)


def test_a_face_on_its_head_is_found_again(detector: BlazeFaceMesh, portrait: U8) -> None:
    ground = background(*SIZE, 1)
    shown = put_face(ground, portrait, 100, (300, 180), angle_deg=180)
    faces = run(FaceTracker(detector), [shown] * 3 + [ground] * 12 + [shown] * 12)
    assert all(face.valid for face in faces[:3])
    assert all(face.valid for face in faces[24:])
    eyes, mouth = faces[0].landmarks[168, 1], faces[0].landmarks[13, 1]
    assert eyes > mouth + 20


def test_a_gap_is_stated_and_starts_a_new_track(detector: BlazeFaceMesh, portrait: U8) -> None:
    ground = background(*SIZE, 1)
    shown = put_face(ground, portrait, 100, (300, 180))
    faces = run(FaceTracker(detector), [shown] * 3 + [ground] * 20 + [shown] * 8)
    assert all(face.valid for face in faces[:3])
    assert not any(face.valid for face in faces[3:23])
    for face in faces[3:23]:
        assert face.box is None
        assert face.landmarks.shape == (0, 3)
    back = next(face.index for face in faces[23:] if face.valid)
    assert back - 23 <= 5  # 0.2 s
    assert all(face.valid and face.track == 1 for face in faces[back:])
    assert not any(face.cut for face in faces)


def test_a_small_face_is_picked_up_where_it_was_lost(detector: BlazeFaceMesh, portrait: U8) -> None:
    ground = background(1280, 720, 1)
    shown = put_face(ground, portrait, 42, (900, 300))
    faces = run(FaceTracker(detector), [shown] * 2 + [ground] * 8 + [shown] * 6)
    assert [face.valid for face in faces[:10]] == [True] * 2 + [False] * 8
    assert faces[15].valid


def test_a_cut_starts_a_new_shot(detector: BlazeFaceMesh, portrait: U8) -> None:
    one = put_face(background(*SIZE, 1), portrait, 100, (200, 180))
    other = put_face(background(*SIZE, 2), portrait, 140, (450, 190), mirror=True)
    faces = run(FaceTracker(detector), [one] * 4 + [other] * 4)
    assert [face.cut for face in faces] == [False] * 4 + [True] + [False] * 3
    assert [face.track for face in faces] == [0] * 4 + [1] * 4
    assert _centre(faces[4])[0] > 400


def test_a_cut_away_is_a_cut_without_a_face(detector: BlazeFaceMesh, portrait: U8) -> None:
    one = put_face(background(*SIZE, 1), portrait, 100, (200, 180))
    faces = run(FaceTracker(detector), [one] * 3 + [background(*SIZE, 5)] * 3 + [one] * 3)
    assert [face.cut for face in faces] == [False] * 3 + [True, False, False] * 2
    assert [face.valid for face in faces] == [True] * 3 + [False] * 3 + [True] * 3


def test_a_flash_is_no_cut(detector: BlazeFaceMesh, portrait: U8) -> None:
    one = put_face(background(*SIZE, 1), portrait, 100, (200, 180))
    bright = np.clip(one.astype(np.int32) * 2 + 60, 0, 255).astype(np.uint8)
    white = np.full_like(one, 255)
    faces = run(FaceTracker(detector), [one] * 3 + [bright] + [one] * 3 + [white] + [one] * 3)
    assert not any(face.cut for face in faces)
    assert all(face.valid for face in faces[:3] + faces[4:7])


def test_shots_see_neither_motion_nor_pans() -> None:
    wide = background(2000, 360, 3)
    shots = ShotDetector()
    pan = [ArrayPicture(np.ascontiguousarray(wide[:, 30 * i : 30 * i + 640])) for i in range(20)]
    assert all(shots.update(picture, Fraction(i, 25)) is Shot.SAME for i, picture in enumerate(pan))


@pytest.mark.parametrize(
    ("rule", "x"), [("largest", 470), ("left", 150), ("right", 470), ("1", 150), ("2", 470), ("160,150@0", 150)]
)
def test_every_person_rule(detector: BlazeFaceMesh, portrait: U8, rule: str, x: float) -> None:
    faces = run(FaceTracker(detector, parse_person(rule)), [_draw_two_faces(portrait)] * 3)
    assert all(face.valid for face in faces)
    assert _centre(faces[2])[0] == pytest.approx(x, abs=15)


def test_a_third_person_who_is_not_there(detector: BlazeFaceMesh, portrait: U8) -> None:
    assert not any(
        face.valid for face in run(FaceTracker(detector, parse_person("3")), [_draw_two_faces(portrait)] * 2)
    )


def test_after_a_gap_the_same_person_is_followed(detector: BlazeFaceMesh, portrait: U8) -> None:
    """The left face is lost and comes back while a larger one never left."""
    both = _draw_two_faces(portrait)
    only_right = put_face(background(*SIZE, 1), portrait, 120, (470, 180), mirror=True)
    faces = run(FaceTracker(detector, parse_person("left")), [both] * 3 + [only_right] * 1 + [both] * 8)
    assert _centre(faces[2])[0] == pytest.approx(150, abs=15)
    assert _centre(faces[-1])[0] == pytest.approx(150, abs=15)


def test_before_its_time_a_point_means_nobody(detector: BlazeFaceMesh, portrait: U8) -> None:
    faces = run(FaceTracker(detector, parse_person("160,150@0.12")), [_draw_two_faces(portrait)] * 5)
    assert [face.valid for face in faces] == [False] * 3 + [True] * 2


def test_a_person_is_traced_back_to_the_first_frame(detector: BlazeFaceMesh, portrait: U8) -> None:
    ground = background(*SIZE, 1)
    scenes = []
    for i in range(11):  # two faces change sides
        scene = put_face(ground, portrait, 90, (120 + 36 * i, 100))
        scenes.append(put_face(scene, portrait, 90, (520 - 36 * i, 255), mirror=True))
    moments = [(ArrayPicture(rgb), Fraction(i, 25)) for i, rgb in enumerate(scenes)]
    person = trace_back(detector, moments, parse_person("470,100@0.4"))
    assert person.time_s == 0
    assert (person.x, person.y) == (pytest.approx(120, abs=15), pytest.approx(100, abs=20))
    faces = run(FaceTracker(detector, person), scenes)
    assert _centre(faces[10])[0] == pytest.approx(480, abs=15)


def test_tracing_back_ends_at_a_cut(detector: BlazeFaceMesh, portrait: U8) -> None:
    one = put_face(background(*SIZE, 1), portrait, 100, (200, 180))
    other = put_face(background(*SIZE, 2), portrait, 120, (210, 180), mirror=True)
    moments = [(ArrayPicture(rgb), Fraction(i, 25)) for i, rgb in enumerate([one] * 3 + [other] * 3)]
    assert trace_back(detector, moments, parse_person("210,180@0.2")).time_s == Fraction(3, 25)
    nobody = parse_person("600,20@0.2")
    assert trace_back(detector, moments, nobody) == nobody


class _Scripted:
    """Fake detector whose faces are painted squares: the mesh is an ellipse at the brightest square."""

    def __init__(self) -> None:
        self.detections = 0

    def detect(self, rgb: U8) -> list[Detection]:
        self.detections += 1
        found = []
        rows, columns = np.nonzero(rgb[..., 0] > 200)
        if len(rows) > 20:
            box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
            side = box[2] - box[0]
            points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.5, 0.8], [0, 0.5], [1, 0.5]])
            found.append(Detection(box=box, score=0.9, keypoints=points * side + box[:2]))
        return found

    def predict_mesh(self, rgb: U8) -> tuple[F32, float]:
        rows, columns = np.nonzero(rgb[..., 0] > 200)
        points = np.zeros((N_POINTS, 3), np.float32)
        if len(rows) < 20:
            return points + 96, 0.0
        angle = np.linspace(0, 2 * np.pi, N_POINTS)
        centre, radius = (columns.mean() + 0.5, rows.mean() + 0.5), np.sqrt(len(rows)) / 2
        points[:, 0], points[:, 1] = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
        for index, x in ((33, -0.6), (133, -0.2), (362, 0.2), (263, 0.6)):
            points[index, :2] = (centre[0] + x * radius, centre[1] - 0.2 * radius)
        for index, y in ((1, 0.2), (13, 0.6), (14, 0.6)):  # nose and mouth, where the detection has them
            points[index, :2] = (centre[0], centre[1] + y * radius)
        return points, 1.0


def _draw_square(x: int, looks: int) -> U8:
    """Draw a bright square with one of two inner patterns."""
    scene = np.full((360, 640, 3), 60, np.uint8)
    scene[::8] += 40
    scene[140:220, x - 40 : x + 40] = 255
    if looks == 1:
        scene[150:200, x - 30 : x + 30, 1:] = 20
    elif looks == 2:
        scene[150:210, x + 5 : x + 25, 1:] = 0
    return scene


def test_another_face_in_the_same_place_is_a_new_track() -> None:
    faces = run(FaceTracker(_Scripted()), [_draw_square(300, 1)] * 4 + [_draw_square(300, 2)] * 4)
    assert [face.track for face in faces] == [0] * 4 + [1] * 4
    assert all(face.valid for face in faces)


def test_a_leap_is_a_new_track_and_a_step_is_not() -> None:
    faces = run(
        FaceTracker(_Scripted()), [_draw_square(300, 1)] * 3 + [_draw_square(308, 1)] * 3 + [_draw_square(380, 1)] * 3
    )
    assert [face.track for face in faces] == [0] * 6 + [1] * 3


def test_an_hour_without_a_face_is_not_searched_frame_by_frame() -> None:
    detector = _Scripted()
    tracker = FaceTracker(detector)
    empty = ArrayPicture(background(640, 360, 1) // 2)
    seconds, fps = 60, 25
    for i in range(seconds * fps):
        tracker.update(empty, Fraction(i, fps), i)
    assert detector.detections / (seconds * fps) < 0.8


def test_a_person_named_by_a_point_is_known_again_after_a_cut(detector: BlazeFaceMesh, portrait: U8) -> None:
    """The other shot shows the two on swapped sides: looks decide, not the place the point gave."""
    swapped = put_face(background(*SIZE, 2), portrait, 90, (150, 170), mirror=True)
    swapped = put_face(swapped, portrait, 120, (470, 180))
    faces = run(FaceTracker(detector, parse_person("150,170@0")), [_draw_two_faces(portrait)] * 3 + [swapped] * 3)
    assert faces[3].cut
    assert _centre(faces[2])[0] == pytest.approx(150, abs=15)
    assert _centre(faces[5])[0] == pytest.approx(470, abs=15)


@pytest.mark.corpus
def test_a_damaged_clip_has_a_gap_and_then_a_face(detector: BlazeFaceMesh) -> None:
    """GRID's bbizzn of s1 starts with 12 grey pictures."""
    clips = [path.stem for path in sorted((GRID / "s1").glob("*.mp4"))]
    if "bbizzn" not in clips:
        pytest.skip(f"the corpus is not at {GRID}")
    faces = run(FaceTracker(detector), list(grid_frames("s1", clips.index("bbizzn"))))
    assert [face.valid for face in faces] == [False] * 12 + [True] * (len(faces) - 12)
    assert faces[12].cut


@pytest.mark.corpus
def test_two_speakers_in_the_same_place_are_told_apart(detector: BlazeFaceMesh) -> None:
    """Two of the most alike: same wall, same framing; nothing else on GRID is called a cut."""
    one, other = list(grid_frames("gF"))[:6], list(grid_frames("gG"))[:6]
    faces = run(FaceTracker(detector), one + other)
    assert [face.cut for face in faces] == [False] * 6 + [True] + [False] * 5
    assert [face.track for face in faces] == [0] * 6 + [1] * 6
