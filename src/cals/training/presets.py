"""The presets, named `<stage>-<corpus>-<size>`, in one flat registry per stage."""

import difflib
from dataclasses import replace
from typing import TypeVar, cast

from cals.data.augment import VoiceAugment
from cals.data.noises import NoiseAugment
from cals.data.rooms import RoomAugment
from cals.errors import ConfigError
from cals.models.a2l import A2LConfig
from cals.models.audio2head import Audio2HeadConfig
from cals.models.avsr.config import AVSRConfig
from cals.models.discriminator import DiscriminatorConfig
from cals.models.memory import MemoryConfig
from cals.models.motion import MeshConfig
from cals.models.pcavs import PCAVSConfig
from cals.models.reader import ReaderConfig
from cals.models.sync import SyncConfig
from cals.models.synctalk import RecallConfig
from cals.models.unet import UNetConfig
from cals.models.wav2lip import WindowConfig
from cals.models.whisper import WhisperConfig
from cals.training.config import TrainConfig
from cals.training.stages.a2l import A2LStageConfig
from cals.training.stages.audio2head import Audio2HeadStageConfig
from cals.training.stages.avsr import AVSRStageConfig
from cals.training.stages.l2f_mesh import MeshStageConfig
from cals.training.stages.l2f_unet import UNetStageConfig
from cals.training.stages.pcavs import PCAVSStageConfig
from cals.training.stages.reader import ReaderStageConfig
from cals.training.stages.sync import SyncStageConfig

T = TypeVar("T")
LipsStageConfig = MeshStageConfig | UNetStageConfig | PCAVSStageConfig | Audio2HeadStageConfig
"""Stage configs that `cals train l2f` accepts."""

SYNC: dict[str, SyncStageConfig] = {
    "sync-grid-small": SyncStageConfig(
        model=SyncConfig(width=16, embedding=256),
        train=TrainConfig(steps=3000, lr=1e-3, weight_decay=0.05, precision="bf16-mixed"),
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
        model=A2LConfig(
            whisper=WhisperConfig(), unit=256, width=128, layers=2, heads=4, hidden=512, dropout=0.4, reach=20
        ),
        train=TrainConfig(steps=1000, lr=5e-4, weight_decay=0.05),
        clips=16,
        whole=0.3,
        unmasked_weight=0.25,
    ),
    "a2l-grid-mel": A2LStageConfig(  # the mel front-end, as published
        model=A2LConfig(unit=256, channels=(16, 32), width=256, layers=4, heads=4, hidden=1024),
        train=TrainConfig(steps=4000, lr=5e-4, precision="bf16-mixed"),
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

L2F: dict[str, LipsStageConfig] = {
    "l2f-grid-small": MeshStageConfig(
        decoder=MeshConfig(unit=256, hidden=256, appearance=24),
        train=TrainConfig(steps=600, lr=5e-4, weight_decay=0.05, validate_every=100),
    ),
    "l2f-drawn-small": MeshStageConfig(  # for `cals context`: trained on any length of audio
        decoder=MeshConfig(unit=256, hidden=256),
        train=TrainConfig(steps=1200, lr=5e-4, validate_every=400, precision="bf16-mixed"),
        masked=0.0,
        cut=0.5,
        rate=0.0,
        pauses=0.0,
        # Reverb would carry audio beyond its window, and noise would hide what the known answer relies on.
        voice=VoiceAugment(noise_db=(-100.0, -80.0), band_limit=0.0, codec=0.0),
        room=RoomAugment(reverb=0.0, drift=0.0),
        noise=NoiseAugment(mixed=0.0, babble=0.0, alone=0.0),
    ),
    "l2f-grid-unet": UNetStageConfig(
        decoder=UNetConfig(unit=256, width=24, widest=384, levels=5, block_px=2),
        discriminator=DiscriminatorConfig(width=16),
        train=TrainConfig(steps=20_000, lr=3e-4, precision="bf16-mixed"),
    ),
    "l2f-grid-paper": UNetStageConfig(
        train=TrainConfig(steps=100_000, lr=1e-4, betas=(0.5, 0.999), weight_decay=0.0), sync_below=0.75
    ),
    "l2f-grid-ablation": UNetStageConfig(  # as small as learns something within minutes on two cores
        decoder=UNetConfig(unit=256, width=16, widest=256, levels=5, block_px=2),
        discriminator=DiscriminatorConfig(width=8),
        train=TrainConfig(steps=2000, lr=1e-3, validate_every=100, precision="bf16-mixed"),
        sync_below=0.75,
    ),
    "l2f-debug-unet": UNetStageConfig(
        decoder=UNetConfig(unit=16, width=4, widest=16, levels=3, block_px=2),
        train=TrainConfig(steps=20, lr=1e-3, log_every=5, validate_every=10),
        discriminator=DiscriminatorConfig(width=4),
        windows=2,
        frames=30,
    ),
    "l2f-grid-paper-pcavs": PCAVSStageConfig(  # for corpora prepared with --crop-px 224
        model=PCAVSConfig(crop_px=224, identity=2048, encoder_width=64, width=64),
        discriminator=DiscriminatorConfig(crop_px=224, width=64, patches=True, spectral=True),
        perceptual=replace(PCAVSStageConfig().perceptual, discriminator_from_step=1000),
        train=TrainConfig(steps=100_000, lr=2e-3, betas=(0.5, 0.99), weight_decay=0.0),
    ),
    "l2f-grid-small-pcavs": PCAVSStageConfig(
        model=PCAVSConfig(identity=256, style=256, encoder_width=8, width=8, widest=128),
        discriminator=DiscriminatorConfig(width=8, patches=True, spectral=True),
        perceptual=replace(PCAVSStageConfig().perceptual, discriminator_from_step=200),
        train=TrainConfig(steps=20_000, lr=2e-3, betas=(0.5, 0.99), weight_decay=0.0, validate_every=250),
        per_clip=2,
    ),
    "l2f-debug-pcavs": PCAVSStageConfig(
        model=PCAVSConfig(identity=16, style=16, encoder_width=2, width=2, widest=16),
        discriminator=DiscriminatorConfig(width=2, patches=True),
        train=TrainConfig(steps=20, lr=2e-3, weight_decay=0.0, log_every=5, validate_every=10),
        clips=2,
        per_clip=2,
    ),
    "l2f-grid-paper-audio2head": Audio2HeadStageConfig(  # for corpora prepared with --crop-px 256
        model=Audio2HeadConfig(crop_px=256, width=64, blocks=6),
        discriminator=DiscriminatorConfig(crop_px=256, width=64, patches=True),
        train=TrainConfig(steps=100_000, lr=2e-4, betas=(0.5, 0.999), weight_decay=0.0),
    ),
    "l2f-grid-small-audio2head": Audio2HeadStageConfig(
        model=Audio2HeadConfig(lstm=64, layers=1, width=16, blocks=2),
        discriminator=DiscriminatorConfig(width=8, patches=True),
        train=TrainConfig(steps=20_000, lr=1e-3, betas=(0.5, 0.99), weight_decay=0.0, validate_every=250),
        clips=4,
    ),
    "l2f-debug-audio2head": Audio2HeadStageConfig(
        model=Audio2HeadConfig(lstm=8, layers=1, hidden=16, width=2, blocks=1),
        discriminator=DiscriminatorConfig(width=2, patches=True),
        train=TrainConfig(steps=20, lr=2e-3, weight_decay=0.0, log_every=5, validate_every=10),
        clips=2,
        frames=30,
    ),
    "l2f-debug": MeshStageConfig(
        decoder=MeshConfig(unit=16, components=4, appearance=4, hidden=16),
        train=TrainConfig(steps=20, lr=1e-3, log_every=5, validate_every=10),
        clips=2,
        frames=30,
    ),
}

READER: dict[str, ReaderStageConfig] = {
    "reader-grid-small": ReaderStageConfig(
        train=TrainConfig(
            steps=2000, lr=2e-3, weight_decay=0.05, ema=0.998, validate_every=250, precision="bf16-mixed"
        ),
    ),
    "reader-debug": ReaderStageConfig(
        model=ReaderConfig(width=2, hidden=8, layers=1),
        train=TrainConfig(steps=30, lr=1e-3, log_every=5, validate_every=15),
        clips=2,
    ),
}


_AVSR_SMALL = AVSRConfig(
    whisper=WhisperConfig(),
    channels=16,
    mouth_px=48,
    view_px=44,
    width=128,
    hidden=512,
    encoder_layers=3,
    kernel=15,
    decoder_layers=2,
)
"""A twentieth of the published sizes, with a pretrained audio front-end: hours on two cores."""
_TRAIN_LONG = TrainConfig(steps=3000, lr=1e-3, validate_every=500, ema=0.995)
_TRAIN_SHORT = replace(_TRAIN_LONG, steps=1500)
"""For faster learners than video alone: audio, and both streams on pretrained front-ends."""
_AVSR_GRID = AVSRStageConfig(
    model=_AVSR_SMALL,
    unit="words",
    ctc_weight=0.5,  # with the published 0.1 the decoder learns no alignment in so few steps
    reliability_weight=0.5,
    train=_TRAIN_SHORT,
    frozen_front_ends=True,
)
_AVSR_PAPER = AVSRStageConfig(  # the published warm-up of 25 000 steps
    train=TrainConfig(steps=310_000, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, ema=0.9999), clips=16
)
AVSR: dict[str, AVSRStageConfig] = {
    "avsr-grid-small": _AVSR_GRID,
    "avsr-grid-small-unsupervised": replace(_AVSR_GRID, reliability_weight=0.0),
    "avsr-grid-small-noscores": replace(_AVSR_GRID, model=replace(_AVSR_SMALL, scoring=False)),
    "avsr-grid-small-audio": replace(_AVSR_GRID, model=replace(_AVSR_SMALL, streams="audio")),
    "avsr-grid-small-video": replace(  # lips are learnt from single words sooner than from sentences
        _AVSR_GRID, model=replace(_AVSR_SMALL, streams="video"), train=_TRAIN_LONG, most_words=1
    ),
    "avsr-grid-small-waveform": replace(_AVSR_GRID, model=replace(_AVSR_SMALL, whisper=None), train=_TRAIN_LONG),
    "avsr-drawn-small": replace(_AVSR_GRID, clips=4),  # sentences twice as long as those of GRID
    "avsr-lrs2-paper": _AVSR_PAPER,
    "avsr-lrs3-paper": _AVSR_PAPER,
    "avsr-debug": AVSRStageConfig(
        model=AVSRConfig(
            channels=2,
            mouth_px=24,
            view_px=20,
            width=16,
            heads=2,
            hidden=32,
            encoder_layers=1,
            kernel=7,
            score_kernel=3,
            decoder_layers=1,
        ),
        unit="words",
        train=TrainConfig(steps=30, lr=1e-3, log_every=5, validate_every=15),
        clips=2,
    ),
}


def _build_wav2lip(like: str, window: WindowConfig) -> UNetStageConfig:
    """Build Wav2Lip from the preset `like`: same data, batches and decoder, a window encoder, and no d_vv."""
    base = L2F[like]
    assert isinstance(base, UNetStageConfig)
    return replace(base, window=window, perceptual=replace(base.perceptual, d_vv=0.0))


L2F |= {
    "l2f-grid-wav2lip": _build_wav2lip("l2f-grid-ablation", WindowConfig(unit=256, width=16)),
    "l2f-grid-paper-wav2lip": _build_wav2lip("l2f-grid-paper", WindowConfig()),
    "l2f-debug-wav2lip": _build_wav2lip("l2f-debug-unet", WindowConfig(unit=16, width=4)),
}

CORPUS_FRAMES = {"lrw": 29, "lrs2": 40, "hdtf": 125}
"""Length of the training windows by corpus, in frames.

LRW's clips are no longer, and most of LRS2's sentences are longer. HDTF's speakers talk for minutes, of which a sample
holds 10 s."""
LONG_SPAN = 10
"""Length of masked spans in long clips, in frames (paper section 1, [K])."""

for _corpus, _frames in CORPUS_FRAMES.items():
    _span = LONG_SPAN if _corpus == "hdtf" else A2L["a2l-grid-paper"].span
    SYNC |= {f"sync-{_corpus}-{size}": SYNC[f"sync-grid-{size}"] for size in ("small", "paper")}
    A2L |= {
        f"a2l-{_corpus}-{size}": replace(A2L[f"a2l-grid-{size}"], frames=_frames, span=_span)
        for size in ("small", "paper")
    }
    for _size in ("small", "paper", "paper-wav2lip"):
        _base = cast(MeshStageConfig | UNetStageConfig, L2F[f"l2f-grid-{_size}"])
        L2F[f"l2f-{_corpus}-{_size}"] = replace(_base, frames=_frames)


def _build_synctalkface(like: str, recall: RecallConfig) -> UNetStageConfig:
    """Build SyncTalkFace from the Wav2Lip preset `like` and a memory."""
    base = L2F[like]
    assert isinstance(base, UNetStageConfig)
    return replace(base, recall=recall)


_SMALL_RECALL = RecallConfig(memory=MemoryConfig(width=256), width=8)
_DEBUG_RECALL = RecallConfig(memory=MemoryConfig(slots=12, width=16), width=2)
L2F |= {
    "l2f-grid-synctalkface": _build_synctalkface("l2f-grid-wav2lip", _SMALL_RECALL),
    "l2f-grid-paper-synctalkface": _build_synctalkface("l2f-grid-paper-wav2lip", RecallConfig()),
    "l2f-debug-synctalkface": _build_synctalkface("l2f-debug-wav2lip", _DEBUG_RECALL),
}
L2F |= {  # for an ablation
    f"l2f-{size}-synctalkface-nomemory": _build_synctalkface(
        f"l2f-{size}-wav2lip", replace(recall, memory=replace(recall.memory, slots=0))
    )
    for size, recall in (("grid", _SMALL_RECALL), ("debug", _DEBUG_RECALL))
}


def get_preset(registry: dict[str, T], name: str) -> T:
    """Return the preset of that name; ConfigError with the nearest name for an unknown one."""
    if name in registry:
        return registry[name]
    near = difflib.get_close_matches(name, registry, n=1)
    raise ConfigError(
        f"preset: expected one of {', '.join(registry)}, found {name!r}"
        + (f"; did you mean {near[0]!r}?" if near else "")
    )
