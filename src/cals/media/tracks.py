"""Which of several sound tracks is meant: the `--audio-track` option."""

import logging
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream

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
    track = choose_track(path, tracks, wanted)
    if not _has_decoder(track):
        raise MediaError(f"{path}: expected a sound codec this build can decode, found none; convert it to wav")
    if track.rate <= 0 or not track.layout.channels:
        raise MediaError(f"{path}: expected sound with a sample rate, found none; convert it to wav")
    if wanted is None and len(tracks) > 1 and not quiet:
        number = tracks.index(track) + 1
        log.warning("%s: %s; taking %d (generate --audio-track takes another)", path, described(tracks), number)
    return track


def choose_track(path: Path, tracks: tuple[AudioStream, ...], wanted: str | int | None) -> AudioStream:
    """The track that `wanted` names, else the default one, else the first; one that decodes where there is one."""
    if wanted is not None:
        return _named(path, tracks, str(wanted).strip().lower())
    return max(tracks, key=lambda one: (_has_decoder(one), bool(one.disposition & Disposition.default)))


def described(tracks: tuple[AudioStream, ...]) -> str:
    """All sound tracks of a file in a line, with the numbers and languages by which they are chosen."""
    words = []
    for number, track in enumerate(tracks, 1):
        layout = f" {track.layout.name}" if _has_decoder(track) else ""
        words.append(f"{number} ({facts_of(track, layout, track.metadata.get('title'))})")
    return f"{len(tracks)} sound tracks: " + ", ".join(words)


def facts_of(track: Stream, layout: str = "", title: str | None = None) -> str:
    """Codec, language and title of a track, as far as they are known, for a line to a user."""
    codec = track.codec_context.name if _has_decoder(track) else "unknown codec"
    language = None if track.language == "und" else track.language
    return ", ".join(filter(None, (codec + layout, language, title)))


def _has_decoder(track: Stream) -> bool:
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
