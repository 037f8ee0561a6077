"""Random recognisers, and a prepared corpus of drawn mouths for them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cals.checkpoint import save_checkpoint
from cals.data.shards import Sample, write_shard
from cals.models.avsr.checkpoint import avsr_to_checkpoint
from cals.models.avsr.language import fit_ngram
from cals.models.avsr.network import AVSR
from cals.models.avsr.tokens import build_tokens
from cals.training import presets

SENTENCES = ("bin red at now", "now red bin", "at now red bin", "red red now")


def save_recogniser(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Save a random network of `avsr-debug` whose readings differ for most inputs."""
    tokens = build_tokens(SENTENCES, "words")
    config = replace(presets.AVSR["avsr-debug"].model, tokens=tokens, **changes)
    torch.manual_seed(seed)
    model = AVSR(config).eval()
    model.join.weight.data *= 100
    for layer in model.decoder.layers:
        layer.multihead_attn.in_proj_weight.data *= 10
        layer.multihead_attn.out_proj.weight.data *= 20
    model.decoder.head.weight.data *= 20
    language = fit_ngram([tokens.encode(text) for text in SENTENCES], 3, tokens.size)
    save_checkpoint(folder, avsr_to_checkpoint(model, language))
    return folder


def write_corpus(folder: Path, samples: Sequence[Sample], splits: dict[str, list[str]]) -> Path:
    """Write a prepared folder with `splits.json`."""
    write_shard(folder / "shard-00000.tar", samples)
    lines = [json.dumps({"key": sample.key, "shard": "shard-00000.tar"} | sample.facts) for sample in samples]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder
