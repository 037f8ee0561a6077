"""The implementation of `cals train`: from preset, prepared corpus and run directory to a trained network."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from cals import hub
from cals.checkpoint import Checkpoint, compute_weights_sha256, config_from_dict, load_checkpoint
from cals.data.store import ClipStore, count_split_clips, load_split_names
from cals.data.utterances import UtteranceStore
from cals.data.words import WordStore
from cals.errors import CheckpointError, ConfigError, DataError
from cals.features.mel import MelConfig
from cals.models.a2l import A2L, A2LConfig
from cals.models.avsr.checkpoint import avsr_from_checkpoint
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.network import AVSR
from cals.models.avsr.tokens import build_tokens
from cals.models.cals import MeshLips, MeshLipsConfig, UNetLips, UNetLipsConfig
from cals.models.factory import FRONT_PARENT, build_frozen, load_front_end
from cals.models.mesh import FaceMesh
from cals.models.reader import ReaderConfig
from cals.models.sync import SyncModel
from cals.models.synctalk import SyncTalkFace, SyncTalkFaceConfig
from cals.models.wav2lip import Wav2Lip, Wav2LipConfig, WindowConfig
from cals.training import presets
from cals.training.geometry import measure_corpus_mesh, measure_geometry
from cals.training.loop import RunOptions, resolve_device, train
from cals.training.mouths import fit_appearance_basis, measure_mouths
from cals.training.offsets import measure_clip_offsets
from cals.training.presets import LipsStageConfig, get_preset
from cals.training.stages.a2l import A2LStage, A2LStageConfig
from cals.training.stages.audio2head import Audio2HeadStage, Audio2HeadStageConfig
from cals.training.stages.avsr import AVSRStage
from cals.training.stages.l2f_mesh import MeshStage
from cals.training.stages.l2f_unet import UNetStage, UNetStageConfig
from cals.training.stages.pcavs import PCAVSStage, PCAVSStageConfig
from cals.training.stages.reader import ReaderStage
from cals.training.stages.sync import SyncStage
from cals.types import ProgressCallback

HELD_OUT_SPLITS = {"seen": "val_seen", "unseen": "val_unseen"}
HELD_OUT_SHARE, MAX_HELD_OUT, MIN_CLIPS = 0.03, 20, 10
"""Held-out clips of a corpus without splits: share, largest number, and the smallest corpus that has any."""
MESH_PREFIX = "decoder.mesh."
STATISTICS_CLIPS = 100
"""Number of clips for the statistics of a pretrained front-end's features."""
Setting = TypeVar("Setting", bound=Any)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The training data."""

    folder: Path
    """Folder written by `cals prepare`."""
    splits: Path | None = None
    """JSON file of clip names by part: `train`, and `val_seen`, `val_unseen` or both.

    Without it 3 % of the clips, 1 to 20, are held out as `seen`, always the same ones; of fewer than 10 clips none.
    """
    voices: Path | None = None
    """Folder written by `cals voices`: the same clips in other voices."""

    def open_clips(self, mel: MelConfig) -> tuple[ClipStore, dict[str, ClipStore]]:
        """Open the training clips, and the held-out ones by part."""
        names, parts = self._split()
        training = ClipStore(self.folder, mel, names, voices=self.voices)
        return training, {part: ClipStore(self.folder, mel, names) for part, names in parts.items()}

    def open_words(self, reader: ReaderConfig) -> tuple[WordStore, dict[str, WordStore]]:
        """Open the training mouths with known words, and the held-out ones by part."""
        names, parts = self._split()

        def store(clips: set[str] | None) -> WordStore:
            vocabulary = frozenset(reader.words)
            return WordStore(self.folder, clips, cut=reader.cut, fps=reader.fps, vocabulary=vocabulary)

        return store(names), {part: store(clips_of_part) for part, clips_of_part in parts.items()}

    def open_utterances(self, config: AVSRConfig) -> tuple[UtteranceStore, dict[str, UtteranceStore]]:
        """Open the training clips with known text, and the held-out ones by part."""
        names, parts = self._split()

        def store(clips: set[str] | None) -> UtteranceStore:
            return UtteranceStore(self.folder, clips, cut=config.cut, mouth_px=config.mouth_px)

        return store(names), {part: store(clips_of_part) for part, clips_of_part in parts.items()}

    def _split(self) -> tuple[set[str] | None, dict[str, set[str]]]:
        """Return the names of training clips, None for all, and of held-out ones by part."""
        if self.splits is not None:
            splits = count_split_clips(self.splits)
            if not set(HELD_OUT_SPLITS.values()).intersection(splits):
                expected = " or ".join(HELD_OUT_SPLITS.values())
                raise DataError(
                    f"{self.splits}: expected clips to hold out in {expected}, found {', '.join(splits)}; name some"
                )
            parts = {
                part: load_split_names(self.splits, name) for part, name in HELD_OUT_SPLITS.items() if splits.get(name)
            }
            return load_split_names(self.splits, "train"), parts
        manifest = self.folder / "manifest.jsonl"
        lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.is_file() else []  # the store raises
        # Sorted by hash, so that a growing corpus keeps most of its held-out clips.
        names = sorted({json.loads(line)["clip"] for line in lines}, key=_hash_name)
        if len(names) < MIN_CLIPS:
            return None, {}
        count = min(MAX_HELD_OUT, max(1, round(HELD_OUT_SHARE * len(names))))
        return set(names[count:]), {"seen": set(names[:count])}


def _hash_name(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def train_stage(
    stage: Literal["sync", "a2l", "l2f", "reader", "avsr"],
    name: str,
    corpus: Corpus,
    options: RunOptions,
    progress: ProgressCallback | None = None,
    *,
    sync: Path | None = None,
    a2l: Path | None = None,
    front_ends: Sequence[Path] = (),
) -> dict[str, float]:
    """Train a stage from the preset `name`; returns its metrics. ConfigError for `a2l` and `l2f` without `sync`."""
    if stage == "sync":
        return train_sync(name, corpus, options, progress)
    if stage == "reader":
        return train_reader(name, corpus, options, progress)
    if stage == "avsr":
        return train_avsr(name, corpus, options, progress, front_ends=front_ends)
    if sync is None:
        raise ConfigError(f"{stage}: expected --sync with the checkpoint of trained sync encoders, found none")
    if stage == "a2l":
        return train_a2l(name, corpus, sync, options, progress)
    return train_l2f(name, corpus, sync, a2l, options, progress)


def train_sync(
    name: str, corpus: Corpus, options: RunOptions, progress: ProgressCallback | None = None
) -> dict[str, float]:
    """Train the sync encoders; the network is at `options.run / "model"`."""
    config = _load_preset(presets.SYNC, name, options)
    return train(SyncStage(config, *corpus.open_clips(config.model.mel)), options, progress)


def train_reader(
    name: str, corpus: Corpus, options: RunOptions, progress: ProgressCallback | None = None
) -> dict[str, float]:
    """Train the lip reader, on clips whose words and their times are known."""
    config = _load_preset(presets.READER, name, options)
    torch.manual_seed(config.train.seed)  # for the initial weights
    return train(ReaderStage(config, *corpus.open_words(config.model)), options, progress)


def train_avsr(
    name: str,
    corpus: Corpus,
    options: RunOptions,
    progress: ProgressCallback | None = None,
    *,
    front_ends: Sequence[Path] = (),
) -> dict[str, float]:
    """Train the recogniser, on clips whose text is known.

    `front_ends` are checkpoints of recognisers of the same sizes, for example of one stream each, whose front-ends are
    loaded first. Some presets freeze them.
    """
    config = _load_preset(presets.AVSR, name, options)
    training, held_out = corpus.open_utterances(config.model)
    if not len(training):
        raise DataError(
            f"{corpus.folder}: expected clips whose words are known, found none in {training.skipped}; put transcripts "
            "beside the videos and prepare it again"
        )
    torch.manual_seed(config.train.seed)  # for the initial weights
    model = AVSR(replace(config.model, tokens=build_tokens(training.texts, config.unit)))
    parents: dict[str, str] = {}
    if model.config.has_audio and model.config.whisper is not None:
        parents[FRONT_PARENT] = compute_weights_sha256(hub.FRONT_END_WEIGHTS)
        load_front_end(model, load_checkpoint(hub.FRONT_END_WEIGHTS), parents[FRONT_PARENT], parents)
        model.fit_statistics([training[i].wav for i in range(min(STATISTICS_CLIPS, len(training)))])
    for place in front_ends:
        parents[f"front-end {place.name}"] = compute_weights_sha256(place)
        model.load_front_ends(avsr_from_checkpoint(load_checkpoint(place))[0])
    if front_ends and config.frozen_front_ends:
        model.freeze_front_ends()
    stage = AVSRStage(replace(config, model=model.config), model, training, held_out, parents)
    return train(stage, options, progress)


def _load_preset(registry: dict[str, Setting], name: str, options: RunOptions) -> Setting:
    """Return the preset of that name with the run's seed added."""
    config = get_preset(registry, name)
    return replace(config, train=replace(config.train, seed=config.train.seed + options.seed))


def train_a2l(
    name: str,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Train Audio-to-Lip against the frozen encoders in the checkpoint `sync`."""
    return train_a2l_stage(_load_preset(presets.A2L, name, options), corpus, sync, options, progress)


def train_a2l_stage(
    config: A2LStageConfig,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Train Audio-to-Lip as `train_a2l` does, with a given config."""
    torch.manual_seed(config.train.seed)
    encoders = load_expert(sync, options)
    if encoders.config.embedding != config.model.unit or encoders.config.mel != config.model.mel:
        raise CheckpointError(
            f"{sync}: expected sync encoders with embeddings of {config.model.unit} and the preset's mel, "
            f"found {encoders.config.embedding}; train them with the preset of the same size"
        )
    training, held_out = corpus.open_clips(config.model.mel)
    parents = {"sync": compute_weights_sha256(sync)} | _describe_front_parent(config.model)
    front = load_checkpoint(hub.FRONT_END_WEIGHTS) if FRONT_PARENT in parents else None
    return train(A2LStage(config, encoders, parents, training, held_out, front), options, progress)


def train_l2f(
    name: str,
    corpus: Corpus,
    sync: Path,
    a2l: Path | None,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Train Lip-to-Face, and Audio-to-Lip from the checkpoint `a2l` with it; the whole model is at `run / "model"`.

    Presets of Wav2Lip, SyncTalkFace, PC-AVS and Audio2Head encode windows of audio and do not use `a2l`.
    """
    return train_l2f_stage(_load_preset(presets.L2F, name, options), corpus, sync, a2l, options, progress)


def train_l2f_stage(
    config: LipsStageConfig,
    corpus: Corpus,
    sync: Path,
    a2l: Path | None,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Train Lip-to-Face as `train_l2f` does, with a given config."""
    torch.manual_seed(config.train.seed)
    if isinstance(config, PCAVSStageConfig | Audio2HeadStageConfig):
        return _train_head(config, corpus, sync, options, progress)
    if isinstance(config, UNetStageConfig) and config.window is not None:
        return _train_unet_windows(config, config.window, corpus, sync, options, progress)
    if a2l is None:
        raise ConfigError("l2f: expected --a2l with the checkpoint of a trained Audio-to-Lip, found none")
    checkpoint = load_checkpoint(a2l)
    if checkpoint.kind != "a2l":
        raise CheckpointError(f"{a2l}: expected an Audio-to-Lip checkpoint, found a {checkpoint.kind!r} one")
    a2l_config = config_from_dict(A2LConfig, checkpoint.config)
    if a2l_config.unit != config.decoder.unit:
        raise CheckpointError(
            f"{a2l}: expected units of width {config.decoder.unit}, found {a2l_config.unit}; "
            "train Audio-to-Lip with the preset of the same size"
        )
    parents = {"sync": compute_weights_sha256(sync), "a2l": compute_weights_sha256(a2l)} | _describe_front_parent(
        a2l_config
    )
    encoders, (training, held_out) = load_expert(sync, options), corpus.open_clips(a2l_config.mel)
    if isinstance(config, UNetStageConfig):
        decoder = config.decoder
        model = UNetLips(UNetLipsConfig(mel=a2l_config.mel, crop_px=decoder.crop_px, a2l=a2l_config, decoder=decoder))
        _load_a2l(model.a2l, checkpoint)
        stage = UNetStage(config, model, parents, encoders, training, held_out, options.run)
        return train(stage, options, progress)
    trained = load_checkpoint(options.run / "model").weights if (options.run / "model").is_dir() else {}
    mesh = _load_mesh(trained, config.decoder.components, options.run) or measure_corpus_mesh(
        training, config.decoder.components
    )
    decoder_config = replace(config.decoder, triangles=len(mesh.triangles))
    mesh_model = MeshLips(MeshLipsConfig(mel=a2l_config.mel, a2l=a2l_config, decoder=decoder_config))
    mesh_decoder = mesh_model.decoder
    mesh_decoder.mesh.load_state_dict(mesh.state_dict())
    _load_a2l(mesh_model.a2l, checkpoint)
    offsets = measure_clip_offsets(encoders, parents["sync"], training, options.run / "offsets.json")
    geometry, opening_px = measure_geometry(mesh, training, offsets)
    mesh_decoder.opening_px.fill_(opening_px)
    if trained:
        basis = _load_appearance_basis(trained, config.decoder.appearance, options.run)
    else:
        basis = fit_appearance_basis(mesh, training, geometry, config.decoder.appearance)
    mesh_decoder.appearance_basis.copy_(basis)
    mouths = measure_mouths(mesh, basis, training, geometry, offsets)
    held_out_mouths = {
        part: measure_mouths(mesh, basis, store, measure_geometry(mesh, store, average_px=opening_px)[0])
        for part, store in held_out.items()
    }
    return train(MeshStage(config, mesh_model, parents, training, held_out, mouths, held_out_mouths), options, progress)


def _load_a2l(a2l: A2L, trained: Checkpoint) -> None:
    """Load the weights of Audio-to-Lip from its own stage, and those of its front-end from the shipped ones."""
    a2l.load_state_dict(trained.weights)
    if a2l.config.whisper is not None:
        load_front_end(
            a2l, load_checkpoint(hub.FRONT_END_WEIGHTS), compute_weights_sha256(hub.FRONT_END_WEIGHTS), trained.parents
        )


def _describe_front_parent(config: A2LConfig) -> dict[str, str]:
    """Return the front-end of Audio-to-Lip as a parent of the checkpoint; empty for the mel front-end."""
    return {} if config.whisper is None else {FRONT_PARENT: compute_weights_sha256(hub.FRONT_END_WEIGHTS)}


def _train_unet_windows(
    config: UNetStageConfig,
    window: WindowConfig,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None,
) -> dict[str, float]:
    lip_config = Wav2LipConfig(mel=window.mel, crop_px=config.decoder.crop_px, window=window, decoder=config.decoder)
    model: Wav2Lip | SyncTalkFace
    if config.recall is None:
        model = Wav2Lip(lip_config)
    else:
        model = SyncTalkFace(SyncTalkFaceConfig(**vars(lip_config), recall=config.recall))
    encoders, (training, held_out) = load_expert(sync, options), corpus.open_clips(window.mel)
    parents = {"sync": compute_weights_sha256(sync)}
    return train(UNetStage(config, model, parents, encoders, training, held_out, options.run), options, progress)


def _train_head(
    config: PCAVSStageConfig | Audio2HeadStageConfig,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None,
) -> dict[str, float]:
    encoders, parents = load_expert(sync, options), {"sync": compute_weights_sha256(sync)}
    stores = corpus.open_clips(encoders.config.mel)
    if isinstance(config, PCAVSStageConfig):
        return train(PCAVSStage(config, encoders, parents, *stores), options, progress)
    return train(Audio2HeadStage(config, encoders, parents, *stores), options, progress)


def _load_mesh(weights: Mapping[str, Tensor], components: int, run: Path) -> FaceMesh | None:
    """Return the mesh of a run, None for a new one: it is fitted only once, because the run's networks depend on it."""
    if not weights:
        return None
    buffers = {name.removeprefix(MESH_PREFIX): value for name, value in weights.items() if name.startswith(MESH_PREFIX)}
    count = len(buffers.get("basis", ()))
    if count != components:
        raise CheckpointError(
            f"{run}: expected a run with a mesh of {components} motions, found {count}; name another run directory"
        )
    mesh = FaceMesh(components, len(buffers["triangles"]))
    mesh.load_state_dict(buffers)
    return mesh


def _load_appearance_basis(weights: Mapping[str, Tensor], components: int, run: Path) -> Tensor:
    """Return the basis of appearance of a run."""
    basis = weights.get("decoder.appearance_basis", torch.zeros(0))
    if len(basis) != components:
        raise CheckpointError(
            f"{run}: expected a run with {components} components of appearance, found {len(basis)}; name another run "
            "directory"
        )
    return basis


def load_expert(folder: Path, options: RunOptions) -> SyncModel:
    """Load frozen sync encoders on the device of the run: they encode all clips before its first step."""
    return build_frozen(SyncModel, load_checkpoint(folder)).to(resolve_device(options.accelerator))
