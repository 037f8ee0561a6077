"""`Transcriber`: speech recognition from a video's sound, its lips, or both."""

from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cals import hub
from cals.errors import ConfigError
from cals.face.detector import FaceModels
from cals.inference.even_sampling import EvenSampler
from cals.inference.load import load_recognizer
from cals.inference.segmentation import split_segments
from cals.inference.transcript import Reliability, Segment, Transcript, TranscriptWord
from cals.inference.utterance import AVFrame, StreamFiles, choose_streams, read_frames
from cals.models.avsr.beam import BeamConfig, align_ctc
from cals.models.avsr.config import AVSRConfig, Streams
from cals.models.avsr.network import AVSR, STREAMS
from cals.models.avsr.recognize import Recognition, group_words, recognize
from cals.models.avsr.tokens import Tokens
from cals.types import U8, ProgressCallback

_MOUTH_COUNT = 64
_QUANTILES = (0.1, 0.9)


class Transcriber:
    """A loaded recogniser, for any number of videos.

    `model` is a checkpoint folder of `cals train avsr`; `face_models` a folder with the two face networks for machines
    without a network.
    """

    def __init__(self, model: str | Path, *, face_models: str | Path | None = None, device: str = "cpu") -> None:
        loaded = load_recognizer(model, device)
        self._network: AVSR = loaded.network
        self._language, self._face_models, self._device = loaded.language, face_models, device
        self.name = f"{loaded.name} ({loaded.fingerprint})"

    @property
    def config(self) -> AVSRConfig:
        """Sizes, rates, streams and tokens of the recogniser."""
        return self._network.config

    def check_scores(self) -> None:
        """Raise ConfigError where the recogniser does not score its streams; call it before any work."""
        if not self.config.has_scores:
            kind = "one without scores" if self.config.streams == "both" else f"one of {self.config.streams} alone"
            raise ConfigError(
                f"scores: expected a recogniser of both streams that scores them, found {kind}; leave --scores out"
            )

    def transcribe(
        self,
        video: str | Path,
        *,
        streams: Streams = "both",
        beam: BeamConfig = BeamConfig(),  # noqa: B008  # frozen
        person: str | int = "largest",
        audio: str | Path | None = None,
        keep_going: bool = False,
        progress: ProgressCallback | None = None,
    ) -> Transcript:
        """Transcribe a video or sound file, a segment of about a sentence at a time; memory use is constant.

        `streams` "both" means whatever both file and recogniser have; `audio` replaces the video's own sound.
        Raises MediaError for an unreadable file or one without a stream that the recogniser takes, and ConfigError for
        streams that the recogniser lacks. Raises NoFaceError where lips alone are read and no face is found.
        """
        source = choose_streams(Path(video), None if audio is None else Path(audio), streams, self.config)
        face_models = None if source.video is None else FaceModels(*hub.read_face_models(self._face_models))
        moments = read_frames(source, self.config, face_models, person=person, keep_going=keep_going, progress=progress)
        builder = _TranscriptBuilder(self.config, source)
        with closing(moments):  # type: ignore[type-var]  # a generator
            fps, pauses = self.config.mel.timing.fps, source.audio is not None
            for piece in split_segments(moments, lambda moment: moment.level, fps, pauses=pauses):
                builder.add(piece, *self._recognize(piece, beam))
        return builder.build(self.name)

    @torch.no_grad()
    def _recognize(self, piece: Sequence[AVFrame], beam: BeamConfig) -> tuple[Recognition | None, dict[str, Tensor]]:
        """Recognise one segment and return the reliability [t features] of its streams.

        The recognition is None where the segment has neither a face nor sound.
        """
        sounding = [moment.wav for moment in piece if moment.wav is not None and moment.wav.any()]
        has_mouth = torch.tensor([moment.mouth is not None for moment in piece])
        if not sounding and not has_mouth.any():
            return None, {}
        wav = torch.from_numpy(np.concatenate([moment.wav for moment in piece]))[None] if sounding else None
        mouths = torch.full((1, len(piece), self.config.view_px, self.config.view_px), 0.5) if has_mouth.any() else None
        for number, moment in enumerate(piece):
            if moment.mouth is not None and mouths is not None:
                mouths[0, number] = torch.from_numpy(moment.mouth).float() / 255
        all_frames = torch.ones(1, len(piece), dtype=torch.bool, device=self._device)
        encoding = self._network.encode(
            None if wav is None else wav.to(self._device),
            None if mouths is None else mouths.to(self._device),
            all_frames,
            {"audio": all_frames, "video": has_mouth[None].to(self._device)},
        )
        scores = {stream: values[0].float().cpu() for stream, values in encoding.scores.items()}
        return recognize(self._network, encoding, beam, self._language)[0], scores


class _TranscriptBuilder:
    """Collects recognised segments into a `Transcript`."""

    def __init__(self, config: AVSRConfig, source: StreamFiles) -> None:
        self._config, self._source = config, source
        self._frames = 0
        self._segments: list[Segment] = []
        self._faces: list[bool] = []
        self._peaks: list[float] = []
        self._mouths = EvenSampler[U8 | None](_MOUTH_COUNT)
        scored_streams = [stream for stream in STREAMS if config.has_scores and source.streams in ("both", stream)]
        self._scores: dict[str, list[Tensor]] = {stream: [] for stream in scored_streams}

    def add(self, piece: Sequence[AVFrame], recognition: Recognition | None, scores: dict[str, Tensor]) -> None:
        """Add the next segment."""
        fps, first = self._config.mel.timing.fps, self._frames
        for number, moment in zip(count(first), piece, strict=False):
            self._faces.append(moment.mouth is not None)
            self._peaks.append(0.0 if moment.wav is None else float(np.abs(moment.wav).max()))
            self._mouths.offer(number, lambda mouth=moment.mouth: mouth)  # type: ignore[misc]
        self._frames += len(piece)
        words = () if recognition is None else build_words(recognition, self._config.tokens, first, fps)
        self._segments.append(Segment(start_s=first / fps, end_s=self._frames / fps, words=words))
        for stream, parts in self._scores.items():
            parts.append(_summarize(scores[stream]) if stream in scores else torch.full((3, len(piece)), torch.nan))

    def build(self, model: str) -> Transcript:
        """Return the transcript of all segments added so far."""
        scores = {stream: torch.cat(parts, dim=1).numpy() for stream, parts in self._scores.items() if parts}
        return Transcript(
            model=model,
            streams=self._source.streams if self._source.streams != "both" or any(self._faces) else "audio",
            fps=self._config.mel.timing.fps,
            frames=self._frames,
            segments=tuple(self._segments),
            scores={stream: Reliability(mean=v[0], low=v[1], high=v[2]) for stream, v in scores.items()},
            has_face=None if self._source.video is None else np.array(self._faces, bool),
            peaks=None if self._source.audio is None else np.array(self._peaks, np.float32),
            mouths=self._mouths.items,
        )


def _summarize(scores: Tensor) -> Tensor:
    """Compute mean and quantiles [3 t] over the channels of scores [t c]."""
    low, high = torch.quantile(scores, torch.tensor(_QUANTILES), dim=1)
    return torch.stack([scores.mean(dim=1), low, high])


def build_words(recognition: Recognition, tokens: Tokens, first: int, fps: int) -> tuple[TranscriptWord, ...]:
    """Return the words of a segment that begins with frame `first`, with times in the video and CTC probabilities."""
    sentence, log_probs = recognition.hypothesis.tokens, recognition.log_probs
    spans = align_ctc(log_probs, sentence)
    token_log_probs = [
        float(log_probs[start:end, token].mean()) for token, (start, end) in zip(sentence, spans, strict=True)
    ]
    words = []
    for word in group_words(tokens, sentence, spans):
        word_log_probs = [
            value
            for value, span in zip(token_log_probs, spans, strict=True)
            if word.start <= span[0] and span[1] <= word.end
        ]
        words.append(
            TranscriptWord(
                start_s=(first + word.start) / fps,
                end_s=(first + word.end) / fps,
                text=word.text,
                confidence=round(float(np.exp(np.mean(word_log_probs))), 4),
            )
        )
    return tuple(words)
