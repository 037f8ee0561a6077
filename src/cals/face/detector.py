"""Face detection and face mesh: the protocol, and BlazeFace with FaceMesh as its default implementation.

Sources: Bazarevsky et al., BlazeFace (2019); Kartynnik et al., Real-time facial surface geometry (2019).
This is the only module that uses a face runtime (`cv2.dnn` or `ai_edge_litert`).
"""

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from cals.errors import CheckpointError, ConfigError
from cals.face.landmarks import N_POINTS
from cals.face.sampling import build_similarity, warp
from cals.types import F32, U8, apply_affine, invert_affine

MIN_DETECTION_SCORE = 0.6
MIN_MESH_SCORE = 0.9
DETECTION_SIZE_PX = 256
MESH_SIZE_PX = 192
_MAX_IOU = 0.3
"""Detections that overlap more than this (intersection over union) are one face."""

Runtime = Literal["auto", "cv2", "litert"]
_Run = Callable[[F32], list[F32]]


@dataclass(frozen=True)
class FaceModels:
    """The bytes of the two `.tflite` files."""

    detection: bytes = field(repr=False)
    mesh: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class Detection:
    """One detected face, in pixels of the searched picture (pixel centres at .5)."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1: square, brows to chin; may reach outside the picture."""
    score: float
    keypoints: NDArray[np.float64] = field(repr=False)
    """[6 2]: left eye, right eye, nose tip, mouth, left ear, right ear (the picture's left)."""

    @property
    def size_px(self) -> float:
        """Side of the box."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def transform(self, matrix: NDArray[Any]) -> "Detection":
        """Return the same face in other coordinates; `matrix` [2 3] may rotate by quarter turns only."""
        corners = apply_affine(matrix, np.array(self.box).reshape(2, 2))
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        return Detection(
            box=(float(x0), float(y0), float(x1), float(y1)),
            score=self.score,
            keypoints=apply_affine(matrix, self.keypoints),
        )


class FaceDetector(Protocol):
    """The interface that the tracker needs; any detector with a 468-point mesh can implement it."""

    def detect(self, rgb: U8) -> list[Detection]:
        """Detect the faces in an image [h w 3], best first, each once."""
        ...

    def predict_mesh(self, rgb: U8) -> tuple[F32, float]:
        """Predict the mesh [468 3] in pixels of a [192 192 3] image and its score 0..1.

        The image shows one upright face filling two thirds of it.
        """
        ...


class BlazeFaceMesh:
    """BlazeFace "back" and FaceMesh on the CPU.

    `runtime` "litert" is two to four times faster and needs the package ai-edge-litert; "cv2" needs only OpenCV;
    "auto" uses the former if it is installed. Both give the same points within 0.1 px.
    Raises CheckpointError if the bytes are not these models, ConfigError if the runtime is not available.
    """

    def __init__(self, models: FaceModels, runtime: Runtime = "auto") -> None:
        self.runtime: Runtime = _choose_runtime(runtime)
        self._detect = _load_network(self.runtime, models.detection, DETECTION_SIZE_PX, (896 * 16, 896))
        self._mesh = _load_network(self.runtime, models.mesh, MESH_SIZE_PX, (N_POINTS * 3, 1))
        self._build_anchors = _build_anchors()

    def detect(self, rgb: U8) -> list[Detection]:
        """Detect faces as `FaceDetector.detect`, with scores of at least `MIN_DETECTION_SCORE`."""
        height, width = rgb.shape[:2]
        size = DETECTION_SIZE_PX
        matrix = build_similarity(size / max(width, height), 0.0, (width / 2, height / 2), (size / 2, size / 2))
        letterboxed = rgb
        if (width, height) != (size, size):
            letterboxed = warp(rgb, matrix, size, size, border=cv2.BORDER_CONSTANT, sharp=False)
        raw, logits = self._detect(letterboxed.astype(np.float32)[None] * np.float32(1 / 127.5) - np.float32(1))
        scores = _sigmoid(logits.reshape(-1))
        keep = np.flatnonzero(scores >= MIN_DETECTION_SCORE)
        values = raw.reshape(-1, 8, 2)[keep].astype(np.float64)
        # rows: centre, size, six points; all but the size are relative to the anchor
        values[:, [0, 2, 3, 4, 5, 6, 7]] += self._build_anchors[keep, None]
        back = invert_affine(matrix)
        return [detection.transform(back) for detection in _merge_detections(values, scores[keep].astype(np.float64))]

    def predict_mesh(self, rgb: U8) -> tuple[F32, float]:
        """Predict the mesh as `FaceDetector.predict_mesh`."""
        points, logit = self._mesh(rgb.astype(np.float32)[None] * np.float32(1 / 255))
        return points.reshape(N_POINTS, 3).copy(), float(_sigmoid(logit.reshape(-1))[0])


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))


def _build_anchors() -> NDArray[np.float64]:
    """Build the anchor centres [896 2] in input pixels: two a cell at stride 16, then six a cell at stride 32."""
    grids = []
    for stride, per_cell in ((16, 2), (32, 6)):
        ticks = np.arange(DETECTION_SIZE_PX // stride) * stride + stride / 2
        y, x = np.meshgrid(ticks, ticks, indexing="ij")
        grids.append(np.stack([x, y], axis=-1).reshape(-1, 2).repeat(per_cell, axis=0))
    return np.concatenate(grids).astype(np.float64)


def _merge_detections(values: NDArray[np.float64], scores: NDArray[np.float64]) -> list[Detection]:
    """Merge overlapping raw detections [n 8 2] into their mean weighted by score, best first."""
    low, high = values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2
    boxes = np.concatenate([low, high], axis=1)
    remaining = np.argsort(-scores)
    detections = []
    while len(remaining):
        best = remaining[0]
        overlapping = compute_iou(boxes[best], boxes[remaining]) > _MAX_IOU
        overlapping[0] = True  # a degenerate box overlaps nothing, itself included
        group = remaining[overlapping]
        weights = scores[group] / scores[group].sum()
        x0, y0, x1, y1 = (float(v) for v in weights @ boxes[group])
        points = np.einsum("n,nkc->kc", weights, values[group, 2:])
        if x1 > x0 and y1 > y0:
            detections.append(Detection(box=(x0, y0, x1, y1), score=float(scores[best]), keypoints=points))
        remaining = remaining[~overlapping]
    return detections


def compute_iou(box: NDArray[Any], boxes: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the intersection over union of one box [4] with boxes [n 4]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    area = np.clip(box[2:] - box[:2], 0, None).prod()
    return np.asarray(shared / np.maximum(areas + area - shared, 1e-9), dtype=np.float64)


def _choose_runtime(runtime: Runtime) -> Runtime:
    if runtime not in ("auto", "cv2", "litert"):
        raise ConfigError(f"face runtime: expected auto, cv2 or litert, found {runtime!r}")
    installed = importlib.util.find_spec("ai_edge_litert") is not None
    if runtime == "litert" and not installed:
        raise ConfigError("face runtime: litert needs the package ai-edge-litert; install cals[fast] or use cv2")
    if runtime == "auto":
        return "litert" if installed else "cv2"
    return runtime


def _load_network(runtime: Runtime, model: bytes, input_px: int, sizes: tuple[int, ...]) -> _Run:
    """Load a function from an image [1 h w 3] to outputs in the order of their `sizes`; tested on a black image."""
    try:
        run = _run_litert(model) if runtime == "litert" else _run_cv2(model)
        outputs = {out.size for out in run(np.zeros((1, input_px, input_px, 3), dtype=np.float32))}
    except (ValueError, RuntimeError, cv2.error) as error:
        raise CheckpointError(f"face model: expected a TFLite file of cals' hub, {runtime} says {error}") from error
    if outputs != set(sizes):
        raise CheckpointError(f"face model: expected outputs of {sizes} values, found {sorted(outputs)}")

    def run_in_order(image: F32) -> list[F32]:
        # runtimes differ in order and shape of the outputs, never in their number of values
        by_size = {out.size: out for out in run(image)}
        return [by_size[size] for size in sizes]

    return run_in_order


def _run_cv2(model: bytes) -> _Run:
    net = cv2.dnn.readNetFromTFLite(np.frombuffer(model, dtype=np.uint8))
    names = net.getUnconnectedOutLayersNames()

    def run(image: F32) -> list[F32]:
        net.setInput(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))
        return [np.asarray(out, dtype=np.float32) for out in net.forward(names)]

    return run


def _run_litert(model: bytes) -> _Run:
    from ai_edge_litert.interpreter import Interpreter

    with _silence_stderr():
        # one thread: the codec needs the other core more than the mesh does
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def run(image: F32) -> list[F32]:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return [interpreter.get_tensor(output) for output in outputs]

    return run


_stderr_lock = threading.Lock()


@contextmanager
def _silence_stderr() -> Iterator[None]:
    """Silence LiteRT's C++ messages on stderr, which is for the one error line of a command."""
    with _stderr_lock:
        sys.stderr.flush()
        saved, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(devnull)
