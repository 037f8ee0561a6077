"""Options of `cals generate` for several persons and for parts of a video."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from cals.errors import ConfigError

if TYPE_CHECKING:
    from cals.inference.dub_request import DubRequest


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

    def build_request(self, voice: Path | None) -> "DubRequest | None":
        """Return what is asked for, None where the job is no dub; ConfigError for options that exclude each other."""
        from cals.inference.dub_request import DubRequest, parse_cast, parse_pairs

        if not (self.speak or self.segments or self.from_ is not None or self.to is not None):
            for name, value in (("audio-dir", self.audio_dir), ("cast", self.cast)):
                if value:
                    raise ConfigError(f"{name}: expected --segments beside it, found none; give them, or leave it out")
            return None
        if voice is not None:
            raise ConfigError(f"voice: expected none in a dub, found {voice}; name it as the voice of a segment")
        return DubRequest(
            speak=tuple((person, Path(file)) for person, file in parse_pairs("speak", self.speak, "PERSON=AUDIO")),
            segments=self.segments,
            voices=self.audio_dir,
            cast=parse_cast(self.cast),
            start=self.from_,
            end=self.to,
        )
