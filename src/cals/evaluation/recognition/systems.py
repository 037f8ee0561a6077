"""Recognisers that are compared: a column of the table each."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from cals.data.utterances import UtteranceBatch
from cals.errors import ConfigError
from cals.evaluation.protocol.run import parse_folders
from cals.inference.load import load_recognizer
from cals.models.avsr.beam import BeamConfig
from cals.models.avsr.config import AVSRConfig, Streams
from cals.models.avsr.language import NGram
from cals.models.avsr.network import AVSR, STREAMS
from cals.models.avsr.recognize import recognize
from cals.types import F32


@dataclass(frozen=True, eq=False)
class Network:
    """One trained recogniser."""

    folder: Path
    fingerprint: str
    """First 12 hex digits of the weights' sha256."""
    model: AVSR = field(repr=False)
    language: NGram = field(repr=False)


@dataclass(frozen=True, eq=False)
class System:
    """A recogniser, or several that were trained alike from other seeds; their errors are averaged."""

    name: str
    networks: tuple[Network, ...]
    streams: Streams
    """Streams that it is given."""

    @property
    def config(self) -> AVSRConfig:
        """Config of all its networks, but for tokens."""
        return self.networks[0].model.config

    @property
    def is_withheld(self) -> bool:
        """Whether it is given fewer streams than it was made for."""
        return self.streams != self.config.streams

    @property
    def has_scores(self) -> bool:
        """Whether it gives reliability scores."""
        return self.config.has_scores and not self.is_withheld


def name_models(texts: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """Parse NAME=FOLDER, or folders called by their own names; ConfigError where such a name is not unique."""
    models = parse_folders(texts)
    names = [name for name, _ in models]
    for text, name in zip(texts, names, strict=True):
        if "=" not in text and names.count(name) > 1:
            raise ConfigError(f"{text}: expected another name than {name!r}, found it twice; give --model NAME=FOLDER")
    return models


def load_systems(models: Sequence[tuple[str, Path]], *, withhold: bool = False, device: str = "cpu") -> list[System]:
    """Load recognisers called by names; folders of one name are networks of several training seeds.

    With `withhold` each audio-visual one is followed by itself with either stream alone. Raises ConfigError where
    folders of one name are of different kinds, or one is named twice, and CheckpointError for one that is none.
    """
    if not models:
        raise ConfigError("model: expected one or more recognisers, found none; give --model NAME=FOLDER")
    folders = [folder.resolve() for _, folder in models]
    duplicate = next((folder for folder in folders if folders.count(folder) > 1), None)
    if duplicate is not None:
        raise ConfigError(f"model: expected each folder once, found {duplicate} again; leave one out")
    networks: dict[str, list[Network]] = {}
    for name, folder in models:
        networks.setdefault(name, []).append(_load_network(folder, device))
    systems = []
    for name, members in networks.items():
        system = System(name, tuple(members), members[0].model.config.streams)
        kinds = [replace(network.model.config, tokens=system.config.tokens) for network in members]
        if any(kind != system.config for kind in kinds):
            raise ConfigError(
                f"{name}: expected networks of one kind and size under one name, found different ones; name them apart"
            )
        systems.append(system)
        if withhold and system.streams == "both":
            systems += [replace(system, name=f"{name}, {stream} only", streams=stream) for stream in STREAMS]  # type: ignore[arg-type]
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise ConfigError(f"model: expected each name once, found {', '.join(names)}; name them otherwise")
    return systems


def _load_network(folder: Path, device: str) -> Network:
    loaded = load_recognizer(folder, device)
    return Network(folder, loaded.fingerprint, loaded.network, loaded.language)


@torch.no_grad()
def read_clip(
    network: Network, streams: Streams, batch: UtteranceBatch, beam: BeamConfig
) -> tuple[str, dict[str, F32]]:
    """Read one clip of some streams: the text, and by stream the mean reliability score of each frame [t]."""
    device = next(network.model.parameters()).device
    wav = None if streams == "video" else batch.wav.to(device)
    mouths = None if streams == "audio" else batch.mouths.to(device).float() / 255
    encoding = network.model.encode(wav, mouths, batch.valid.to(device))
    text = recognize(network.model, encoding, beam, network.language)[0].text
    return text, encoding.average_scores()
