"""By how much each clip's sound is late, as the sync encoders see it: recordings of one speaker differ too."""

import json
from pathlib import Path

import torch

from cals.data.store import ClipStore
from cals.data.windows import lower_halves
from cals.files import replacing
from cals.metrics.offset import fine_offset
from cals.models.sync import SyncModel

MOST_FRAMES = 1.5
"""A larger offset is not believed: `cals prepare` has corrected those already."""


@torch.no_grad()
def clip_offsets(sync: SyncModel, fingerprint: str, store: ClipStore, cache: Path) -> list[float]:
    """Offsets in frames, > 0 where the sound comes late; kept in the file `cache` for the next start of the run."""
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.is_file() else {}
    offsets: dict[str, float] = known.get("offsets", {}) if known.get("sync") == fingerprint else {}
    for i in range(len(store)):
        if store.key(i) not in offsets:
            found = fine_offset(*sync.of_clip(lower_halves(store[i].crops), store[i].mel))
            offsets[store.key(i)] = max(-MOST_FRAMES, min(MOST_FRAMES, found))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cache) as partial:
        partial.write_text(json.dumps({"sync": fingerprint, "offsets": offsets}), encoding="utf-8")
    return [offsets[store.key(i)] for i in range(len(store))]
