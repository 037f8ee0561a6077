"""Decoding of the sound of a file at its own rate and channels, aligned to the clock of its picture."""

import logging
import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from cals.errors import MediaError
from cals.media.amr import make_silence
from cals.media.blocks import BlockReader
from cals.media.channels import from_frame, get_channel_names, resolve_layout_name
from cals.media.decoding import find_video_stream
from cals.media.demuxing import Demuxer, decode_packet
from cals.media.header_duration import read_header_duration_s
from cals.media.opening import Damage, describe_error, open_input
from cals.media.reader import find_video_start_s
from cals.media.tracks import select_sound_track
from cals.types import F32

log = logging.getLogger(__name__)

# Time stamps of sound jitter by rounding and by codec frame; only longer gaps are filled or cut.
_GAP_S = Fraction(1, 10)
_MAX_GAP_S = 3600
# Containers that count in milliseconds cannot state the start of sound more exactly than this.
_COARSE_TICK_S = Fraction(1, 1000)
# Sound may be this much shorter than its header says; Matroska and AVI round, or state one value for all streams.
_SLACK_S = Fraction(1, 20)
_COARSE_SLACK_S = Fraction(1, 2)
_SILENCE_BLOCK = 1 << 16
_RATES_HZ = 1000, 1_000_000
"""Sample rates that are one; a resampler takes gigabytes for the ratios beyond."""
# 80 dB over full scale is not sound, and more than the encoders support.
_MAX_PEAK = 1e4


class AudioSource(BlockReader):
    """Sound as float blocks [channels n], for one pass; sample 0 is at the time of the first picture.

    In a file with moving pictures, sound that starts later is preceded by silence, and earlier sound is cut.
    Otherwise the first sample is sample 0. Gaps in the time stamps become silence. Use `with closing(...)`.
    `track`: one of several, see `select_sound_track`. `quiet`: log nothing, for a file that was read before.
    Raises MediaError for files without sound, broken files (unless `keep_going`) and values that are no numbers.
    """

    def __init__(
        self, path: Path | str, *, track: str | int | None = None, keep_going: bool = False, quiet: bool = False
    ) -> None:
        self.path = Path(path)
        self._container = open_input(self.path)
        try:
            self._stream = select_sound_track(self.path, self._container, track, quiet=quiet)
        except BaseException:
            self._container.close()
            raise
        self.rate_hz = int(self._stream.rate)
        if not _RATES_HZ[0] <= self.rate_hz <= _RATES_HZ[1]:
            self._container.close()
            raise MediaError(
                f"{self.path}: expected sound of {_RATES_HZ[0]} to {_RATES_HZ[1]} samples/s, found {self.rate_hz}; its "
                "header is damaged: export it again"
            )
        self.layout = resolve_layout_name(self._stream.layout)
        """FFmpeg name of the channel layout."""
        self.channel_names = get_channel_names(self.layout)
        self._keep_going, self._quiet = keep_going, quiet
        # Junk between the frames of an mp3 is common and harmless.
        self._damage = Damage(self.path, keep_going or self._container.format.name == "mp3")
        self._demuxer = Demuxer(self._container, self._damage)
        self._position_s = Fraction(0)
        self._start = 0
        super().__init__(self._align_blocks(), len(self.channel_names))

    def _decode_frames(self) -> Iterator[AudioFrame]:
        indexed, count = len(self._stream.index_entries), 0
        for packet in self._demuxer.iterate_packets(self._stream, lambda: self._position_s):
            count += 1
            yield from self._decode_packet(cast("av.Packet[AudioStream]", packet))
        yield from self._decode_packet(None)
        if "mp4" in self._container.format.name and count < indexed:
            self._damage.note(f"{count} of {indexed} listed sound packets: the file is cut short", self._position_s)
        if not self._damage.count:
            self._check_end()
        if not self._quiet:
            self._damage.report()

    def _check_end(self) -> None:
        """Note damage if the sound ends before its header says."""
        missing_s, slack_s = self._demuxer.compute_missing_s(self._stream), _COARSE_SLACK_S
        stated = read_header_duration_s(self.path, self._container.format.name, self._stream, self._position_s)
        if stated is not None:
            missing_s, slack_s = stated - self._position_s, _SLACK_S
        if missing_s is not None and missing_s > slack_s:
            self._damage = Damage(self.path, self._keep_going)
            end_s = float(self._position_s + missing_s)
            self._damage.note(f"the end of sound that has to last {end_s:.2f} s by its header", self._position_s)

    def _decode_packet(self, packet: "av.Packet[AudioStream] | None") -> list[AudioFrame]:
        silence = None if packet is None else make_silence(packet, self._stream.codec_context.name)
        if silence is not None:
            return [silence]
        return decode_packet(self._stream.decode, packet, self._damage, self._position_s, what="sound")

    def _convert_frames(self) -> Iterator[tuple[F32, Fraction | None]]:
        """Yield float blocks in one rate and layout, each with the time stamp of its first sample."""
        shape: tuple[str, str, int] | None = None
        resampler: av.AudioResampler | None = None
        for frame in self._decode_frames():
            if frame.samples <= 0:
                continue
            current = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or current != shape:
                shape = current
                has_same_count = frame.layout.nb_channels == len(self.channel_names)
                layout = frame.layout.name if has_same_count else self.layout
                resampler = av.AudioResampler(format="flt", layout=layout, rate=self.rate_hz)
            time_s = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            frame.pts = None
            try:
                converted = resampler.resample(frame)
            except (av.FFmpegError, ValueError) as error:
                self._damage.note(f"sound in an unusable format ({describe_error(error)})", self._position_s, error)
                continue
            for part in converted:
                yield from_frame(part), time_s
                time_s = None

    def _find_origin_s(self) -> Fraction | None:
        return find_video_start_s(self.path) if find_video_stream(self._container) is not None else None

    def _align_blocks(self) -> Generator[F32, None, None]:
        origin_s = self._find_origin_s()
        position: int | None = None
        surplus = 0  # samples still to cut, possibly more than one block
        pending: F32 | None = None
        for block, time_s in self._convert_frames():
            self._check_values(block)
            gap = 0
            if position is None:
                position = 0
                gap = self._start = self._compute_start_gap(time_s, origin_s)
                origin_s = (time_s or Fraction(0)) - Fraction(gap, self.rate_hz)
            elif time_s is not None and origin_s is not None and not surplus:
                gap = self._compute_gap(round((time_s - origin_s) * self.rate_hz) - position)
                if gap < 0:  # the counter started again (recordings joined): the sound itself continues
                    origin_s, gap = origin_s + Fraction(gap, self.rate_hz), 0
            surplus += max(0, -gap)
            cut = min(surplus, block.shape[1])
            surplus -= cut
            # One block is held back: the codec's padding of the last one is only known at the end.
            for part in (*_yield_silence(gap, block.shape[0]), block[:, cut:]):
                if part.shape[1]:
                    position += part.shape[1]
                    if pending is not None:
                        yield pending
                    pending = part
            self._position_s = Fraction(position, self.rate_hz)
        if pending is not None and position is not None:
            yield pending[:, : pending.shape[1] - self._compute_padding(position, pending.shape[1])]

    def _check_values(self, block: F32) -> None:
        peak = float(np.abs(block).max(initial=0.0))
        if math.isfinite(peak) and peak > _MAX_PEAK:
            raise MediaError(
                f"{self.path}: expected sound with a full scale of 1, found a value of {peak:.3g} near "
                f"{float(self._position_s):.2f} s; render the sound again"
            )
        if not math.isfinite(peak):
            raise MediaError(
                f"{self.path}: expected sound made of numbers, found NaN or infinity near "
                f"{float(self._position_s):.2f} s; render the sound again"
            )

    def _compute_start_gap(self, time_s: Fraction | None, origin_s: Fraction | None) -> int:
        """Compute the samples of silence before the first one; negative: samples to cut."""
        if time_s is None or origin_s is None:
            return 0
        offset_s = time_s - origin_s
        tick = self._stream.time_base or Fraction(0)
        if (tick >= _COARSE_TICK_S and abs(offset_s) <= tick) or abs(offset_s) > _MAX_GAP_S:
            return 0
        return round(offset_s * self.rate_hz)

    def _compute_gap(self, gap: int) -> int:
        if not _GAP_S * self.rate_hz < abs(gap) <= _MAX_GAP_S * self.rate_hz:
            return 0
        log.info("%s: sound jumps by %.3f s at %.2f s", self.path, gap / self.rate_hz, float(self._position_s))
        return gap

    def _compute_padding(self, position: int, last: int) -> int:
        """Compute the padding of the last block in samples, where the file states the true length."""
        stated = self._stream.duration
        if not stated or self._stream.time_base is None or "mp4" not in self._container.format.name:
            return 0
        # Silence added or sound cut at the start counts in the position but not in the stated length.
        padding = position - self._start - round(stated * self._stream.time_base * self.rate_hz)
        return padding if 0 < padding < last else 0

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._container.close()


def _yield_silence(samples: int, channels: int) -> Iterator[NDArray[np.float32]]:
    while samples > 0:
        part = min(samples, _SILENCE_BLOCK)
        yield np.zeros((channels, part), np.float32)
        samples -= part
