"""Samples of a prepared folder in a form of the caller's, loaded on first access and then kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from cals.data.shards import Sample, read_shard
from cals.errors import DataError

V = TypeVar("V")


class SampleStore(Generic[V]):
    """Samples that `choose` accepts by their manifest entry, converted by `load`.

    `names` are source names, None for all. Raises DataError when the folder is not prepared; the store may be empty.
    """

    def __init__(
        self,
        folder: Path,
        names: set[str] | None,
        choose: Callable[[dict[str, Any]], bool],
        load: Callable[[Sample], V],
    ) -> None:
        manifest = folder / "manifest.jsonl"
        if not manifest.is_file():
            raise DataError(f"{folder}: expected a prepared folder with manifest.jsonl, found none; run `cals prepare`")
        lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
        candidates = [line for line in lines if names is None or line["clip"] in names]
        chosen = [line for line in candidates if choose(line)]
        keys, shards = {line["key"] for line in chosen}, sorted({line["shard"] for line in chosen})
        samples = [sample for shard in shards for sample in read_shard(folder / shard) if sample.key in keys]
        self.keys = [sample.key for sample in samples]
        self.facts = [sample.facts for sample in samples]
        self.speakers = [str(facts["speaker"]) for facts in self.facts]
        self.frames = [int(facts["frames"]) for facts in self.facts]
        self.skipped = len(candidates) - len(chosen)
        """Samples that were not chosen."""
        self._load = load
        self._pending: dict[int, Sample] = dict(enumerate(samples))
        self._loaded: dict[int, V] = {}

    def __len__(self) -> int:
        return len(self.speakers)

    def __getitem__(self, index: int) -> V:
        if index not in self._loaded:
            self._loaded[index] = self._load(self._pending[index])
            del self._pending[index]
        return self._loaded[index]
