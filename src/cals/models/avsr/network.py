"""The recogniser: two streams, weighted by reliability scores, to token probabilities."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cals.errors import CheckpointError
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.decoder import Decoder
from cals.models.avsr.front_ends import PhoneticFrontEnd, VisualFrontEnd, WaveformFrontEnd
from cals.nn.attention import compute_rotary_angles
from cals.nn.conformer import ConformerBlock
from cals.nn.resnet import TemporalScores
from cals.types import F32

STREAMS = ("audio", "video")


@dataclass(frozen=True, eq=False)
class Encoding:
    """The encoder's output for a batch of clips."""

    features: Tensor
    """[b t width]"""
    valid: Tensor
    """[b t], False beyond a clip's end."""
    scores: dict[str, Tensor] = field(default_factory=dict)
    """Reliability scores [b t features] by stream, in 0..1, where the network has them."""

    def average_scores(self, clip: int = 0) -> dict[str, F32]:
        """Average one clip's scores over the features, [t] by stream."""
        return {stream: scores[clip].float().mean(dim=-1).cpu().numpy() for stream, scores in self.scores.items()}


class AVSR(nn.Module):
    """Front-ends, reliability scores, fusion in time, Conformer encoder; CTC and an attention decoder on top.

    The streams are concatenated in time, as published. Both have the same rotary positions, and a learned embedding
    per stream tells them apart ([D]: published are absolute positions over both). The last stream's half is kept.
    """

    frozen: bool = False
    """Whether the front-ends are frozen."""

    def __init__(self, config: AVSRConfig) -> None:
        super().__init__()
        self.config = config
        if config.has_audio:
            self.hear = WaveformFrontEnd(config) if config.whisper is None else PhoneticFrontEnd(config)
        if config.has_video:
            self.see = VisualFrontEnd(config)
        self.scorers = nn.ModuleDict()
        if config.has_scores:
            for stream in STREAMS:
                self.scorers[stream] = TemporalScores(2 * config.features, config.features, config.score_kernel)
        streams = int(config.has_audio) + int(config.has_video)
        self.join = nn.Linear(config.features, config.width)
        self.stream = nn.Parameter(torch.zeros(streams, 1, config.width))
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            ConformerBlock(config.width, config.heads, config.hidden, config.kernel, config.dropout)
            for _ in range(config.encoder_layers)
        )
        self.ctc_head = nn.Linear(config.width, config.tokens.size)
        self.decoder = Decoder(config)

    def encode(
        self, wav: Tensor | None, mouths: Tensor | None, valid: Tensor, trusted: dict[str, Tensor] | None = None
    ) -> Encoding:
        """Encode waveforms [b n] at the mel's rate and grey mouths [b t h w] in 0..1, `valid` [b t].

        The features of a stream that is None are zero. `trusted` marks, by stream, the clips [b] or frames [b t] that
        have it. Raises ValueError where neither stream is given.
        """
        encoded: dict[str, Tensor] = {}
        if self.config.has_audio and wav is not None:
            encoded["audio"] = self.hear(_normalize_wav(wav, valid))
        if self.config.has_video and mouths is not None:
            encoded["video"] = self.see(mouths, valid)
        if not encoded:
            raise ValueError(f"avsr: expected sound or mouths for a network of {self.config.streams}, found none")
        for stream, features in encoded.items():
            present = valid if trusted is None else valid & trusted[stream].reshape(len(valid), -1)
            encoded[stream] = features * present[..., None]
        streams = [encoded.get(name, torch.zeros_like(next(iter(encoded.values())))) for name in self._stream_names]
        scores = self._score(streams, valid)
        weighted = [
            x + x * scores[name] if name in scores else x for name, x in zip(self._stream_names, streams, strict=True)
        ]
        x = self.drop(self.join(torch.stack(weighted, dim=1)) + self.stream)
        angles = compute_rotary_angles(x.shape[2], self.config.width // self.config.heads, x.device)
        places = valid[:, None].expand(-1, len(streams), -1)
        for block in self.blocks:
            x = block(x, angles, places)
        return Encoding(x[:, -1], valid, scores)

    def ctc(self, encoding: Encoding) -> Tensor:
        """Compute CTC's log probabilities [b t tokens]."""
        return self.ctc_head(encoding.features).float().log_softmax(dim=-1)

    def forward(
        self,
        wav: Tensor | None,
        mouths: Tensor | None,
        valid: Tensor,
        before: Tensor,
        trusted: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Compute CTC log probabilities [b t tokens], logits [b n tokens] of the tokens after `before` [b n], and the
        reliability scores [b t features] by stream."""
        encoding = self.encode(wav, mouths, valid, trusted)
        return self.ctc(encoding), self.decoder(before, encoding.features, encoding.valid), encoding.scores

    def load_front_ends(self, other: "AVSR") -> None:
        """Load the front-ends of another recogniser of the same sizes, for the streams that both have.

        Raises CheckpointError where they do not fit.
        """
        for name in ("hear", "see"):
            module, source = getattr(self, name, None), getattr(other, name, None)
            if module is None or source is None:
                continue
            try:
                module.load_state_dict(source.state_dict())
            except RuntimeError as error:
                raise CheckpointError(
                    f"front-ends: expected those of a recogniser of the same sizes, found {error}; train one with the "
                    "preset of that size"
                ) from error

    def freeze_front_ends(self) -> None:
        """Freeze the front-ends, running statistics of their norms included."""
        self.frozen = True
        for front_end in self._front_ends:
            front_end.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "AVSR":
        """Set the training mode; frozen front-ends stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for front_end in self._front_ends:
                front_end.eval()
        return self

    @property
    def _front_ends(self) -> list[nn.Module]:
        return [module for name, module in self.named_children() if name in ("hear", "see")]

    def fit_statistics(self, wavs: list[F32]) -> None:
        """Compute the statistics of a pretrained front-end's features over waveforms [n] of the training set."""
        assert isinstance(self.hear, PhoneticFrontEnd)
        self.hear.fit_statistics([torch.from_numpy(wav) for wav in wavs])

    @property
    def _stream_names(self) -> tuple[str, ...]:
        return STREAMS if self.config.streams == "both" else (self.config.streams,)

    def _score(self, streams: list[Tensor], valid: Tensor) -> dict[str, Tensor]:
        if not self.config.has_scores:
            return {}
        both = torch.cat(streams, dim=-1)
        return {name: scorer(both, valid) for name, scorer in self.scorers.items()}


def _normalize_wav(wav: Tensor, valid: Tensor) -> Tensor:
    """Normalise waveforms [b n] to mean 0 and standard deviation 1 over their valid frames; 0 beyond them."""
    mask = valid.repeat_interleave(wav.shape[1] // valid.shape[1], dim=1).to(wav.dtype)
    count = mask.sum(dim=1, keepdim=True).clamp_min(1)
    wav = (wav - (wav * mask).sum(dim=1, keepdim=True) / count) * mask
    return wav / (wav.square().sum(dim=1, keepdim=True) / count).sqrt().clamp_min(1e-4)
