"""Finding faces: runtimes agree, sizes from tiny to huge, the pixel convention, bad files."""

import cv2
import numpy as np
import pytest
from face_scenes import background, put_face
from skimage.data import chelsea

from cals.errors import CheckpointError, ConfigError
from cals.face.detector import MIN_MESH_SCORE, BlazeFaceMesh, FaceModels
from cals.face.landmarks import MOUTH_OUTER, compute_eye_centres, measure_inter_ocular_px
from cals.face.mesh_fit import fit_mesh, region_of_detection
from cals.face.picture import ArrayPicture
from cals.face.search import build_tile_levels, detect_in, find_faces, whole_region
from cals.face.tracker import FaceTracker
from cals.types import F32, U8


def _landmarks(detector: BlazeFaceMesh, rgb: U8) -> F32:
    face = FaceTracker(detector).update(ArrayPicture(rgb), 0, 0)  # type: ignore[arg-type]
    assert face.valid
    return face.landmarks


@pytest.mark.parametrize("angle_deg", [0, 20])
def test_runtimes_agree_end_to_end(models: FaceModels, portrait: U8, angle_deg: float) -> None:
    pytest.importorskip("ai_edge_litert", reason="only one runtime is installed")
    scene = put_face(background(640, 480, 1), portrait, 150, (300, 220), angle_deg)
    one, other = (_landmarks(BlazeFaceMesh(models, runtime), scene) for runtime in ("litert", "cv2"))  # type: ignore[arg-type]
    assert np.abs(one - other).max() < 0.1


def test_detection_box_and_keypoints_lie_on_the_face(detector: BlazeFaceMesh, portrait: U8) -> None:
    (face,) = detector.detect(portrait)
    mesh = _landmarks(detector, portrait)[:, :2]
    eyes_nose_mouth = np.array([*compute_eye_centres(mesh), mesh[1], (mesh[13] + mesh[14]) / 2])
    np.testing.assert_allclose(face.keypoints[:4], eyes_nose_mouth, atol=6)
    assert face.box[0] < eyes_nose_mouth[0, 0] < eyes_nose_mouth[1, 0] < face.box[2]


def test_letterboxing_keeps_proportions(detector: BlazeFaceMesh, portrait: U8) -> None:
    wide = np.zeros((512, 900, 3), np.uint8)
    wide[:, 300:812] = portrait
    (face,), (alone,) = detector.detect(wide), detector.detect(portrait)
    np.testing.assert_allclose(face.keypoints - (300, 0), alone.keypoints, atol=6)


def test_pixel_centres_are_at_one_half(detector: BlazeFaceMesh, portrait: U8) -> None:
    """Doubling a picture pixel by pixel doubles coordinates exactly only if pixel i covers i..i + 1."""
    scene = put_face(background(320, 240, 2), portrait, 90, (150, 120))
    single = _landmarks(detector, scene)
    double = _landmarks(detector, scene.repeat(2, axis=0).repeat(2, axis=1))
    off = (double / 2 - single)[:, :2].mean(axis=0)
    assert np.abs(off).max() < 0.1  # whole-number centres would give 0.25


@pytest.mark.parametrize(("width", "height", "face_px"), [(1280, 720, 40), (1920, 1080, 40)])
@pytest.mark.parametrize("place", [(0.12, 0.2), (0.48, 0.55), (0.9, 0.85)])
def test_small_faces_are_found(
    detector: BlazeFaceMesh, portrait: U8, width: int, height: int, face_px: float, place: tuple[float, float]
) -> None:
    at = (place[0] * width, place[1] * height)
    scene = put_face(background(width, height, 3), portrait, face_px, at)
    face = FaceTracker(detector).update(ArrayPicture(scene), 0, 0)  # type: ignore[arg-type]
    assert face.valid
    assert np.hypot(*(face.landmarks[:, :2].mean(axis=0) - at)) < 0.2 * face_px


@pytest.mark.parametrize("share", [0.8, 1.0, 1.3])
def test_huge_faces_are_found(detector: BlazeFaceMesh, portrait: U8, share: float) -> None:
    scene = put_face(background(640, 480, 4), portrait, share * 480, (320, 250))
    landmarks = _landmarks(detector, scene)
    assert np.ptp(landmarks[:, 0]) == pytest.approx(share * 480, rel=0.15)


def test_the_search_is_bounded(detector: BlazeFaceMesh) -> None:
    for size in ((7680, 4320), (1920, 1080), (640, 360), (1080, 1920), (64, 48)):
        picture = ArrayPicture(np.zeros((size[1], size[0], 3), np.uint8))
        assert sum(len(level) for level in build_tile_levels(picture)) + 1 <= 24


def test_tiles_cover_the_picture() -> None:
    picture = ArrayPicture(np.zeros((1080, 1920, 3), np.uint8))
    for level in build_tile_levels(picture):
        seen = np.zeros((1080, 1920), bool)
        for x, y, side in level:
            top, left = max(round(y - side / 2), 0), max(round(x - side / 2), 0)
            seen[top : round(y + side / 2), left : round(x + side / 2)] = True
        assert seen.all()


def test_all_faces_of_different_sizes(detector: BlazeFaceMesh, portrait: U8) -> None:
    scene = put_face(background(1280, 720, 5), portrait, 240, (300, 350))
    scene = put_face(scene, portrait, 45, (1000, 200))
    assert len(find_faces(detector, ArrayPicture(scene))) == 1
    assert len(find_faces(detector, ArrayPicture(scene), thorough=True)) == 2


def test_no_face_no_detection(detector: BlazeFaceMesh) -> None:
    assert find_faces(detector, ArrayPicture(background(640, 480, 6)), thorough=True) == []


def test_mesh_score_tells_a_face_from_none(detector: BlazeFaceMesh, portrait: U8) -> None:
    picture = ArrayPicture(portrait)
    (face,) = detect_in(detector, picture, whole_region(picture))
    assert fit_mesh(detector, picture, region_of_detection(face)).score > MIN_MESH_SCORE
    away = face.transform(np.array([[1.0, 0, 150], [0, 1, 300]]))
    assert fit_mesh(detector, picture, region_of_detection(away)).score < 0.5


@pytest.mark.parametrize("angle_deg", [-45, -30, 30, 45, 90, 150, 180, -120])
def test_turned_faces(detector: BlazeFaceMesh, portrait: U8, angle_deg: float) -> None:
    scene = put_face(background(640, 480, 7), portrait, 140, (320, 240), angle_deg)
    upright = _landmarks(detector, put_face(background(640, 480, 7), portrait, 140, (320, 240)))
    turned = _landmarks(detector, scene)
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    expected = (upright[:, :2] - (320, 240)) @ np.array([[c, s], [-s, c]]) + (320, 240)
    error = np.hypot(*(turned[:, :2] - expected).T).mean() / measure_inter_ocular_px(upright)
    assert error < 0.03


@pytest.mark.parametrize("zoom", [0.5, 0.8, 1.0, 1.6])
def test_an_animal_is_no_face(detector: BlazeFaceMesh, zoom: float) -> None:
    cat = cv2.resize(np.asarray(chelsea()), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    for turned in (cat, np.ascontiguousarray(cat[:, ::-1]), np.ascontiguousarray(cat[::-1])):
        assert find_faces(detector, ArrayPicture(np.asarray(turned)), thorough=True) == []


def test_a_drawn_face_has_its_own_mouth(detector: BlazeFaceMesh, portrait: U8) -> None:
    """Eight colours and no detail, as in a cartoon: the mesh holds where that of the photo does."""
    palette = np.linspace(0, 255, 5).round()
    nearest = np.abs(cv2.medianBlur(portrait, 5)[..., None] - palette).argmin(axis=-1)
    cartoon = cv2.medianBlur(palette[nearest].astype(np.uint8), 5)
    photo, drawn = _landmarks(detector, portrait), _landmarks(detector, np.asarray(cartoon))
    lips = list(MOUTH_OUTER)
    away = np.hypot(*(photo[lips, :2] - drawn[lips, :2]).T)
    assert away.max() < 0.2 * measure_inter_ocular_px(photo)


def test_bad_model_bytes(models: FaceModels) -> None:
    for runtime in ("cv2", "litert"):
        if runtime == "litert":
            pytest.importorskip("ai_edge_litert")
        with pytest.raises(CheckpointError, match="face model"):
            BlazeFaceMesh(FaceModels(detection=b"not a model", mesh=models.mesh), runtime)  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="face model"):
            BlazeFaceMesh(FaceModels(detection=models.mesh, mesh=models.mesh), runtime)  # type: ignore[arg-type]


def test_unknown_runtime(models: FaceModels) -> None:
    with pytest.raises(ConfigError, match="auto, cv2 or litert"):
        BlazeFaceMesh(models, "onnx")  # type: ignore[arg-type]
