"""By how much each clip's sound is late, as the sync encoders see it: recordings of one speaker differ too."""

import json
import statistics
from pathlib import Path

import torch

from cals.data.store import ClipStore
from cals.data.windows import lower_halves
from cals.files import replacing
from cals.metrics.offset import fine_offset
from cals.models.sync import SyncModel

MOST_CLIPS = 60
MOST_FRAMES = 1.5
"""A larger offset is not believed: `cals prepare` has corrected those already."""


@torch.no_grad()
def clip_offsets(sync: SyncModel, fingerprint: str, store: ClipStore, cache: Path) -> list[float]:
    """Offsets in frames, > 0 where the sound comes late; kept in the file `cache` for the next start of the run.

    Of a speaker with more than `MOST_CLIPS` the others get the median: to measure one takes more than a second.
    """
    speakers = store.speakers
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    offsets: dict[str, float] = known.get("offsets", {}) if known.get("sync") == fingerprint else {}
    measured: dict[str, list[float]] = {}
    for i in range(len(store)):
        key, of_speaker = store.key(i), measured.setdefault(speakers[i], [])
        if key not in offsets and len(of_speaker) < MOST_CLIPS:
            found = fine_offset(*sync.of_clip(lower_halves(store[i].crops), store[i].mel))
            offsets[key] = max(-MOST_FRAMES, min(MOST_FRAMES, found))
        of_speaker += [offsets[key]] if key in offsets else []
    for i in range(len(store)):
        offsets.setdefault(store.key(i), statistics.median(measured[speakers[i]]))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache) as partial:
        partial.write_text(json.dumps({"sync": fingerprint, "offsets": offsets}), encoding="utf-8")
    return [offsets[store.key(i)] for i in range(len(store))]
