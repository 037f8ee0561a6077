"""One frame with other mouths in it: drawn as told, read with the tracker's mesh, and set right."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cals.face.detector import FaceDetector
from cals.face.mask import moving_face_mask
from cals.face.read_back import read_back
from cals.face.transfer import SourceFace, outer_lips, transfer
from cals.inference.tracked import TrackedFrame, View
from cals.models.mesh import FaceMesh
from cals.models.mouth import mouth_flow, unknown_inside
from cals.types import F32, CropTransform, Patch, Picture


@dataclass(frozen=True, eq=False)
class Drawing:
    """A frame and the mouths it is drawn with."""

    item: TrackedFrame
    view: View
    sources: Sequence[SourceFace]
    landmarks: Tensor = field(repr=False)
    """[n 468 3], of the sources."""
    shares: Sequence[float]

    def patch(
        self,
        target: Tensor,
        flows: Sequence[F32],
        strength: float = 1.0,
        small: tuple[Picture, CropTransform] | None = None,
    ) -> Patch:
        """The face brought to `target` [468 3], `flows` [n] of [128 128 2] saying where its pixels come from.

        In the frame itself, or in `small`, another picture of the face, with no more detail than its crop has.
        """
        picture, transform = small or (self.item.frame, self.view.transform)
        moved = target.numpy()
        taken = [
            (source.reduced if small else source, flow, share)
            for source, flow, share in zip(self.sources, flows, self.shares, strict=True)
        ]
        mask = moving_face_mask(self.view.landmarks, moved, transform, picture.width, picture.height)
        inner = moved, unknown_inside(self.landmarks[0], target)
        lips = outer_lips(self.view.landmarks, moved)
        return transfer(picture, transform, self.view.crop, mask, lips, taken, strength, inner)

    def read(self, detector: FaceDetector, target: Tensor, flows: Sequence[F32]) -> Tensor:
        """Landmarks [468 3] in crop pixels that the mesh finds in the face once it is drawn."""
        found = read_back(
            detector,
            self.item.frame,
            self.item.face.landmarks,
            self.view.transform,
            lambda picture, transform: self.patch(target, flows, small=(picture, transform)),
        )
        return torch.from_numpy(found)


def flows_of(mesh: FaceMesh, drawings: Sequence[Drawing], target: Tensor) -> list[list[F32]]:
    """Where each drawing's pixels come from in each of its sources, [128 128 2] each, for `target` [t 468 3]."""
    counts = [len(drawing.sources) for drawing in drawings]
    sources = torch.cat([drawing.landmarks for drawing in drawings])
    places = mouth_flow(
        mesh, sources, target.repeat_interleave(torch.tensor(counts), dim=0), drawings[0].view.crop.shape[0]
    )
    return [list(part.numpy()) for part in torch.split(places, counts)]
