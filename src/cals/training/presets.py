"""Named settings, `<stage>-<corpus>-<size>`: one flat list."""

import difflib
from typing import TypeVar

from cals.errors import ConfigError
from cals.models.a2l import A2LConfig
from cals.models.sync import SyncConfig
from cals.training.config import TrainConfig
from cals.training.stages.a2l import A2LStageConfig
from cals.training.stages.sync import SyncStageConfig

T = TypeVar("T", SyncStageConfig, A2LStageConfig)

SYNC: dict[str, SyncStageConfig] = {
    "sync-grid-small": SyncStageConfig(
        model=SyncConfig(width=16, embedding=256), train=TrainConfig(steps=6000, lr=1e-3, weight_decay=0.05)
    ),
    "sync-grid-paper": SyncStageConfig(model=SyncConfig(width=64), train=TrainConfig(steps=60_000, lr=1e-4)),
    "sync-debug": SyncStageConfig(
        model=SyncConfig(width=4, embedding=16),
        train=TrainConfig(steps=30, lr=1e-3, log_every=5, validate_every=15),
        clips=2,
        per_clip=4,
    ),
}
A2L: dict[str, A2LStageConfig] = {
    "a2l-grid-small": A2LStageConfig(
        model=A2LConfig(unit=256, channels=(16, 32), width=256, layers=4, heads=4, hidden=1024),
        train=TrainConfig(steps=12_000, lr=5e-4),
        unmasked_weight=0.25,
    ),
    "a2l-grid-paper": A2LStageConfig(train=TrainConfig(steps=60_000, lr=5e-4)),
    "a2l-debug": A2LStageConfig(
        model=A2LConfig(unit=16, channels=(4, 8), width=16, layers=1, heads=2, hidden=32),
        train=TrainConfig(steps=30, lr=1e-3, log_every=5, validate_every=15),
        clips=2,
        frames=30,
    ),
}


def preset(registry: dict[str, T], name: str) -> T:
    """The settings of that name; ConfigError with the nearest one for an unknown name."""
    if name in registry:
        return registry[name]
    near = difflib.get_close_matches(name, registry, n=1)
    raise ConfigError(
        f"preset: expected one of {', '.join(registry)}, found {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else "")
    )
