"""Which of several sound tracks is meant: the `--audio-track` option."""

import logging
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from cals.errors import ConfigError, MediaError

log = logging.getLogger(__name__)


def pick_sound(path: Path, container: InputContainer, wanted: str | int | None, *, quiet: bool) -> AudioStream:
    """The sound track that `wanted` names: a number from 1 on, or a language; by default the one players take.

    A choice among several that nobody made is logged unless `quiet`. Raises MediaError where there is no sound that
    decodes, and ConfigError that lists the tracks where none is as wanted.
    """
    tracks = container.streams.audio
    if not tracks:
        kinds = sorted({str(other.type) for other in container.streams}) or ["nothing"]
        raise MediaError(f"{path}: expected sound, found only {', '.join(kinds)}; give a file with sound")
    if wanted is None:
        track = max(tracks, key=lambda one: (_has_decoder(one), bool(one.disposition & Disposition.default)))
    else:
        track = _named(path, tracks, str(wanted).strip().lower())
    if not _has_decoder(track):
        raise MediaError(f"{path}: expected a sound codec this build can decode, found none; convert it to wav")
    if track.rate <= 0 or not track.layout.channels:
        raise MediaError(f"{path}: expected sound with a sample rate, found none; convert it to wav")
    if wanted is None and len(tracks) > 1 and not quiet:
        number = tracks.index(track) + 1
        log.warning("%s: %s; taking %d, --audio-track takes another", path, described(tracks), number)
    return track


def described(tracks: tuple[AudioStream, ...]) -> str:
    """All sound tracks of a file in a line, with the numbers and languages by which they are chosen."""
    words = []
    for number, track in enumerate(tracks, 1):
        codec = f"{track.codec_context.name} {track.layout.name}" if _has_decoder(track) else "unknown codec"
        words.append(f"{number} ({', '.join(filter(None, (codec, track.language, track.metadata.get('title'))))})")
    return f"{len(tracks)} sound tracks: " + ", ".join(words)


def _has_decoder(track: AudioStream) -> bool:
    return track.codec_context is not None


def _named(path: Path, tracks: tuple[AudioStream, ...], wanted: str) -> AudioStream:
    for number, track in enumerate(tracks, 1):
        language = (track.language or "").lower()
        # "en" means "eng" and "en-GB" too.
        if wanted == str(number) or (wanted and language.startswith(wanted)):
            return track
    raise ConfigError(
        f"audio track: expected a number or a language of {path}, which has {described(tracks)}; found '{wanted}'"
    )
