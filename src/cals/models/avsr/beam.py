"""Joint CTC/attention decoding by beam search (Watanabe et al., 2017), and forced alignment by CTC.

The search goes token by token. The score of a prefix combines attention decoder, language model and CTC.
CTC's part is the probability of all sequences that begin with the prefix (Graves, 2008, section 7.4), or that of an
ended sentence.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from cals.errors import ConfigError, DataError
from cals.models.avsr.tokens import BLANK

NextLogProbs = Callable[[Tensor], Tensor]
"""Prefixes [k n] that begin with the start of a sentence -> log probabilities [k v] of the next token."""


@dataclass(frozen=True, kw_only=True)
class BeamConfig:
    """Width of the search, and the weights of its scores."""

    beam: int = 40
    """Number of prefixes that are kept of each length."""
    ctc_weight: float = 0.1
    """Weight of CTC, in 0..1; the attention decoder has the rest."""
    language_weight: float = 0.5
    """Weight of the language model, in addition to the others."""
    length_bonus: float = 0.0
    """Bonus per token, which compensates the preference of products of probabilities for short sentences (ours)."""
    max_length_ratio: float = 1.0
    """Largest number of tokens per frame; CTC allows one."""

    def __post_init__(self) -> None:
        weights = (self.language_weight, self.length_bonus, self.max_length_ratio)
        is_valid = self.language_weight >= 0 and self.max_length_ratio > 0 and all(map(math.isfinite, weights))
        if self.beam < 1 or not 0 <= self.ctc_weight <= 1 or not is_valid:
            raise ConfigError(
                f"beam search: expected a beam of 1 or more, ctc_weight in 0..1, language_weight >= 0 and "
                f"max_length_ratio > 0, and finite ones, found {self}"
            )


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A sentence that the search found."""

    tokens: tuple[int, ...]
    """Without start and end."""
    score: float
    parts: dict[str, float]
    """Log probability by source (`attention`, `ctc`, `language`) without weights; only of the sources in use."""


@dataclass(frozen=True, eq=False)
class CtcPrefixes:
    """Log probabilities of the CTC paths of the first j frames that spell each prefix, for every j from 0 to t.

    Paths that end in a token and in a blank are kept apart.
    """

    label: Tensor
    """[k t + 1] Of paths that end in the prefix's last token."""
    blank: Tensor
    """[k t + 1] Of paths that end in a blank."""
    last: Tensor
    """[k] The prefix's last token; BLANK where it is empty."""

    def score(self, log_probs: Tensor) -> Tensor:
        """Compute log probabilities [k v] that a sequence begins with prefix and token; last, that it is the prefix.

        The sum over the frames at which the token can begin is a matrix product. Terms below exp(-700) of a prefix's
        likeliest frame are lost.
        """
        either = torch.logaddexp(self.label, self.blank)
        scores = _log_matmul(either[:, :-1], log_probs)
        # A repeated token needs a blank in between.
        repeated = (self.blank[:, :-1] + log_probs.T[self.last]).logsumexp(dim=1)
        scores.scatter_(1, self.last[:, None], repeated[:, None])
        scores[:, BLANK] = -torch.inf
        scores[:, -1] = either[:, -1]
        return scores

    def extend(self, rows: Tensor, tokens: Tensor, log_probs: Tensor) -> "CtcPrefixes":
        """Extend the prefixes `rows` [n] by one of `tokens` [n] each."""
        label, blank = self.label[rows], self.blank[rows]
        before = torch.where((self.last[rows] == tokens)[:, None], blank, torch.logaddexp(label, blank))
        emitted = log_probs.T[tokens]
        labels = [torch.full_like(before[:, 0], -torch.inf)]
        blanks = [labels[0]]
        for frame in range(len(log_probs)):
            blanks.append(torch.logaddexp(labels[-1], blanks[-1]) + log_probs[frame, BLANK])
            labels.append(torch.logaddexp(labels[-1], before[:, frame]) + emitted[:, frame])
        return CtcPrefixes(torch.stack(labels, dim=1), torch.stack(blanks, dim=1), tokens)


def start_prefixes(log_probs: Tensor) -> CtcPrefixes:
    """Build the empty prefix under CTC's log probabilities [t v]: all blanks."""
    blank = torch.cat([log_probs.new_zeros(1), log_probs[:, BLANK].cumsum(0)])[None]
    return CtcPrefixes(torch.full_like(blank, -torch.inf), blank, torch.full((1,), BLANK))


def search_beam(
    ctc_log_probs: Tensor,
    next_log_probs: NextLogProbs | None,
    config: BeamConfig,
    language: NextLogProbs | None = None,
) -> list[Hypothesis]:
    """Find the sentences with the best joint score of CTC, decoder and language model: at most `beam`, best first.

    `ctc_log_probs` [t v] has the blank first and the end of the sentence last, as `Tokens` has. Decoder and language
    model get prefixes on its device. With `ctc_weight` 1 the decoder is not used and may be None; with 0 only the
    number of frames of CTC is used. The search stops when no prefix can overtake the first hypothesis any more. Later
    hypotheses are the best that had ended by then. Empty where every sentence is impossible.
    """
    if next_log_probs is None and config.ctc_weight < 1:
        raise ConfigError(
            f"beam search: expected a decoder for ctc_weight {config.ctc_weight}, found none; give one, or ctc_weight 1"
        )
    if ctc_log_probs.dim() != 2 or not len(ctc_log_probs):
        raise DataError(
            f"beam search: expected log probabilities [t v] of a frame or more, found {list(ctc_log_probs.shape)}; "
            "give those of one recording"
        )
    log_probs, device = ctc_log_probs.detach().cpu().double(), ctc_log_probs.device
    frames, size = log_probs.shape
    weights = {"attention": 1 - config.ctc_weight, "ctc": config.ctc_weight, "language": config.language_weight}
    sources = {"attention": next_log_probs, "language": language}
    active = {name: source for name, source in sources.items() if source is not None and weights[name]}
    parts = {name: torch.zeros(1, dtype=torch.float64) for name in active}
    tokens, prefixes = torch.tensor([[size - 1]]), start_prefixes(log_probs)
    hypotheses: list[Hypothesis] = []
    longest = max(1, round(config.max_length_ratio * frames))
    for length in range(longest + 1):
        extended = {
            name: parts[name][:, None] + source(tokens.to(device)).detach().cpu().double()
            for name, source in active.items()
        }
        if config.ctc_weight:
            extended["ctc"] = prefixes.score(log_probs)
        total = torch.stack([weights[name] * scores for name, scores in extended.items()]).sum(dim=0)
        total += config.length_bonus * length
        hypotheses = sorted(
            [*hypotheses, *_end_prefixes(tokens, total, extended)], key=lambda one: one.score, reverse=True
        )[: config.beam]
        continued = total[:, :-1] + config.length_bonus
        continued[:, BLANK] = -torch.inf
        best, index = continued.flatten().topk(min(config.beam, continued.numel()))
        bound = float(best[0]) + max(config.length_bonus, 0) * (longest - length - 1)
        if length == longest or bound == -math.inf or (hypotheses and bound <= hypotheses[0].score):
            break
        index = index[best > -torch.inf]
        rows, next_tokens = index // (size - 1), index % (size - 1)
        tokens = torch.cat([tokens[rows], next_tokens[:, None]], dim=1)
        parts = {name: extended[name][rows, next_tokens] for name in active}
        if config.ctc_weight:
            prefixes = prefixes.extend(rows, next_tokens, log_probs)
    return hypotheses


def _end_prefixes(tokens: Tensor, total: Tensor, extended: dict[str, Tensor]) -> list[Hypothesis]:
    """Build hypotheses of the prefixes [k n] as whole sentences, where these are possible."""
    parts = {name: scores[:, -1].tolist() for name, scores in extended.items()}
    return [
        Hypothesis(tokens=tuple(line[1:]), score=score, parts={name: parts[name][row] for name in parts})
        for row, (line, score) in enumerate(zip(tokens.tolist(), total[:, -1].tolist(), strict=True))
        if score > -math.inf
    ]


def align_ctc(log_probs: Tensor, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Find the frames of each token, as start and excluded end, on the likeliest CTC path [t v] that spells them.

    Frames of blanks between tokens belong to no token; CTC gives a token few frames. Raises DataError where no path of
    that many frames can spell the tokens.
    """
    if not tokens:
        return []
    states = torch.tensor([BLANK, *(state for token in tokens for state in (token, BLANK))])
    emitted = log_probs.detach().cpu().double()[:, states]
    skips = torch.full(states.shape, -torch.inf, dtype=torch.float64)  # skips the blank between two different tokens
    skips[3::2] = torch.where(states[3::2] == states[1:-2:2], -torch.inf, 0.0)
    score = torch.full_like(skips, -torch.inf)
    score[0] = 0
    steps = []
    for frame in emitted:
        advance = score.roll(1)
        advance[0] = -torch.inf
        score, step = torch.stack([score, advance, score.roll(2) + skips]).max(dim=0)
        score = score + frame
        steps.append(step.tolist())
    last = len(states) - 1 - int(score[-1] < score[-2])
    if score[last] == -torch.inf:
        repeats = sum(one == other for one, other in pairwise(tokens))
        raise DataError(
            f"align: expected {len(tokens) + repeats} frames or more in which {len(tokens)} tokens are possible, found "
            f"{len(emitted)}; give the tokens of this recording"
        )
    path = [last]
    for step in reversed(steps[1:]):
        path.append(path[-1] - step[path[-1]])
    frames: dict[int, list[int]] = {}
    for number, state in enumerate(reversed(path)):
        frames.setdefault(state, []).append(number)
    return [(frames[state][0], frames[state][-1] + 1) for state in range(1, len(states), 2)]


def _log_matmul(left: Tensor, right: Tensor) -> Tensor:
    """Compute log(exp(left) @ exp(right)) of [k t] and [t v]."""
    peak = left.amax(dim=1, keepdim=True)
    peak = torch.where(peak > -torch.inf, peak, 0.0)
    return ((left - peak).exp() @ right.exp()).log() + peak
