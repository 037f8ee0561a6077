"""Selection of a sound track: the `--audio-track` option."""

import logging
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream

from cals.errors import ConfigError, MediaError

log = logging.getLogger(__name__)


def select_sound_track(path: Path, container: InputContainer, choice: str | int | None, *, quiet: bool) -> AudioStream:
    """Select the sound track that `choice` names: a number from 1 on, or a language; by default that of players.

    A default choice among several is logged unless `quiet`. Raises MediaError where no sound can be decoded, and
    ConfigError that lists the tracks where none matches.
    """
    tracks = container.streams.audio
    if not tracks:
        kinds = sorted({str(other.type) for other in container.streams}) or ["nothing"]
        raise MediaError(f"{path}: expected sound, found only {', '.join(kinds)}; give a file with sound")
    track = choose_track(path, tracks, choice)
    if not _has_decoder(track):
        raise MediaError(f"{path}: expected a sound codec this build can decode, found none; convert it to wav")
    if track.rate <= 0 or not track.layout.channels:
        raise MediaError(f"{path}: expected sound with a sample rate, found none; convert it to wav")
    if choice is None and len(tracks) > 1 and not quiet:
        number = tracks.index(track) + 1
        log.warning("%s: %s; taking %d (generate --audio-track takes another)", path, describe_tracks(tracks), number)
    return track


def choose_track(path: Path, tracks: tuple[AudioStream, ...], choice: str | int | None) -> AudioStream:
    """Choose the track that `choice` names, else the default one, else the first; with a decoder if possible."""
    if choice is not None:
        return _find_by_name(path, tracks, str(choice).strip().lower())
    return max(tracks, key=lambda track: (_has_decoder(track), bool(track.disposition & Disposition.default)))


def describe_tracks(tracks: tuple[AudioStream, ...]) -> str:
    """Describe all sound tracks of a file in a line, with the numbers and languages that select them."""
    descriptions = []
    for number, track in enumerate(tracks, 1):
        layout = f" {track.layout.name}" if _has_decoder(track) else ""
        descriptions.append(f"{number} ({describe_track(track, layout, track.metadata.get('title'))})")
    return f"{len(tracks)} sound tracks: " + ", ".join(descriptions)


def describe_track(track: Stream, layout: str = "", title: str | None = None) -> str:
    """Describe a track for the user: codec, language and title, as far as they are known."""
    codec = track.codec_context.name if _has_decoder(track) else "unknown codec"
    language = None if track.language == "und" else track.language
    return ", ".join(filter(None, (codec + layout, language, title)))


def _has_decoder(track: Stream) -> bool:
    return track.codec_context is not None


def _find_by_name(path: Path, tracks: tuple[AudioStream, ...], choice: str) -> AudioStream:
    for number, track in enumerate(tracks, 1):
        language = (track.language or "").lower()
        # "en" also matches "eng" and "en-GB".
        if choice == str(number) or (choice and language.startswith(choice)):
            return track
    raise ConfigError(
        f"audio track: expected a number or a language of {path}, which has {describe_tracks(tracks)}; found '{choice}'"
    )
