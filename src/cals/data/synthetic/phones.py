"""The phones: sound, duration and mouth of each.

Sound follows textbook averages (formants of vowels: Peterson and Barney, 1952; loci and noise bands of consonants
rounded), changed where two phones would sound alike: here any 10 ms of a phone tell it from all others. Mouth targets
are ours, in the manner of Cohen and Massaro (1993). Vowels are steady, diphthongs included.
"""

from dataclasses import dataclass
from typing import NamedTuple

from cals.errors import ConfigError

PAUSE = "SIL"
SHORTEST, LONGEST = 0.6, 1.4
"""Durations are uniform between these shares of a phone's mean."""


class Mouth(NamedTuple):
    """One value for each of the three degrees of freedom of a mouth."""

    opening: float
    """Targets: 0 closed to 1 wide open."""
    width: float
    """-1 narrow to 1 spread."""
    protrusion: float
    """0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Phone:
    """One phone."""

    mean_s: float
    target: Mouth
    strength: Mouth
    """Weight of its target against those of its neighbours."""
    reach: float = 1.0
    """Its share of the corpus's reach: lips that meet do so late and part soon."""
    formants_hz: tuple[float, float, float]
    voice_db: float | None = None
    """Level of its voiced part; None for voiceless."""
    noise_hz: float = 3000.0
    noise_width_hz: float = 800.0
    noise_db: float | None = None
    """Level of its noise; None for none."""
    closed: float = 0.0
    """Share at its start that is quiet, as the closure of a stop."""

    def __post_init__(self) -> None:
        if not (self.mean_s > 0 and 0 < self.reach <= 1 and 0 <= self.closed < 1 and min(self.strength) > 0):
            raise ConfigError(f"phone: expected positive time and strength, reach and closure up to 1, found {self}")


def _build_vowel(
    formants_hz: tuple[float, float, float], mouth: tuple[float, float, float], mean_s: float = 0.11, weak: float = 1.0
) -> Phone:
    opening, width, protrusion = mouth
    return Phone(
        mean_s=mean_s,
        target=Mouth(opening, width, protrusion),
        strength=Mouth(1.0 * weak, 1.0 * weak, (1.5 if protrusion else 0.8) * weak),
        formants_hz=formants_hz,
        voice_db=0.0,
    )


def _build_consonant(
    mean_s: float,
    mouth: tuple[float, float, float],
    strength: tuple[float, float, float],
    formants_hz: tuple[float, float, float],
    voice_db: float | None,
    noise: tuple[float, float, float] | None = None,
    *,
    reach: float = 1.0,
    closed: float = 0.0,
) -> Phone:
    """Build a consonant; `noise` is its centre, width and level."""
    hz, wide_hz, level = noise or (3000.0, 800.0, None)
    return Phone(
        mean_s=mean_s,
        target=Mouth(*mouth),
        strength=Mouth(*strength),
        reach=reach,
        formants_hz=formants_hz,
        voice_db=voice_db,
        noise_hz=hz,
        noise_width_hz=wide_hz,
        noise_db=level,
        closed=closed,
    )


_LIPS = (6.0, 0.4, 0.3)
_TEETH = (4.0, 0.5, 0.3)
_HISS = (1.5, 0.6, 0.3)
_TONGUE = (0.5, 0.25, 0.15)
_BACK = (0.15, 0.15, 0.15)
_ROUND = (1.5, 1.5, 2.0)

PHONES: dict[str, Phone] = {
    PAUSE: _build_consonant(0.25, (0.02, 0.0, 0.0), (0.6, 0.5, 0.4), (500, 1500, 2500), None),
    "AA": _build_vowel((730, 1090, 2440), (0.95, 0.1, 0.0), 0.12),
    "AE": _build_vowel((660, 1720, 2410), (0.8, 0.55, 0.0), 0.12),
    "AH": _build_vowel((640, 1300, 2390), (0.5, 0.0, 0.0), 0.075, 0.6),
    "AO": _build_vowel((570, 840, 2410), (0.75, -0.5, 0.45), 0.12),
    "AW": _build_vowel((760, 1280, 2900), (0.9, -0.25, 0.3), 0.15),
    "AY": _build_vowel((700, 1500, 2900), (0.9, 0.35, 0.0), 0.15),
    "EH": _build_vowel((530, 1840, 2480), (0.6, 0.4, 0.0), 0.09),
    "ER": _build_vowel((490, 1350, 1690), (0.35, -0.4, 0.4), 0.11),
    "EY": _build_vowel((440, 2050, 2700), (0.45, 0.7, 0.0), 0.13),
    "IH": _build_vowel((390, 1990, 2350), (0.35, 0.5, 0.0), 0.075, 0.7),
    "IY": _build_vowel((270, 2290, 3010), (0.25, 1.0, 0.0), 0.11),
    "OW": _build_vowel((450, 900, 2700), (0.5, -0.8, 0.75), 0.13),
    "OY": _build_vowel((500, 1050, 3000), (0.55, -0.6, 0.6), 0.16),
    "UH": _build_vowel((440, 1020, 2240), (0.35, -0.6, 0.6), 0.085),
    "UW": _build_vowel((300, 870, 2240), (0.2, -1.0, 1.0), 0.11),
    "P": _build_consonant(0.085, (0, 0, 0), _LIPS, (300, 800, 2200), None, (700, 400, 0), reach=0.35, closed=0.5),
    "B": _build_consonant(0.07, (0, 0, 0), _LIPS, (250, 800, 2200), -12, (700, 400, -8), reach=0.35, closed=0.6),
    "M": _build_consonant(0.07, (0, 0, 0), _LIPS, (250, 1000, 2250), -8, reach=0.35),
    "F": _build_consonant(0.095, (0.1, 0.1, 0), _TEETH, (300, 1200, 2500), None, (6500, 2200, -14), reach=0.5),
    "V": _build_consonant(0.06, (0.1, 0.1, 0), _TEETH, (280, 1200, 2500), -12, (6500, 2200, -22), reach=0.5),
    "TH": _build_consonant(0.085, (0.25, 0.15, 0), _TONGUE, (300, 1400, 2600), None, (7300, 700, -12)),
    "DH": _build_consonant(0.05, (0.25, 0.15, 0), _TONGUE, (280, 1400, 2600), -11, (7300, 700, -20)),
    "S": _build_consonant(0.1, (0.12, 0.4, 0), _HISS, (300, 1700, 2600), None, (5200, 900, 0)),
    "Z": _build_consonant(0.08, (0.12, 0.4, 0), _HISS, (280, 1700, 2600), -12, (5200, 900, -6)),
    "SH": _build_consonant(0.11, (0.25, -0.5, 0.8), _ROUND, (300, 1800, 2600), None, (2900, 700, 0)),
    "ZH": _build_consonant(0.09, (0.25, -0.5, 0.8), _ROUND, (280, 1800, 2600), -12, (2900, 700, -6)),
    "CH": _build_consonant(0.12, (0.2, -0.45, 0.75), _ROUND, (300, 1800, 2600), None, (3700, 500, 2), closed=0.4),
    "JH": _build_consonant(0.1, (0.2, -0.45, 0.75), _ROUND, (280, 1800, 2600), -12, (3700, 500, -5), closed=0.4),
    "T": _build_consonant(0.075, (0.2, 0.2, 0), _TONGUE, (300, 1750, 2700), None, (4300, 500, 0), closed=0.5),
    "D": _build_consonant(0.06, (0.2, 0.2, 0), _TONGUE, (260, 1750, 2700), -11, (4300, 500, -8), closed=0.6),
    "N": _build_consonant(0.065, (0.22, 0.15, 0), _TONGUE, (290, 1550, 2600), -7),
    "L": _build_consonant(0.06, (0.35, 0.1, 0), _TONGUE, (360, 1150, 3000), -5),
    "R": _build_consonant(0.06, (0.3, -0.5, 0.55), (0.7, 0.8, 1.2), (330, 1150, 1500), -5),
    "K": _build_consonant(0.09, (0.35, 0, 0), _BACK, (300, 1900, 2200), None, (1800, 300, 0), closed=0.5),
    "G": _build_consonant(0.065, (0.35, 0, 0), _BACK, (260, 1900, 2200), -11, (1800, 300, -8), closed=0.6),
    "NG": _build_consonant(0.08, (0.35, 0, 0), _BACK, (310, 2100, 2700), -8),
    "HH": _build_consonant(0.06, (0.45, 0, 0), _BACK, (500, 1500, 2500), None, (1300, 1200, -16)),
    "W": _build_consonant(0.06, (0.12, -0.95, 0.95), _ROUND, (310, 640, 2150), -4),
    "Y": _build_consonant(0.055, (0.25, 0.75, 0), (0.6, 1.0, 0.5), (220, 2650, 3500), -10),
}
VOWELS = tuple(name for name, phone in PHONES.items() if phone.voice_db == 0.0)
CONSONANTS = tuple(name for name in PHONES if name not in VOWELS and name != PAUSE)
