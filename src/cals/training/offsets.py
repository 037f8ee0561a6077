"""Audio-visual offsets of clips by the sync encoders: even recordings of one speaker differ."""

import json
import statistics
from pathlib import Path

import torch

from cals.data.store import ClipStore
from cals.data.windows import crop_lower_halves
from cals.files import replace_atomically
from cals.metrics.offset import estimate_subframe_offset
from cals.models.sync import SyncModel

MAX_CLIPS_PER_SPEAKER = 60
MAX_OFFSET_FRAMES = 1.5
"""Offsets are clamped to this: `cals prepare` has corrected larger ones already."""


@torch.no_grad()
def measure_clip_offsets(sync: SyncModel, fingerprint: str, store: ClipStore, cache: Path) -> list[float]:
    """Measure offsets in frames, > 0 where the audio is late; the file `cache` keeps them for a resumed run.

    A measurement takes more than a second, so the clips of a speaker beyond `MAX_CLIPS_PER_SPEAKER` get the median.
    """
    speakers = store.speakers
    cached = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    offsets: dict[str, float] = cached.get("offsets", {}) if cached.get("sync") == fingerprint else {}
    measured: dict[str, list[float]] = {}
    for i in range(len(store)):
        key, of_speaker = store.key(i), measured.setdefault(speakers[i], [])
        if key not in offsets and len(of_speaker) < MAX_CLIPS_PER_SPEAKER:
            offset = estimate_subframe_offset(*sync.embed_clip(crop_lower_halves(store[i].crops), store[i].mel))
            offsets[key] = max(-MAX_OFFSET_FRAMES, min(MAX_OFFSET_FRAMES, offset))
        of_speaker += [offsets[key]] if key in offsets else []
    for i in range(len(store)):
        offsets.setdefault(store.key(i), statistics.median(measured[speakers[i]]))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replace_atomically(cache) as partial:
        partial.write_text(json.dumps({"sync": fingerprint, "offsets": offsets}), encoding="utf-8")
    return [offsets[store.key(i)] for i in range(len(store))]
