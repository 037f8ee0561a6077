"""Sound as a stream of blocks, whatever it is made of."""

from collections.abc import Generator, Iterator
from typing import Protocol

import numpy as np

from cals.types import F32


class SoundStream(Protocol):
    """Sound as float blocks [channels n], for one pass; sample 0 is at the time of the first picture."""

    @property
    def rate_hz(self) -> int: ...

    @property
    def layout(self) -> str:
        """FFmpeg name of the channel layout."""
        ...

    @property
    def channel_names(self) -> tuple[str, ...]: ...

    def iterate_blocks(self) -> Iterator[F32]:
        """Yield the rest of the sound, in blocks of any size."""
        ...

    def read(self, samples: int) -> F32:
        """Read the next [channels samples]; shorter only at the end of the sound."""
        ...

    def close(self) -> None: ...


class BlockReader:
    """Reader of blocks [channels n] in portions of any size."""

    def __init__(self, blocks: Generator[F32, None, None], channels: int) -> None:
        self._blocks = blocks
        self._rest: F32 = np.zeros((channels, 0), np.float32)

    def iterate_blocks(self) -> Iterator[F32]:
        """Yield the rest of the sound, in blocks of any size."""
        if self._rest.shape[1]:
            rest, self._rest = self._rest, self._rest[:, :0]
            yield rest
        yield from self._blocks

    def read(self, samples: int) -> F32:
        """Read the next [channels samples]; shorter only at the end of the sound."""
        parts, count = [self._rest], self._rest.shape[1]
        while count < samples:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
            count += block.shape[1]
        joined = np.concatenate(parts, axis=1)
        self._rest = joined[:, samples:]
        return joined[:, :samples]

    def close(self) -> None:
        """Close what the blocks come from."""
        self._blocks.close()
