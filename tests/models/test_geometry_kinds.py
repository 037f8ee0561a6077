"""Geometry over NumPy arrays is that over torch's."""

import numpy as np
import torch

from cals.arrays import to_numpy
from cals.face.patches import PATCH_VALUES
from cals.inference.export_runtime import DECODER_ARRAYS, MESH_ARRAYS, ExportedDecoder
from cals.models.appearance import compute_patch_places, normalize_appearance, project_patches
from cals.models.motion import MeshDecoder
from cals.models.mouth import compute_mouth_flow, separate_lips
from cals.models.speaker import fit_speaker, replace_motion, retarget_motion
from cals.types import F32
from drawn_person import apply_poses, clip, openings

CLIP = apply_poses(clip("anna", 60, 5), 1)[openings(60, 5) > 0.2]
"""Without mouths that are equally closed: of those rounding decides which belong to the face at rest."""


def export_arrays(decoder: MeshDecoder) -> dict[str, np.ndarray]:
    arrays = {name: to_numpy(getattr(decoder.mesh, name)) for name in MESH_ARRAYS}
    return arrays | {name: to_numpy(getattr(decoder, name)) for name in DECODER_ARRAYS}


def test_numpy_gives_what_torch_gives(decoder: MeshDecoder) -> None:
    def predict(units: F32) -> list[F32]:
        return [to_numpy(part) for part in decoder.predict(torch.from_numpy(units))]

    exported = ExportedDecoder(predict, export_arrays(decoder))
    units = np.random.default_rng(0).normal(size=(len(CLIP), decoder.config.unit)).astype(np.float32)
    landmarks, loudness = CLIP[:9], np.linspace(0, 1, 9, dtype=np.float32)
    strength = np.linspace(0.5, 1.5, 9, dtype=np.float32)
    results = []
    for model, convert in ((decoder, torch.from_numpy), (exported, np.asarray)):
        for observed in (CLIP, CLIP[:1], CLIP[:9]):
            speaker = fit_speaker(model, convert(observed))
            motion = model.predict_motion(convert(units[:9]))
            motion = retarget_motion(model, speaker, motion, convert(loudness), strength=strength)
            target = replace_motion(model.mesh, speaker, convert(landmarks), motion)
            flow = compute_mouth_flow(model.mesh, convert(landmarks), target, 128)
            patches = convert(np.random.default_rng(1).normal(size=(len(observed), PATCH_VALUES)).astype(np.float32))
            look = normalize_appearance(project_patches(model.appearance_basis, patches))
            places = compute_patch_places(model.mesh, convert(landmarks), speaker.rest)
            shown = (look, model.predict(convert(units[:9]))[1], places)
            parts = (*shown, speaker.rest, speaker.span, speaker.max_opening_px, motion, target, separate_lips(target))
            results.append([to_numpy(part) for part in (*parts, flow)])
    half = len(results) // 2
    for ours, theirs in zip(results[half:], results[:half], strict=True):
        for array, tensor in zip(ours[:-1], theirs[:-1], strict=True):
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, tensor, atol=2e-3)
        # where two triangles meet, a pixel may belong to either
        assert np.quantile(np.abs(ours[-1] - theirs[-1]), 0.999) < 0.01
