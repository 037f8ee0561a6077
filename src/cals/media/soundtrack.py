"""The sound of the output, encoded in step with the picture."""

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

from cals.media.blocks import SoundStream
from cals.media.channels import choose_encoded_layout, get_channel_names, get_mono_weights, to_frame
from cals.media.sound import AudioSource
from cals.types import F32

log = logging.getLogger(__name__)

AudioTransformFn = Callable[[F32, int], F32]
"""Maps a block of sound [channels n] and the index of its first sample to a block of the same shape to write."""
_KBIT_PER_CHANNEL = 96


def _choose_rate(codec: str, rate_hz: int) -> int:
    """Choose the lowest rate of the codec that loses nothing, else its highest."""
    if codec == "libopus":
        return 48_000
    supported = sorted(Codec(codec, "w").audio_rates or [rate_hz])
    return next((rate for rate in supported if rate >= rate_hz), supported[-1])


class Soundtrack:
    """Encoder of sound, of a file or a stream that it closes, into one stream of `container`, in step with the picture.

    `transform` is applied to every block of the sound, at its own rate and channels.
    """

    def __init__(
        self,
        container: OutputContainer,
        sound: Path | SoundStream,
        *,
        track: str | int | None = None,
        keep_going: bool = False,
        transform: AudioTransformFn | None = None,
    ) -> None:
        self._transform = transform
        path = sound if isinstance(sound, Path) else "sound"
        self._source: SoundStream = (
            AudioSource(sound, track=track, keep_going=keep_going, quiet=True) if isinstance(sound, Path) else sound
        )
        codec = "libopus" if container.format.name == "webm" else "aac"
        names = self._source.channel_names
        layout = choose_encoded_layout(codec, len(names))
        channels = len(get_channel_names(layout))
        if channels != len(names):
            log.info("%s: %d channels of sound become %s", path, len(names), layout)
        rate_hz = _choose_rate(codec, self._source.rate_hz)
        if rate_hz != self._source.rate_hz:
            log.info("%s: sound goes from %d to %d Hz, which %s needs", path, self._source.rate_hz, rate_hz, codec)
        # Channels keep their order when only the name of the layout differs (5.1 with side or back speakers).
        self._input_layout = layout if channels in (1, len(names)) else self._source.layout
        # FFmpeg drops channels that a layout lacks, so sound without a default layout is mixed as for the models.
        self._mix_weights = get_mono_weights(names) if channels == 1 else None
        self._stream = cast(AudioStream, container.add_stream(codec, rate=rate_hz, layout=layout))
        self._stream.bit_rate = 1000 * min(_KBIT_PER_CHANNEL * channels, 12 * rate_hz // 1000)
        self._stream.codec_context.open()
        self._resampler = av.AudioResampler(
            format=self._stream.format.name,
            layout=layout,
            rate=rate_hz,
            frame_size=self._stream.codec_context.frame_size or None,
        )
        self._samples_read = 0
        self._ended = False

    def advance(self, until_s: Fraction) -> Iterator["Packet[AudioStream]"]:
        """Yield the packets of the sound up to `until_s`, or to its end."""
        samples = round(until_s * self._source.rate_hz) - self._samples_read
        if samples <= 0 or self._ended:
            return
        block = self._source.read(samples)
        self._ended = block.shape[1] < samples
        if block.shape[1]:
            yield from self._encode(block if self._transform is None else self._transform(block, self._samples_read))

    def _encode(self, block: F32) -> Iterator["Packet[AudioStream]"]:
        frame = to_frame(block if self._mix_weights is None else (self._mix_weights @ block)[None], self._input_layout)
        frame.sample_rate, frame.pts = self._source.rate_hz, self._samples_read
        frame.time_base = Fraction(1, self._source.rate_hz)
        self._samples_read += block.shape[1]
        for part in self._resampler.resample(frame):
            yield from self._stream.encode(part)

    def finish(self) -> Iterator["Packet[AudioStream]"]:
        """Flush the resampler and the encoder and yield the remaining packets."""
        if self._samples_read:
            for part in self._resampler.resample(None):
                yield from self._stream.encode(part)
        yield from self._stream.encode(None)

    def close(self) -> None:
        """Close what the sound is read from."""
        self._source.close()
