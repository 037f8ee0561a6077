"""One clip of the noise study: its sound is corrupted, frames are masked, the generated mouths are measured."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from cals.data.corruption.bursts import Burst, draw_corruption, mark_frames
from cals.data.corruption.config import AUDIO_KINDS, check_kind, isolate_kind
from cals.data.corruption.sound import corrupt_sound
from cals.errors import ConfigError
from cals.evaluation.studies.common import Pick, StudyConfig
from cals.evaluation.studies.curves import ClipRecord, Series, build_series
from cals.evaluation.studies.masking import MaskingMethod
from cals.evaluation.studies.mouth_readers import MouthReader, StudyClip
from cals.evaluation.studies.reliance import Mask, MaskingRules, measure_levels, score_frames
from cals.features.mel import compute_log_mel
from cals.models.avsr.network import AVSR
from cals.models.cals import MeshLips, UNetLips
from cals.types import F32

CLEAN, NOISY, TOLD, SCORED, LEVEL = METHODS = ("clean", "noisy", "told", "scored", "level")
"""Inputs: the clean sound; the noisy sound; the noisy sound with the truly corrupted frames masked; with those of a low
reliability masked; with those of an unusual level masked."""
RULES = (SCORED, LEVEL)
"""Methods that detect what to mask."""
DROPOUT = "dropout"
_DIGITS = 6


@dataclass(frozen=True)
class Condition:
    """Kind and strength of the bursts of a clip."""

    kind: str
    strength: float
    """Ratio of speech to noise, in dB; 1 for dropped sound."""

    @property
    def name(self) -> str:
        return self.kind if self.kind == DROPOUT else f"{self.kind} {self.strength:g} dB"

    def fill_bursts(self, bursts: Sequence[Burst]) -> list[Burst]:
        """Return the bursts with this kind and strength, and the same positions and seeds."""
        return [replace(burst, kind=self.kind, strength=self.strength) for burst in bursts]


@dataclass(frozen=True, kw_only=True)
class NoisyConfig(StudyConfig):
    """Kinds and strengths of the noise; `seed` is also that of the bursts."""

    every: int = 1
    """Corrupted frames between measured ones."""
    kinds: tuple[str, ...] = ("white", "pink", "music", "babble", DROPOUT)
    snr_db: tuple[float, ...] = (10.0, 0.0, -5.0)
    """Mean power of the clip over that of the noise in a burst; not for dropped sound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, found in (("kinds", self.kinds), ("snr_db", self.snr_db)):
            if not found or len(set(found)) < len(found):
                raise ConfigError(f"{name}: expected one or more, each once, found {found}; leave it out for the usual")
        for kind in self.kinds:
            check_kind(kind, AUDIO_KINDS)
        for condition in self.conditions:
            isolate_kind(condition.kind, condition.strength)  # raises for impossible strengths

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every kind at every strength that it has."""
        strengths = {kind: (1.0,) if kind == DROPOUT else self.snr_db for kind in self.kinds}
        return tuple(Condition(kind, strength) for kind in self.kinds for strength in strengths[kind])


@dataclass(frozen=True, kw_only=True)
class NoisyRecord(ClipRecord):
    """Measurements of one clip; `series` are by `name_series`."""

    corrupted: list[int]
    """Frames in a burst, the same under every condition."""
    scores: dict[str, list[float]]
    """Condition -> reliability of every frame."""
    hidden: dict[str, list[int]]
    """Series of one of the `RULES` -> frames that it masks."""

    def mask(self, frames: Sequence[int]) -> Mask:
        """Build the mask [t] of these frames of the clip."""
        mask = np.zeros(self.frames, dtype=bool)
        mask[list(frames)] = True
        return mask


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseTrial:
    """Models, rules and settings that a clip is measured with."""

    network: MeshLips | UNetLips
    recogniser: AVSR
    rules: MaskingRules
    reader: MouthReader
    config: NoisyConfig
    voices: Mapping[str, F32] = field(default_factory=dict, repr=False)
    """Sounds [n] of clips by key, from which babble is mixed, without that of the clip itself."""

    def measure(self, pick: Pick, subject: StudyClip) -> NoisyRecord:
        """Measure the corrupted frames of a clip, for every condition and method."""
        clip, step = subject.clip, self.network.mel.timing.samples_per_frame
        bursts = draw_bursts(pick.key, clip.frames, self.config.seed)
        corrupted = mark_frames(bursts, clip.frames)
        moments = np.flatnonzero(corrupted)[:: self.config.every].tolist()
        others = [wav for key, wav in self.voices.items() if key != pick.key]
        real = self.reader.read_real(subject, moments)
        clean = self.reader.read_output(self.network, subject, self.predict_units(clip.mel)[moments], moments)
        by_name: dict[str, Series] = {}
        scores: dict[str, list[float]] = {}
        hidden: dict[str, list[int]] = {}
        dropped = 0
        for condition in self.config.conditions:
            wav = corrupt_sound(clip.wav, condition.fill_bursts(bursts), step, others)
            masks, reliability = self.choose_masks(wav, corrupted)
            units = self.predict_masked_units(wav, masks)[:, moments]
            generated = self.reader.read_output(self.network, subject, units.flatten(0, 1), moments * len(units))
            ways = [clean, *np.split(generated, len(units))]
            named = {name_series(way, condition): points for way, points in zip(METHODS, ways, strict=True)}
            condition_series, missing = build_series(real, named)
            by_name |= condition_series
            dropped += missing
            scores[condition.name] = reliability
            hidden |= {name_series(way, condition): np.flatnonzero(masks[way]).tolist() for way in RULES}
        return NoisyRecord(
            part=pick.part,
            clip=pick.key,
            frames=clip.frames,
            moments=moments,
            dropped=dropped,
            series=by_name,
            corrupted=np.flatnonzero(corrupted).tolist(),
            scores=scores,
            hidden=hidden,
        )

    def choose_masks(self, wav: F32, corrupted: Mask) -> tuple[dict[str, Mask], list[float]]:
        """Return the mask of each masking method for a sound [n], and the reliability of its frames."""
        scores = score_frames(self.recogniser, wav)
        levels_db = measure_levels(wav, self.network.mel.timing.samples_per_frame)
        masks = {
            TOLD: corrupted,
            SCORED: self.rules.mask_by_score(scores),
            LEVEL: self.rules.mask_by_level(levels_db),
        }
        return masks, [round(float(score), _DIGITS) for score in scores]

    def predict_masked_units(self, wav: F32, masks: Mapping[str, Mask]) -> Tensor:
        """Compute units [1 + masks, t, d] of a sound [n]: unmasked, then with each of the masks [t]."""
        mel = compute_log_mel(torch.from_numpy(wav)[None], self.network.mel)[0]
        lost = torch.from_numpy(np.stack(list(masks.values())))
        with torch.inference_mode():
            return torch.cat(
                [
                    self.predict_units(mel)[None],
                    MaskingMethod("hidden", self.network, "hidden").predict_masked_units(mel, lost),
                ]
            )

    def predict_units(self, mel: Tensor) -> Tensor:
        """Compute units [t d] of a mel [m f]."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            return self.network.predict_units(mel[None].to(device))[0]


def draw_bursts(key: str, frames: int, seed: int) -> tuple[Burst, ...]:
    """Draw which frames of a clip are corrupted: the same for all kinds, strengths and ways."""
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    return draw_corruption(rng, frames, isolate_kind("white", 0.0)).audio


def name_series(way: str, condition: Condition) -> str:
    """Format the name of a series in a record."""
    return f"{way} {condition.name}"
