"""Changes of sound that FFmpeg makes, block by block: rate, tempo, peaks."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np

from cals.media.channels import from_frame, to_frame
from cals.types import F32

# 5 ms of look-ahead; after a peak the level is back in 10 ms, so that little but the peak changes.
_LIMITER = "limit=1:level=disabled:latency=1:attack=5:release=10"
_FLUSH_S = Fraction(1, 5)
"""Silence after sound whose tempo changes: the filter drops a rest that is shorter than its window."""


def resample_blocks(blocks: Iterable[F32], layout: str, from_hz: int, to_hz: int) -> Iterator[F32]:
    """Yield blocks [channels n] at another rate, together exactly as long as the given ones, rounded to a sample."""
    resampler = av.AudioResampler(format="flt", layout=layout, rate=to_hz)
    samples_in, samples_out, channels = 0, 0, 1
    for block in blocks:
        frame = to_frame(block, layout)
        frame.sample_rate, frame.pts, frame.time_base = from_hz, samples_in, Fraction(1, from_hz)
        channels = block.shape[0]
        samples_in += block.shape[1]
        for part in resampler.resample(frame):
            samples_out += part.samples
            yield from_frame(part)
    missing = round(Fraction(samples_in * to_hz, from_hz)) - samples_out
    if samples_in and from_hz != to_hz:
        for part in resampler.resample(None):
            tail = from_frame(part)[:, : max(missing, 0)]
            missing -= tail.shape[1]
            yield tail
    if missing > 0:
        yield np.zeros((channels, missing), np.float32)


def change_tempo(blocks: Iterable[F32], layout: str, rate_hz: int, tempo: Fraction) -> Iterator[F32]:
    """Yield sound [channels n] that is `tempo` times as fast (0.5 to 100), its pitch unchanged.

    The length is right within a few hundredths of a second, and so is the time of each sound in it; silence follows.
    """

    def iterate_with_flush() -> Iterator[F32]:
        channels = 0
        for block in blocks:
            channels = block.shape[0]
            yield block
        if channels:
            yield np.zeros((channels, round(_FLUSH_S * rate_hz * max(tempo, Fraction(1)))), np.float32)

    return _apply_filter(iterate_with_flush(), layout, rate_hz, "atempo", f"tempo={float(tempo):.9f}")


def limit_peaks(blocks: Iterable[F32], layout: str, rate_hz: int) -> Iterator[F32]:
    """Yield as many samples [channels n], lowered around those beyond full scale; all others are the same."""
    return _apply_filter(blocks, layout, rate_hz, "alimiter", _LIMITER)


def _apply_filter(blocks: Iterable[F32], layout: str, rate_hz: int, name: str, arguments: str) -> Iterator[F32]:
    graph = av.filter.Graph()
    source = graph.add_abuffer(format="flt", sample_rate=rate_hz, layout=layout, time_base=Fraction(1, rate_hz))
    nodes = [source, graph.add(name, arguments), graph.add("aformat", "sample_fmts=flt"), graph.add("abuffersink")]
    for node, following in pairwise(nodes):
        node.link_to(following)
    graph.configure()
    position = 0
    for block in blocks:
        if block.shape[1]:
            frame = to_frame(block, layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, position, Fraction(1, rate_hz)
            position += block.shape[1]
            graph.push(frame)
            yield from _pull_blocks(graph)
    if position:
        graph.push(None)
        yield from _pull_blocks(graph)


def _pull_blocks(graph: av.filter.Graph) -> Iterator[F32]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, av.AudioFrame)
        yield from_frame(frame)
