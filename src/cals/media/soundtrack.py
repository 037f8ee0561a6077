"""The sound of the output: encoded step by step as the picture advances."""

import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.packet import Packet

from cals.media.channels import channel_names, encoded_layout, mono_shares, to_frame
from cals.media.sound import AudioSource
from cals.types import F32

log = logging.getLogger(__name__)

ChangeSound = Callable[[F32, int], F32]
"""A block of sound [channels n] and the number of its first sample -> what is written in its place, as long."""
_KBIT_PER_CHANNEL = 96


def _rate_for(codec: str, rate_hz: int) -> int:
    """The lowest rate the codec has that loses nothing, else its highest."""
    if codec == "libopus":
        return 48_000
    known = sorted(Codec(codec, "w").audio_rates or [rate_hz])
    return next((rate for rate in known if rate >= rate_hz), known[-1])


class Soundtrack:
    """Encodes the sound of a file into one stream of `container`, never further than the picture has come.

    `change` is applied to every block of it, at its own rate and channels.
    """

    def __init__(
        self,
        container: OutputContainer,
        path: Path,
        *,
        track: str | int | None = None,
        keep_going: bool = False,
        change: ChangeSound | None = None,
    ) -> None:
        self._change = change
        self._source = AudioSource(path, track=track, keep_going=keep_going, quiet=True)
        codec = "libopus" if container.format.name == "webm" else "aac"
        names = self._source.channel_names
        layout = encoded_layout(codec, len(names))
        kept = len(channel_names(layout))
        if kept != len(names):
            log.info("%s: %d channels of sound become %s", path, len(names), layout)
        rate_hz = _rate_for(codec, self._source.rate_hz)
        if rate_hz != self._source.rate_hz:
            log.info("%s: sound goes from %d to %d Hz, which %s needs", path, self._source.rate_hz, rate_hz, codec)
        # Channels keep their order when only the name of the layout differs (5.1 with side or back speakers).
        self._heard_as = layout if kept in (1, len(names)) else self._source.layout
        # FFmpeg drops channels it has no place for, so what has no usual order is mixed as the models hear it.
        self._mix = mono_shares(names) if kept == 1 else None
        self._stream = cast(AudioStream, container.add_stream(codec, rate=rate_hz, layout=layout))
        self._stream.bit_rate = 1000 * min(_KBIT_PER_CHANNEL * kept, 12 * rate_hz // 1000)
        self._stream.codec_context.open()
        self._resampler = av.AudioResampler(
            format=self._stream.format.name,
            layout=layout,
            rate=rate_hz,
            frame_size=self._stream.codec_context.frame_size or None,
        )
        self._read = 0
        self._ended = False

    def advance(self, until_s: Fraction) -> Iterator["Packet[AudioStream]"]:
        """Packets of the sound up to `until_s` (as far as there is sound)."""
        wanted = round(until_s * self._source.rate_hz) - self._read
        if wanted <= 0 or self._ended:
            return
        block = self._source.read(wanted)
        self._ended = block.shape[1] < wanted
        if block.shape[1]:
            yield from self._encode(block if self._change is None else self._change(block, self._read))

    def _encode(self, block: F32) -> Iterator["Packet[AudioStream]"]:
        frame = to_frame(block if self._mix is None else (self._mix @ block)[None], self._heard_as)
        frame.sample_rate, frame.pts = self._source.rate_hz, self._read
        frame.time_base = Fraction(1, self._source.rate_hz)
        self._read += block.shape[1]
        for part in self._resampler.resample(frame):
            yield from self._stream.encode(part)

    def finish(self) -> Iterator["Packet[AudioStream]"]:
        """The packets still held back."""
        if self._read:
            for part in self._resampler.resample(None):
                yield from self._stream.encode(part)
        yield from self._stream.encode(None)

    def close(self) -> None:
        """Release the file the sound is read from."""
        self._source.close()
