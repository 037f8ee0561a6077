"""The paper's Table 3, without ground truth."""

from collections.abc import Mapping
from typing import Literal

from cals.evaluation.ablation.order import Published

PaperCorpus = Literal["lrw", "lrs2", "hdtf"]


def _build_rows(values: Mapping[str, tuple[float, float, float, float, float]]) -> Published:
    return {
        row: dict(zip(("psnr", "ssim", "lmd", "lse_d", "lse_c"), row_values, strict=True))
        for row, row_values in values.items()
    }


TABLE_3: dict[PaperCorpus, Published] = {
    "lrw": _build_rows(
        {
            "audio2head": (28.578, 0.385, 2.654, 8.935, 3.487),
            "pcavs": (30.257, 0.746, 1.989, 6.502, 7.438),
            "wav2lip": (31.831, 0.882, 1.437, 6.617, 7.237),
            "synctalkface": (32.887, 0.894, 1.322, 7.023, 6.591),
            "cals": (33.219, 0.900, 1.183, 6.432, 7.463),
        }
    ),
    "lrs2": _build_rows(
        {
            "audio2head": (28.726, 0.395, 2.088, 8.518, 5.393),
            "pcavs": (29.736, 0.688, 1.590, 6.560, 7.770),
            "wav2lip": (31.182, 0.841, 1.519, 5.895, 8.795),
            "synctalkface": (32.327, 0.881, 1.069, 6.350, 7.929),
            "cals": (32.603, 0.876, 1.056, 5.337, 9.225),
        }
    ),
    "hdtf": _build_rows(
        {
            "audio2head": (29.449, 0.602, 2.304, 7.207, 7.681),
            "pcavs": (29.864, 0.709, 1.950, 7.758, 6.588),
            "wav2lip": (32.354, 0.873, 1.595, 7.272, 7.343),
            "synctalkface": (32.682, 0.883, 1.381, 7.931, 6.406),
            "cals": (32.992, 0.895, 1.373, 6.850, 8.185),
        }
    ),
}
