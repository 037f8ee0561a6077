"""Joint CTC/attention decoding by beam search (Watanabe et al., 2017), and forced alignment by CTC.

The search goes token by token. A prefix is scored by what the attention decoder and a language model say of its tokens
and by the CTC probability of all sequences that begin with it (Graves, 2008, section 7.4), an ended one by its own.
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
"""Prefixes [k n] that begin with the start of a sentence -> log probabilities [k v] of what follows each."""


@dataclass(frozen=True, kw_only=True)
class BeamConfig:
    """How wide the search is, and what counts how much."""

    beam: int = 40
    """Prefixes that are kept of each length."""
    ctc_weight: float = 0.1
    """Of CTC, in 0..1; the attention decoder has the rest."""
    language_weight: float = 0.5
    """Of the language model, which comes on top."""
    length_bonus: float = 0.0
    """Added for each token: against the shortness of sentences whose probabilities are multiplied (ours)."""
    max_length_ratio: float = 1.0
    """Tokens for a frame at most; CTC allows for one at most."""

    def __post_init__(self) -> None:
        if self.beam < 1 or not 0 <= self.ctc_weight <= 1 or self.language_weight < 0 or self.max_length_ratio <= 0:
            raise ConfigError(
                f"beam search: expected a beam of 1 or more, ctc_weight in 0..1, language_weight >= 0 and "
                f"max_length_ratio > 0, found {self}"
            )


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A sentence that was found."""

    tokens: tuple[int, ...]
    """Without start and end."""
    score: float
    parts: dict[str, float]
    """Log probability by source (`attention`, `ctc`, `language`), before weights; only of those that were asked."""


@dataclass(frozen=True, eq=False)
class CtcPrefixes:
    """Log probabilities of the CTC paths of the first j frames that spell each prefix, for every j from 0 to t.

    Both ways a path can end are kept apart.
    """

    label: Tensor
    """[k t + 1] Of those that end in the prefix's last token."""
    blank: Tensor
    """[k t + 1] Of those that end in a blank."""
    last: Tensor
    """[k] The prefix's last token; BLANK where it is empty."""

    def score(self, log_probs: Tensor) -> Tensor:
        """Give log probabilities [k v] that a sequence begins with prefix and token; last, that it is the prefix.

        The sum over the frames at which the token can begin is a matrix product; it loses what is below exp(-700) of a
        prefix's likeliest frame.
        """
        either = torch.logaddexp(self.label, self.blank)
        scores = _log_product(either[:, :-1], log_probs)
        # A token again is another one only where a blank has come between.
        again = (self.blank[:, :-1] + log_probs.T[self.last]).logsumexp(dim=1)
        scores.scatter_(1, self.last[:, None], again[:, None])
        scores[:, BLANK] = -torch.inf
        scores[:, -1] = either[:, -1]
        return scores

    def extend(self, rows: Tensor, tokens: Tensor, log_probs: Tensor) -> "CtcPrefixes":
        """Give those of the prefixes `rows` [n], each followed by one of `tokens` [n]."""
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
    """Give the empty prefix under CTC's log probabilities [t v]: all blanks."""
    blank = torch.cat([log_probs.new_zeros(1), log_probs[:, BLANK].cumsum(0)])[None]
    return CtcPrefixes(torch.full_like(blank, -torch.inf), blank, torch.full((1,), BLANK))


def search_beam(
    ctc_log_probs: Tensor,
    next_log_probs: NextLogProbs | None,
    config: BeamConfig,
    language: NextLogProbs | None = None,
) -> list[Hypothesis]:
    """Find the sentences that CTC, decoder and language model like best together: at most `beam`, best first.

    `ctc_log_probs` [t v] has the blank first and the end of the sentence last, as `Tokens` has; prefixes are on its
    device when the others are asked. With `ctc_weight` 1 the decoder is not asked and may be None, with 0 only the
    number of frames counts of CTC. The search stops when no prefix can overtake the first hypothesis any more; those
    that follow it are the best that had ended by then. Empty where every sentence is impossible.
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
    asked = {name: source for name, source in sources.items() if source is not None and weights[name]}
    parts = {name: torch.zeros(1, dtype=torch.float64) for name in asked}
    tokens, prefixes = torch.tensor([[size - 1]]), start_prefixes(log_probs)
    found: list[Hypothesis] = []
    longest = max(1, round(config.max_length_ratio * frames))
    for length in range(longest + 1):
        after = {
            name: parts[name][:, None] + source(tokens.to(device)).detach().cpu().double()
            for name, source in asked.items()
        }
        if config.ctc_weight:
            after["ctc"] = prefixes.score(log_probs)
        total = torch.stack([weights[name] * scores for name, scores in after.items()]).sum(dim=0)
        total += config.length_bonus * length
        found = sorted([*found, *_ended(tokens, total, after)], key=lambda one: one.score, reverse=True)[: config.beam]
        further = total[:, :-1] + config.length_bonus
        further[:, BLANK] = -torch.inf
        best, place = further.flatten().topk(min(config.beam, further.numel()))
        reach = float(best[0]) + max(config.length_bonus, 0) * (longest - length - 1)
        if length == longest or reach == -math.inf or (found and reach <= found[0].score):
            break
        place = place[best > -torch.inf]
        rows, chosen = place // (size - 1), place % (size - 1)
        tokens = torch.cat([tokens[rows], chosen[:, None]], dim=1)
        parts = {name: after[name][rows, chosen] for name in asked}
        if config.ctc_weight:
            prefixes = prefixes.extend(rows, chosen, log_probs)
    return found


def _ended(tokens: Tensor, total: Tensor, after: dict[str, Tensor]) -> list[Hypothesis]:
    """The prefixes [k n] as whole sentences, where these are possible."""
    parts = {name: scores[:, -1].tolist() for name, scores in after.items()}
    return [
        Hypothesis(tokens=tuple(line[1:]), score=score, parts={name: parts[name][row] for name in parts})
        for row, (line, score) in enumerate(zip(tokens.tolist(), total[:, -1].tolist(), strict=True))
        if score > -math.inf
    ]


def align_ctc(log_probs: Tensor, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Find the frames of each token, start and end (not included), on the likeliest CTC path [t v] that spells them.

    The frames of blanks between tokens belong to none; CTC gives a token few frames. Raises DataError where no path of
    so many frames can spell them.
    """
    if not tokens:
        return []
    states = torch.tensor([BLANK, *(state for token in tokens for state in (token, BLANK))])
    emitted = log_probs.detach().cpu().double()[:, states]
    leaps = torch.full(states.shape, -torch.inf, dtype=torch.float64)  # over the blank between two different tokens
    leaps[3::2] = torch.where(states[3::2] == states[1:-2:2], -torch.inf, 0.0)
    score = torch.full_like(leaps, -torch.inf)
    score[0] = 0
    steps = []
    for frame in emitted:
        walk = score.roll(1)
        walk[0] = -torch.inf
        score, step = torch.stack([score, walk, score.roll(2) + leaps]).max(dim=0)
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


def _log_product(left: Tensor, right: Tensor) -> Tensor:
    """log(exp(left) @ exp(right)) of [k t] and [t v]."""
    peak = left.amax(dim=1, keepdim=True)
    peak = torch.where(peak > -torch.inf, peak, 0.0)
    return ((left - peak).exp() @ right.exp()).log() + peak
