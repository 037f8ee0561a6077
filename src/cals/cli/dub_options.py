"""Options of `cals generate` for several persons and for parts of a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from cals.errors import ConfigError

if TYPE_CHECKING:
    from cals.inference.dub_segments import DubSegment


@dataclass(frozen=True, kw_only=True)
class DubOptions:
    """Who says what, and when; without any of them one person says `--audio` from the first frame on."""

    speak: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """PERSON=AUDIO, repeatable: what each person says from the first frame on. A person is a value of --person; `cals
    track --all` shows the numbers."""
    segments: Path | None = None
    """Who says what when: a .json, .csv, .srt or .vtt file. All else stays as in the video."""
    audio_dir: Path | None = None
    """Folder with the voices of --segments, called by number (1.wav, 0002.mp3) or as the file says."""
    cast: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=PERSON, repeatable: the persons behind the names in --segments."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Start of the only part that is changed: seconds or HH:MM:SS.mmm."""
    to: str | None = None
    """End of that part."""

    @property
    def is_given(self) -> bool:
        """Whether the job is a dub."""
        return bool(self.speak or self.segments or self.from_ is not None or self.to is not None)

    def load_segments(
        self, face: Path, audio: Path | None, voice: Path | None
    ) -> "tuple[list[DubSegment], Path | None]":
        """Return the segments, and what is heard instead of the mix of their voices.

        Raises ConfigError for options that exclude each other, DataError and MediaError for files that cannot be used.
        """
        from cals.inference import dub, dub_segments

        is_part = self.from_ is not None or self.to is not None
        given = [
            name
            for name, is_given in (("speak", self.speak), ("segments", self.segments), ("from", is_part))
            if is_given
        ]
        if len(given) > 1:
            raise ConfigError(f"{given[0]}: expected one kind of dub, found --{' and --'.join(given)}; leave one out")
        if is_part:
            if audio is None:
                raise ConfigError("from: expected what is said there, found none; give --audio")
            part = dub.build_part_segment(face, voice or audio, self.from_, self.to)
            return [part], None if voice is None else audio
        if voice is not None:
            raise ConfigError(f"voice: expected none beside --{given[0]}, which names the voices, found {voice}")
        if self.segments is not None:
            return dub_segments.load_segments(self.segments, self.audio_dir), audio
        speeches = [(person, Path(file)) for person, file in _parse_pairs("speak", self.speak, "PERSON=AUDIO")]
        return dub.build_full_segments(speeches), audio

    def parse_cast(self) -> dict[str, str | int]:
        """Return the persons of `cast` by name; ConfigError for other forms."""
        return dict(_parse_pairs("cast", self.cast, "NAME=PERSON"))


def _parse_pairs(name: str, values: tuple[str, ...], form: str) -> list[tuple[str, str]]:
    pairs = []
    for value in values:
        left, equals, right = value.partition("=")
        if not (left.strip() and equals and right.strip()):
            raise ConfigError(f"{name}: expected {form}, found {value!r}; write it with an equals sign")
        pairs.append((left.strip(), right.strip()))
    return pairs
