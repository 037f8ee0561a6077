"""`cals train`: a preset, a prepared corpus and a run directory to a trained network."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from cals import hub
from cals.checkpoint import Checkpoint, config_from_dict, load_checkpoint, weights_sha256
from cals.data.store import ClipStore, split_names, split_parts
from cals.data.utterances import UtteranceStore
from cals.data.words import WordStore
from cals.errors import CheckpointError, ConfigError, DataError
from cals.features.mel import MelConfig
from cals.models.a2l import A2L, A2LConfig
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.network import AVSR
from cals.models.avsr.release import avsr_from_checkpoint
from cals.models.avsr.tokens import build_tokens
from cals.models.factory import FRONT_PARENT, load_front
from cals.models.mesh import FaceMesh
from cals.models.reader import ReaderConfig
from cals.models.speaking import MeshLips, MeshLipsConfig, UNetLips, UNetLipsConfig
from cals.models.sync import SyncModel, sync_from_checkpoint
from cals.models.synctalk import SyncTalkFace, SyncTalkFaceConfig
from cals.models.wav2lip import Wav2Lip, Wav2LipConfig, WindowConfig
from cals.training import presets
from cals.training.clock import clip_offsets
from cals.training.geometry import measure_corpus_mesh, measure_geometry
from cals.training.loop import RunOptions, train
from cals.training.presets import LipsStageConfig, preset
from cals.training.stages.a2l import A2LStage, A2LStageConfig
from cals.training.stages.audio2head import Audio2HeadStage, Audio2HeadStageConfig
from cals.training.stages.avsr import AVSRStage
from cals.training.stages.l2f_mesh import MeshStage
from cals.training.stages.l2f_unet import UNetStage, UNetStageConfig
from cals.training.stages.pcavs import PCAVSStage, PCAVSStageConfig
from cals.training.stages.reader import ReaderStage
from cals.training.stages.sync import SyncStage
from cals.types import ProgressCallback

HELD_OUT = {"seen": "val_seen", "unseen": "val_unseen"}
SHARE, MOST, FEWEST = 0.03, 20, 10
"""Without splits this share of the clips is held out, one at least and so many at most, of no fewer than these."""
MESH = "decoder.mesh."
STATISTICS_CLIPS = 100
"""Clips by which the features of a pretrained front-end are standardised."""
Setting = TypeVar("Setting", bound=Any)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What to train on."""

    folder: Path
    """Made by `cals prepare`."""
    splits: Path | None = None
    """JSON file of clip names by part: `train`, and `val_seen`, `val_unseen` or both.

    Without it 3 % of the clips are held out as `seen`, always the same, 1 to 20, and of fewer than 10 none.
    """
    voices: Path | None = None
    """Made by `cals voices`: the same clips in other voices."""

    def stores(self, mel: MelConfig) -> tuple[ClipStore, dict[str, ClipStore]]:
        """Training clips, and held-out ones by part."""
        names, parts = self._split()
        training = ClipStore(self.folder, mel, names, voices=self.voices)
        return training, {part: ClipStore(self.folder, mel, names) for part, names in parts.items()}

    def words(self, reader: ReaderConfig) -> tuple[WordStore, dict[str, WordStore]]:
        """Mouths with known words to train on, and held-out ones by part."""
        names, parts = self._split()

        def store(wanted: set[str] | None) -> WordStore:
            vocabulary = frozenset(reader.words)
            return WordStore(self.folder, wanted, cut=reader.cut, fps=reader.fps, vocabulary=vocabulary)

        return store(names), {part: store(named) for part, named in parts.items()}

    def utterances(self, config: AVSRConfig) -> tuple[UtteranceStore, dict[str, UtteranceStore]]:
        """Clips with known text to train on, and held-out ones by part."""
        names, parts = self._split()

        def store(wanted: set[str] | None) -> UtteranceStore:
            return UtteranceStore(self.folder, wanted, cut=config.cut, mouth_px=config.mouth_px)

        return store(names), {part: store(named) for part, named in parts.items()}

    def _split(self) -> tuple[set[str] | None, dict[str, set[str]]]:
        """Names to train on, all for None, and held-out ones by part."""
        if self.splits is not None:
            there = split_parts(self.splits)
            if not set(HELD_OUT.values()).intersection(there):
                wanted = " or ".join(HELD_OUT.values())
                raise DataError(
                    f"{self.splits}: expected clips to hold out in {wanted}, found {', '.join(there)}; name some"
                )
            parts = {part: split_names(self.splits, name) for part, name in HELD_OUT.items() if there.get(name)}
            return split_names(self.splits, "train"), parts
        manifest = self.folder / "manifest.jsonl"
        lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.is_file() else []  # the store complains
        # By the names' hashes, so that a corpus that grows keeps most of what it held out.
        names = sorted({json.loads(line)["clip"] for line in lines}, key=_drawn)
        if len(names) < FEWEST:
            return None, {}
        count = min(MOST, max(1, round(SHARE * len(names))))
        return set(names[count:]), {"seen": set(names[:count])}


def _drawn(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def train_sync(
    name: str, corpus: Corpus, options: RunOptions, progress: ProgressCallback | None = None
) -> dict[str, float]:
    """Train the sync encoders; the network is at `options.run / "model"`."""
    config = _setting(presets.SYNC, name, options)
    return train(SyncStage(config, *corpus.stores(config.model.mel)), options, progress)


def train_reader(
    name: str, corpus: Corpus, options: RunOptions, progress: ProgressCallback | None = None
) -> dict[str, float]:
    """Train the lip reader, on clips whose words and their times are known."""
    config = _setting(presets.READER, name, options)
    torch.manual_seed(config.train.seed)  # of the first weights
    return train(ReaderStage(config, *corpus.words(config.model)), options, progress)


def train_avsr(
    name: str,
    corpus: Corpus,
    options: RunOptions,
    progress: ProgressCallback | None = None,
    *,
    front_ends: Sequence[Path] = (),
) -> dict[str, float]:
    """Train the recogniser, on clips whose text is known.

    `front_ends` are checkpoints of recognisers of the same sizes, of one stream each, say, whose front-ends it begins
    with; where the preset says so they are not trained on.
    """
    config = _setting(presets.AVSR, name, options)
    training, held_out = corpus.utterances(config.model)
    if not len(training):
        raise DataError(
            f"{corpus.folder}: expected clips whose words are known, found none in {training.skipped}; put transcripts "
            "beside the videos and prepare it again"
        )
    torch.manual_seed(config.train.seed)  # of the first weights
    model = AVSR(replace(config.model, tokens=build_tokens(training.texts, config.unit)))
    parents: dict[str, str] = {}
    if model.config.has_audio and model.config.whisper is not None:
        parents[FRONT_PARENT] = weights_sha256(hub.FRONT)
        load_front(model, load_checkpoint(hub.FRONT), parents[FRONT_PARENT], parents)
        model.fit_statistics([training[i].wav for i in range(min(STATISTICS_CLIPS, len(training)))])
    for place in front_ends:
        parents[f"front-end {place.name}"] = weights_sha256(place)
        model.take_front_ends(avsr_from_checkpoint(load_checkpoint(place))[0])
    if front_ends and config.frozen_front_ends:
        model.freeze_front_ends()
    stage = AVSRStage(replace(config, model=model.config), model, training, held_out, parents)
    return train(stage, options, progress)


def _setting(registry: dict[str, Setting], name: str, options: RunOptions) -> Setting:
    """The preset of that name with the seed of the run."""
    found = preset(registry, name)
    return replace(found, train=replace(found.train, seed=found.train.seed + options.seed))


def train_a2l(
    name: str,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Train Audio-to-Lip against the frozen encoders in the checkpoint `sync`."""
    return train_audio_to_lip(_setting(presets.A2L, name, options), corpus, sync, options, progress)


def train_audio_to_lip(
    config: A2LStageConfig,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """`train_a2l` with settings of one's own."""
    torch.manual_seed(config.train.seed)
    encoders = load_sync(sync)
    if encoders.config.embedding != config.model.unit or encoders.config.mel != config.model.mel:
        raise CheckpointError(
            f"{sync}: expected sync encoders with embeddings of {config.model.unit} and the preset's mel, "
            f"found {encoders.config.embedding}; train them with the preset of the same size"
        )
    training, held_out = corpus.stores(config.model.mel)
    parents = {"sync": weights_sha256(sync)} | _front_parent(config.model)
    front = load_checkpoint(hub.FRONT) if FRONT_PARENT in parents else None
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

    Presets of Wav2Lip, SyncTalkFace, PC-AVS and Audio2Head hear windows of sound: of them `a2l` is no part.
    """
    return train_lips(_setting(presets.L2F, name, options), corpus, sync, a2l, options, progress)


def train_lips(
    config: LipsStageConfig,
    corpus: Corpus,
    sync: Path,
    a2l: Path | None,
    options: RunOptions,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """`train_l2f` with settings of one's own."""
    torch.manual_seed(config.train.seed)
    if isinstance(config, PCAVSStageConfig | Audio2HeadStageConfig):
        return _train_head(config, corpus, sync, options, progress)
    if isinstance(config, UNetStageConfig) and config.window is not None:
        return _train_windows(config, config.window, corpus, sync, options, progress)
    if a2l is None:
        raise ConfigError("l2f: expected --a2l with the checkpoint of a trained Audio-to-Lip, found none")
    listener = load_checkpoint(a2l)
    if listener.kind != "a2l":
        raise CheckpointError(f"{a2l}: expected an Audio-to-Lip checkpoint, found a {listener.kind!r} one")
    a2l_config = config_from_dict(A2LConfig, listener.config)
    if a2l_config.unit != config.decoder.unit:
        raise CheckpointError(
            f"{a2l}: expected units of width {config.decoder.unit}, found {a2l_config.unit}; "
            "train Audio-to-Lip with the preset of the same size"
        )
    parents = {"sync": weights_sha256(sync), "a2l": weights_sha256(a2l)} | _front_parent(a2l_config)
    encoders, (training, held_out) = load_sync(sync), corpus.stores(a2l_config.mel)
    if isinstance(config, UNetStageConfig):
        decoder = config.decoder
        model = UNetLips(UNetLipsConfig(mel=a2l_config.mel, crop_px=decoder.crop_px, a2l=a2l_config, decoder=decoder))
        _take_over(model.a2l, listener)
        stage = UNetStage(config, model, parents, encoders, training, held_out, options.run)
        return train(stage, options, progress)
    mesh = _mesh(training, config.decoder.components, options.run)
    sized = replace(config.decoder, triangles=len(mesh.triangles))
    moving = MeshLips(MeshLipsConfig(mel=a2l_config.mel, a2l=a2l_config, decoder=sized))
    moving.decoder.mesh.load_state_dict(mesh.state_dict())
    _take_over(moving.a2l, listener)
    offsets = clip_offsets(encoders, parents["sync"], training, options.run / "offsets.json")
    geometry, opening_px = measure_geometry(mesh, training, offsets)
    moving.decoder.opening_px.fill_(opening_px)
    real = {part: measure_geometry(mesh, store, average_px=opening_px)[0] for part, store in held_out.items()}
    return train(MeshStage(config, moving, parents, training, held_out, geometry, real), options, progress)


def _take_over(a2l: A2L, trained: Checkpoint) -> None:
    """Give Audio-to-Lip the weights of its own stage, and its front-end those that ship."""
    a2l.load_state_dict(trained.weights)
    if a2l.config.whisper is not None:
        load_front(a2l, load_checkpoint(hub.FRONT), weights_sha256(hub.FRONT), trained.parents)


def _front_parent(config: A2LConfig) -> dict[str, str]:
    """The front-end that Audio-to-Lip hears with, as a parent; none where it hears the mel."""
    return {} if config.whisper is None else {FRONT_PARENT: weights_sha256(hub.FRONT)}


def _train_windows(
    config: UNetStageConfig,
    window: WindowConfig,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None,
) -> dict[str, float]:
    plan = Wav2LipConfig(mel=window.mel, crop_px=config.decoder.crop_px, window=window, decoder=config.decoder)
    model: Wav2Lip | SyncTalkFace
    if config.recall is None:
        model = Wav2Lip(plan)
    else:
        model = SyncTalkFace(SyncTalkFaceConfig(**vars(plan), recall=config.recall))
    encoders, (training, held_out) = load_sync(sync), corpus.stores(window.mel)
    parents = {"sync": weights_sha256(sync)}
    return train(UNetStage(config, model, parents, encoders, training, held_out, options.run), options, progress)


def _train_head(
    config: PCAVSStageConfig | Audio2HeadStageConfig,
    corpus: Corpus,
    sync: Path,
    options: RunOptions,
    progress: ProgressCallback | None,
) -> dict[str, float]:
    encoders, parents = load_sync(sync), {"sync": weights_sha256(sync)}
    stores = corpus.stores(encoders.config.mel)
    if isinstance(config, PCAVSStageConfig):
        return train(PCAVSStage(config, encoders, parents, *stores), options, progress)
    return train(Audio2HeadStage(config, encoders, parents, *stores), options, progress)


def _mesh(training: ClipStore, components: int, run: Path) -> FaceMesh:
    """The mesh that a run goes on with; measured for a new one only, since its networks know no other."""
    if not (run / "model").is_dir():
        return measure_corpus_mesh(training, components)
    weights = load_checkpoint(run / "model").weights
    buffers = {name.removeprefix(MESH): value for name, value in weights.items() if name.startswith(MESH)}
    found = len(buffers.get("basis", ()))
    if found != components:
        raise CheckpointError(
            f"{run}: expected a run with a mesh of {components} motions, found {found}; name another run directory"
        )
    mesh = FaceMesh(components, len(buffers["triangles"]))
    mesh.load_state_dict(buffers)
    return mesh


def load_sync(folder: Path) -> SyncModel:
    """The sync encoders of a checkpoint, frozen."""
    return sync_from_checkpoint(load_checkpoint(folder))
