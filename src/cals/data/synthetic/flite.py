"""Speech of the flite synthesiser, where it is installed: real words, phone times, co-articulated sound."""

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from cals.data.synthetic.grammar import PhoneSequence
from cals.data.synthetic.phones import PAUSE, PHONES
from cals.data.synthetic.sound import SAMPLE_RATE_HZ
from cals.errors import ConfigError, DataError
from cals.types import F32

VOICES = ("slt", "rms", "awb", "kal16")
_PHONE_ALIASES = {"PAU": PAUSE, "AX": "AH", "IX": "IH", "AXR": "ER", "DX": "D", "EL": "L", "EM": "M", "EN": "N"}
"""Phones that only flite has, and those that replace them."""
_TEXT = (
    "about above after again air all along always animal another answer away back bear beautiful because before big "
    "bird blue boat book both bring brother build busy call change children city close cold come country cut dark day "
    "different door down draw dream early earth easy eat egg enough every eye face family far father feel few fire "
    "first fish five follow food four friend full garden girl give glass go good green grow half happy hard head hear "
    "heavy high home horse hour house hundred ice island jump keep kind king know language large laugh leave letter "
    "life light list little live long love machine make many measure money moon more morning mother mountain move "
    "music name near never new night north number ocean often old open other over page paper people picture place "
    "plant play please point power put question quick quiet rain reach read red ready rest river road rock room round "
    "run school sea second seven shape sheep ship short show side sing six sleep slow small snow soft some soon south "
    "space speak spring stand star stone stop story street strong summer sun sure table talk teach thing think three "
    "thousand through time today together town travel tree true turn two under usual valley very village visit voice "
    "walk warm watch water wave way weather week west wheel white wide wind winter wish with woman wood word work "
    "world write year yellow yes young zero"
)


def synthesize_flite(seconds: float, speaker: int, rng: np.random.Generator) -> tuple[PhoneSequence, F32]:
    """Synthesise words by one of flite's voices, cut or padded with silence to that length; sound [n] at 16 kHz.

    Raises ConfigError when flite is not installed, DataError when its output is not as expected.
    """
    program = shutil.which("flite")
    if program is None:
        raise ConfigError(
            "voice flite: expected the program flite, found none; install it (Debian: apt-get install flite), or use "
            "--voice formant"
        )
    text = " ".join(rng.choice(_TEXT.split(), max(2, round(2.6 * seconds))).tolist())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = [program, "-voice", VOICES[speaker % len(VOICES)], "-psdur", "-t", text, "-o", str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode or not path.is_file():
            raise DataError(f"flite: expected speech, found {result.stderr.strip() or 'none'}; use --voice formant")
        with wave.open(str(path)) as file:
            facts = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            if facts != (SAMPLE_RATE_HZ, 1, 2):
                raise DataError(f"flite: expected 16 kHz, mono, 16 bit, found {facts}; use --voice formant")
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    samples = round(seconds * SAMPLE_RATE_HZ)
    sound = np.zeros(samples, np.float32)
    sound[: min(samples, len(pcm))] = pcm[:samples].astype(np.float32) / 32768
    return parse_phones(result.stdout, seconds), sound


def parse_phones(output: str, seconds: float) -> PhoneSequence:
    """Parse the output of `flite -psdur`, `phone:end phone:end ...`, to speech of that length."""
    phones: list[str] = []
    edges = [0.0]
    try:
        for entry in output.split():
            name, _, end = entry.partition(":")
            name = _PHONE_ALIASES.get(name.upper(), name.upper())
            if name not in PHONES:
                raise ValueError(f"the phone {name}")
            if edges[-1] < seconds and float(end) > edges[-1]:
                phones.append(name)
                edges.append(min(float(end), seconds))
    except ValueError as error:
        raise DataError(f"flite: expected phones with times, found {error}; use --voice formant") from error
    if edges[-1] < seconds:
        phones.append(PAUSE)
        edges.append(seconds)
    return PhoneSequence(tuple(phones), np.array(edges), np.full(len(phones), -1))
