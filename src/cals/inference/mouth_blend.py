"""One frame with its mouth replaced: rendered to target landmarks, and measured with the tracker's mesh."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cals.arrays import Array, get_namespace, to_numpy
from cals.face.detector import FaceDetector
from cals.face.mask import build_lip_mask, build_moving_face_mask
from cals.face.read_back import read_back
from cals.face.skip_reasons import measure_yaw_deg
from cals.face.transfer import SourceFace, collect_outer_lips, transfer_pixels
from cals.inference.frame_tracker import TrackedFrame, View
from cals.models.geometry import MeshGeometry
from cals.models.mouth import compute_mouth_flow, estimate_hidden_share
from cals.types import F32, CropTransform, Patch, Picture


@dataclass(frozen=True, eq=False)
class MouthBlend:
    """A frame and the source mouths that are blended into it."""

    item: TrackedFrame
    view: View
    sources: Sequence[SourceFace]
    landmarks: Array = field(repr=False)
    """[n 468 3], of the sources."""
    weights: Sequence[float]
    """Blend weights of the sources; they sum to 1."""

    def render_patch(
        self,
        target: Array,
        flows: Sequence[F32],
        strength: float = 1.0,
        reduced: tuple[Picture, CropTransform] | None = None,
    ) -> Patch:
        """Render the face at the landmarks `target` [468 3]; `flows` [n] of [128 128 2] sample the sources.

        The patch fits the frame, or `reduced`: a picture of the same face at the resolution of its crop.
        """
        picture, transform = reduced or (self.item.frame, self.view.transform)
        target_points = to_numpy(target)
        sources = [
            (source.at_crop_resolution if reduced else source, flow, share)
            for source, flow, share in zip(self.sources, flows, self._compute_shares(target_points), strict=True)
        ]
        mask = build_moving_face_mask(
            self.view.landmarks, target_points, transform, picture.width, picture.height, self._compute_turn_deg()
        )
        inner = target_points, estimate_hidden_share(to_numpy(self.landmarks[0]), target_points)
        lips = collect_outer_lips(self.view.landmarks, target_points)
        return transfer_pixels(picture, transform, self.view.crop, mask, lips, sources, strength, inner)

    def _compute_turn_deg(self) -> float:
        """Compute by how much the head's yaw differs from that in the sources: the mean of the differences' sizes."""
        own_deg = measure_yaw_deg(self.view.landmarks)
        return sum(
            weight * abs(own_deg - measure_yaw_deg(landmarks))
            for weight, landmarks in zip(self.weights, to_numpy(self.landmarks), strict=True)
        )

    def _compute_shares(self, target: F32) -> list[float | F32]:
        """Compute the share of each source: only skin fades, for two mouths at once would be seen as two."""
        if len(self.sources) == 1:
            return [1.0]
        skin = 1 - build_lip_mask(target, self.view.crop.shape[0])
        fading = [skin * np.float32(weight) for weight in self.weights[1:]]
        return [1 - sum(fading), *fading]

    def detect_landmarks(self, detector: FaceDetector, target: Array, flows: Sequence[F32]) -> F32:
        """Render the face and return the landmarks [468 3] in crop pixels that the mesh detects in it."""
        return read_back(
            detector,
            self.item.frame,
            self.item.face.landmarks,
            self.view.transform,
            lambda picture, transform: self.render_patch(target, flows, reduced=(picture, transform)),
        )


def compute_flows(mesh: MeshGeometry, drawings: Sequence[MouthBlend], target: Array) -> list[list[F32]]:
    """Compute the flow [128 128 2] into each source of each drawing, for `target` [t 468 3]."""
    counts = [len(drawing.sources) for drawing in drawings]
    sources = get_namespace(target).concatenate([drawing.landmarks for drawing in drawings])
    targets = target[np.repeat(np.arange(len(counts)), counts)]
    flows = to_numpy(compute_mouth_flow(mesh, sources, targets, drawings[0].view.crop.shape[0]))
    return [list(part) for part in np.split(flows, np.cumsum(counts)[:-1])]
