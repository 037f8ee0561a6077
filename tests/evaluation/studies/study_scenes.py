"""Prepared corpora for the studies, and models whose answer is known: mouths that follow loudness, window by window."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import drawn_face
from cals.data.segments import encode_crops
from cals.data.shards import Sample, write_shard
from cals.inference.lipsync import LipSync
from cals.inference.load import LoadedModel
from cals.models.a2l import A2LConfig
from cals.models.cals import MeshLips, MeshLipsConfig
from cals.models.lips import LipModel
from cals.models.mesh import measure_lip_gap, measure_mesh
from cals.models.motion import MeshConfig
from cals.types import F32

A2L = A2LConfig(unit=16, channels=(4, 8), width=16, layers=1, heads=2, hidden=32)
QUIET_DB, RANGE_DB = -34.0, 30.0
"""A loudness from 0 to 1 is a tone of `QUIET_DB` and up to `RANGE_DB` more."""


def tone(loudness: F32) -> F32:
    """40 ms of a tone for every value."""
    level = 10 ** ((QUIET_DB + RANGE_DB * loudness) / 20)
    time_s = np.arange(640 * len(loudness)) / 16000
    return (np.repeat(level, 640) * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32)


def loudness_of(mel: Tensor) -> Tensor:
    """The inverse of `tone`, [b m f] -> [b t]; what is not heard is far below 0."""
    loud = mel.amax(dim=-1).unflatten(1, (-1, 4))[..., 1:3].mean(dim=-1)  # type: ignore[no-untyped-call]
    return (loud - TOP_DB) / RANGE_DB + 1


def _top_db() -> float:
    from cals.features.mel import MelConfig, compute_log_mel

    mel = compute_log_mel(torch.from_numpy(tone(np.ones(9, np.float32)))[None], MelConfig())
    return float(mel.amax(dim=-1)[0, 12:24].mean())


TOP_DB = _top_db()


def opened(loudness: F32, side: int) -> F32:
    """How far a mouth is open that follows the mean loudness of `side` frames before and after, and of its own."""
    padded = np.pad(loudness, side)
    return np.convolve(padded, np.ones(2 * side + 1) / (2 * side + 1), mode="valid").astype(np.float32)


SHUT, OPEN_BY = drawn_face.points(), drawn_face.points(1.0) - drawn_face.points()


def faces_open(open_px: F32) -> F32:
    """`drawn_face.points` of many openings [t], [t 468 3]."""
    return (SHUT + open_px[:, None, None] * OPEN_BY).astype(np.float32)


def drawn_sample(key: str, loudness: F32, side: int) -> Sample:
    """A drawn face whose mouth opens by 12 px at most."""
    points = faces_open(12 * opened(loudness, side))
    crops = [np.full((128, 128, 3), 120, np.uint8)] * len(points)  # nobody looks at them
    facts = {"clip": key, "speaker": key.split("-")[0], "frames": len(points), "words": None}
    return Sample(
        key=key, crops=encode_crops(crops, 25), wav=tone(loudness), landmarks=points.astype(np.float16), facts=facts
    )


def write_corpus(folder: Path, samples: Iterable[Sample], per_shard: int = 2) -> Path:
    """As `cals prepare` leaves it."""
    every = list(samples)
    lines = []
    for first in range(0, len(every), per_shard):
        name = f"shard-{first // per_shard:05d}.tar"
        write_shard(folder / name, every[first : first + per_shard])
        lines += [json.dumps({"key": s.key, "shard": name} | s.facts) for s in every[first : first + per_shard]]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@dataclass
class Window:
    """The mean loudness of `side` frames before and after and of the frame itself; what is beyond the ends is 0."""

    side: int

    def __call__(self, loudness: Tensor) -> Tensor:
        kernel = torch.full((1, 1, 2 * self.side + 1), 1 / (2 * self.side + 1))
        return nn.functional.conv1d(loudness[:, None], kernel, padding=self.side)[:, 0]


class Interpolating(nn.Module):
    """Stands in for Audio-to-Lip: loudness as a unit of one value, and a straight line over what is hidden."""

    config = A2L

    def forward(self, mel: Tensor, hidden: Tensor | None = None) -> Tensor:
        loud = loudness_of(mel)
        if hidden is not None:
            places = np.arange(loud.shape[1])
            for row, lost in zip(loud, hidden.numpy(), strict=True):
                row[lost] = torch.from_numpy(np.interp(places[lost], places[~lost], row[~lost].numpy())).float()
        return loud[..., None]


def random_lips() -> MeshLips:
    """Random weights over the mesh of the drawn faces."""
    mesh = measure_mesh([faces_open(np.linspace(0, 12, 40, dtype=np.float32))], ["a"], 1)
    decoder = MeshConfig(unit=16, components=1, hidden=16, triangles=len(mesh.triangles))
    network = MeshLips(MeshLipsConfig(a2l=A2L, decoder=decoder)).eval()
    network.decoder.mesh.load_state_dict(mesh.state_dict())
    return network


class FollowingLips(MeshLips):
    """Opens the drawn mouth by the loudness that it hears, as `opened` does."""

    def __init__(self, side: int) -> None:
        drawn = random_lips()
        super().__init__(drawn.config)
        self.decoder.mesh.load_state_dict(drawn.decoder.mesh.state_dict())
        self._window = Window(side)
        self.a2l = Interpolating()  # type: ignore[assignment]
        self.decoder.head = nn.Sequential(nn.Linear(1, 1, bias=False))
        self.decoder.head[0].weight.data[:] = 12 / measure_lip_gap(drawn.decoder.mesh.basis)

    def predict_units(self, mel: Tensor) -> Tensor:
        """[b m f] -> [b t 1]."""
        return self._window(loudness_of(mel).clamp_min(0))[..., None]


def lips_of(network: LipModel, name: str = "drawn") -> LipSync:
    """The model as the studies take it."""
    return LipSync(LoadedModel(name, "0" * 12, network.eval()))
