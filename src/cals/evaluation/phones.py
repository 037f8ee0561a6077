"""Times of the phones in English speech, by pocketsphinx, where that is installed."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cals.evaluation.drives import RATE_HZ
from cals.types import F32

BILABIALS = ("P", "B", "M")
"""Phones in which the lips close, as the CMU dictionary writes them."""
_FRAMES_HZ = 100
_LOOP = {"lw": 6.5, "beam": 1e-40, "pbeam": 1e-40, "dict": None, "lm": None}

Phone = tuple[str, float, float]
"""Name, start and end in seconds."""


class PhoneRecogniser:
    """Forced alignment of the recognised or known words; where that fails, a free loop over phones.

    Raises ImportError where pocketsphinx is not installed.
    """

    def __init__(self) -> None:
        import pocketsphinx

        self._library = pocketsphinx
        self._acoustics = Path(pocketsphinx.get_model_path()) / "en-us"
        self.name = f"pocketsphinx {version('pocketsphinx')}"

    def find(self, wav: F32, text: str | None = None) -> list[Phone]:
        """Return the phones of mono sound [n] at `RATE_HZ` in order, without silence; `text`: the words if known."""
        pcm = np.rint(np.clip(wav, -1, 1) * 32767).astype("<i2").tobytes()
        try:
            phones = self._align_words(pcm, text)
        except RuntimeError:  # the aligner gives up on some utterances
            phones = []
        return [phone for phone in phones or self._loop_phones(pcm) if phone[0].isalpha() and phone[0] != "SIL"]

    def _align_words(self, pcm: bytes, text: str | None) -> list[Phone]:
        decoder = self._library.Decoder(samprate=RATE_HZ, loglevel="FATAL")
        if text is None:
            _decode(decoder, pcm)
            hypothesis = decoder.hyp()
            text = "" if hypothesis is None else hypothesis.hypstr
        if not text:
            return []
        decoder.set_align_text(text)
        _decode(decoder, pcm)
        decoder.set_alignment()
        _decode(decoder, pcm)
        phones = [phone for word in decoder.get_alignment() for phone in word]
        return [(p.name, p.start / _FRAMES_HZ, (p.start + p.duration) / _FRAMES_HZ) for p in phones]

    def _loop_phones(self, pcm: bytes) -> list[Phone]:
        models = {"hmm": str(self._acoustics / "en-us"), "allphone": str(self._acoustics / "en-us-phone.lm.bin")}
        decoder = self._library.Decoder(samprate=RATE_HZ, loglevel="FATAL", **models, **_LOOP)
        _decode(decoder, pcm)
        return [(s.word, s.start_frame / _FRAMES_HZ, (s.end_frame + 1) / _FRAMES_HZ) for s in decoder.seg()]


def load_recogniser() -> PhoneRecogniser | None:
    """Load the recogniser, or return None where it is not installed."""
    try:
        return PhoneRecogniser()
    except ImportError:
        return None


def _decode(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
