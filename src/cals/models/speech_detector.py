"""Silero VAD, a small network that tells speech from everything else (Silero Team, 2024), run a block at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from cals.checkpoint import RESAVE_HINT, Checkpoint, config_from_dict
from cals.errors import CheckpointError
from cals.types import F32

KIND = "speech-detector"
State = tuple[Tensor, Tensor]
"""Hidden and cell state [1 width] of the LSTM."""


@dataclass(frozen=True, kw_only=True)
class SpeechDetectorConfig:
    """Sizes of the published network for 16 kHz."""

    sample_rate_hz: int = 16_000
    window: int = 512
    """Samples of a probability, 32 ms."""
    context: int = 64
    """Samples before the window that it is seen with."""
    fft: int = 256
    hop: int = 128
    width: int = 128


class SpeechDetector(nn.Module):
    """Sound to the probability of speech in each window; never trained here."""

    def __init__(self, config: SpeechDetectorConfig) -> None:
        super().__init__()
        self.config = config
        bins, width = config.fft // 2 + 1, config.width
        self.spectrum = nn.Conv1d(1, 2 * bins, config.fft, config.hop, bias=False)
        self.encoder = nn.ModuleList(
            [
                nn.Conv1d(bins, width, 3, padding=1),
                nn.Conv1d(width, width // 2, 3, stride=2, padding=1),
                nn.Conv1d(width // 2, width // 2, 3, stride=2, padding=1),
                nn.Conv1d(width // 2, width, 3, padding=1),
            ]
        )
        self.memory = nn.LSTM(width, width)
        self.output = nn.Linear(width, 1)

    def forward(self, samples: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Compute probabilities [t] of samples [context + t window] and the state for the samples that follow.

        The next samples begin with the last `context` of these; before a sound there are zeros.
        """
        config = self.config
        windows = samples.unfold(0, config.context + config.window, config.window)  # [t context+window]
        parts = self.spectrum(pad(windows[:, None], (0, config.fft // 4), mode="reflect"))
        real, imaginary = parts.chunk(2, dim=1)
        x = (real.square() + imaginary.square()).sqrt()
        for layer in self.encoder:
            x = layer(x).relu()
        hidden, state = self.memory(x.squeeze(-1), state)
        return self.output(hidden.relu()).squeeze(-1).sigmoid(), state

    @torch.inference_mode()
    def detect(self, samples: F32, state: State | None) -> tuple[F32, State]:
        """Compute the probabilities as `forward` does, in NumPy and without gradients."""
        probabilities, state = self(torch.from_numpy(samples), state)
        return probabilities.numpy(), state


def build_speech_detector(checkpoint: Checkpoint) -> SpeechDetector:
    """Build the detector of a checkpoint, in evaluation mode; CheckpointError where it does not fit."""
    if checkpoint.kind != KIND:
        raise CheckpointError(f"speech: expected a {KIND!r} checkpoint, found a {checkpoint.kind!r} one; {RESAVE_HINT}")
    detector = SpeechDetector(config_from_dict(SpeechDetectorConfig, checkpoint.config))
    expected = {name: value.shape for name, value in detector.state_dict().items()}
    found = {name: value.shape for name, value in checkpoint.weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        raise CheckpointError(
            f"speech: expected the weights of the detector, found others in {', '.join(wrong)}; {RESAVE_HINT}"
        )
    detector.load_state_dict(checkpoint.weights)
    return detector.eval()
