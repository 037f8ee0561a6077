"""Options of `cals generate` for several persons and for parts of a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from cals.errors import ConfigError
from cals.options import GenerateOptions

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
        return bool(self.speak or self.segments or self._is_part)

    @property
    def _is_part(self) -> bool:
        return self.from_ is not None or self.to is not None

    def load_segments(
        self, face: Path, audio: Path | None, voice: Path | None, options: GenerateOptions
    ) -> "tuple[list[DubSegment], Path | None]":
        """Return the segments, and what is heard instead of the mix of their voices.

        Raises ConfigError for options that exclude each other, DataError and MediaError for files that cannot be used.
        """
        from cals.inference import dub, dub_segments

        kind = self._find_kind()
        if voice is not None:
            raise ConfigError(f"voice: expected none in a dub, found {voice}; name it as the voice of --{kind}")
        if kind == "segments":
            assert self.segments is not None
            return dub_segments.load_segments(self.segments, self.audio_dir), audio
        if kind == "speak":
            speeches = [(person, Path(file)) for person, file in _parse_pairs("speak", self.speak, "PERSON=AUDIO")]
            return dub.build_full_segments(face, speeches, options), audio
        if audio is None:
            raise ConfigError("from: expected what is said there, found none; give --audio")
        return [dub.build_part_segment(face, audio, self.from_, self.to, options)], None

    def _find_kind(self) -> str:
        """Return which of the ways to describe a dub is used."""
        given = {"speak": bool(self.speak), "segments": self.segments is not None, "from": self._is_part}
        kinds = [kind for kind, is_given in given.items() if is_given]
        if len(kinds) > 1:
            raise ConfigError(f"{kinds[0]}: expected one kind of dub, found --{' and --'.join(kinds)}; leave one out")
        return kinds[0]

    def parse_cast(self) -> dict[str, str | int]:
        """Return the persons of `cast` by name; ConfigError for other forms, and for options without --segments."""
        for name, value in (("audio-dir", self.audio_dir), ("cast", self.cast)):
            if value and self.segments is None:
                raise ConfigError(f"{name}: expected --segments beside it, found none; give them, or leave it out")
        pairs = _parse_pairs("cast", self.cast, "NAME=PERSON")
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise ConfigError(f"cast: expected each name once, found {', '.join(names)}; leave one out")
        return dict(pairs)


def _parse_pairs(name: str, values: tuple[str, ...], form: str) -> list[tuple[str, str]]:
    pairs = []
    for value in values:
        left, equals, right = value.partition("=")
        if not (left.strip() and equals and right.strip()):
            raise ConfigError(f"{name}: expected {form}, found {value!r}; write it with an equals sign")
        pairs.append((left.strip(), right.strip()))
    return pairs
