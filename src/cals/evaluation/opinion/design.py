"""Order of trials for each rater: a Latin square over clips and raters, with practice first and catch trials between.

A rater sees every clip by every method, one video at a time, in as many blocks as there are methods. A block has every
clip once, so that the versions of a clip lie far apart; which version comes in which block is a row of the square.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cals.errors import ConfigError
from cals.evaluation.opinion.study import Plan, Stimulus
from cals.evaluation.outputs import REAL


@dataclass(frozen=True, kw_only=True)
class DesignConfig:
    """Size of a study."""

    clips: int | None = None
    """Maximum number of clips, evenly spaced; None for all."""
    catch: int = 2
    """Pairs of catch trials: a real video, and one with the sound of another clip."""
    practice: int = 3
    """Trials at the start that do not count."""
    raters: int = 120
    """Number of orders; further raters start again with the first one."""

    def __post_init__(self) -> None:
        for name, least in (("catch", 0), ("practice", 0), ("raters", 1), ("clips", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}: expected {least} or more, found {value}")


def build_latin_square(size: int) -> list[list[int]]:
    """Build rows in which every number has every place and follows every other number equally often.

    A Williams design (1949): `size` rows, twice as many where `size` is odd.
    """
    zigzag = [(column + 1) // 2 if column % 2 else (size - column // 2) % size for column in range(size)]
    rows = [[(number + shift) % size for number in zigzag] for shift in range(size)]
    return rows + [row[::-1] for row in rows] if size % 2 and size > 1 else rows


def draw_stimuli(
    methods: Sequence[str], clips: Sequence[str], spare: Sequence[str], config: DesignConfig, seed: int
) -> list[Stimulus]:
    """Draw every clip by every method, then practice and catch trials, of `spare` clips first."""
    rng = np.random.default_rng([seed, 0])
    pool = [str(name) for names in (spare, clips) for name in rng.permutation(list(names))]
    _check_catches(config, methods, pool)
    order = [str(name) for name in rng.permutation(list(methods))]
    stimuli = [Stimulus(role="trial", method=m, clip=c, sound=c) for c in clips for m in methods]
    for number in range(config.practice):
        turn, index = divmod(number, len(pool))
        method = order[(turn + index) % len(order)]
        stimuli.append(Stimulus(role="practice", method=method, clip=pool[index], sound=pool[index]))
    for number in range(config.catch):
        clip = pool[(config.practice + number) % len(pool)]
        other = str(rng.choice([name for name in pool if name != clip]))
        stimuli += [Stimulus(role="catch", method=REAL, clip=clip, sound=sound) for sound in (clip, other)]
    return stimuli


def _check_catches(config: DesignConfig, methods: Sequence[str], pool: Sequence[str]) -> None:
    if config.practice > len(pool) * len(methods):
        raise ConfigError(
            f"practice: expected at most {len(pool) * len(methods)} trials, a video each, found {config.practice}; use "
            f"--practice {len(pool) * len(methods)}"
        )
    if config.catch and REAL not in methods:
        raise ConfigError(
            f"catch: expected a method called {REAL}, the clips themselves, of which catch trials are made, found "
            f"{', '.join(methods)}; add {REAL}=FOLDER, or use --catch 0"
        )
    if config.catch and (len(pool) < 2 or config.catch > len(pool)):
        raise ConfigError(
            f"catch: expected at most as many as clips, and 2 clips at least, found {config.catch} and {len(pool)}; "
            "use --catch 0, or give more clips"
        )


def draw_plans(stimuli: Sequence[Stimulus], methods: Sequence[str], raters: int, seed: int) -> list[Plan]:
    """Draw the plan of each rater: every stimulus once."""
    square = build_latin_square(len(methods))
    return [_draw_plan(stimuli, methods, square, number, seed) for number in range(raters)]


def _draw_plan(
    stimuli: Sequence[Stimulus], methods: Sequence[str], square: list[list[int]], rater: int, seed: int
) -> Plan:
    rng = np.random.default_rng([seed, 1, rater])
    numbers = {(one.clip, one.method): i for i, one in enumerate(stimuli) if one.role == "trial"}
    clips = list(dict.fromkeys(clip for clip, _ in numbers))
    plan: Plan = []
    for block in range(len(methods)):
        order = rng.permutation(len(clips))
        if plan and len(clips) > 1 and stimuli[plan[-1]].clip == clips[order[0]]:
            order[[0, -1]] = order[[-1, 0]]
        rows = (square[(rater + clip) % len(square)] for clip in order)
        plan += [numbers[clips[clip], methods[row[block]]] for clip, row in zip(order, rows, strict=True)]
    _insert_catches(plan, stimuli, rng)
    practice = [i for i, one in enumerate(stimuli) if one.role == "practice"]
    return [*(int(i) for i in rng.permutation(practice)), *plan]


def _insert_catches(plan: Plan, stimuli: Sequence[Stimulus], rng: np.random.Generator) -> None:
    """Insert the catch trials in place, one in each equal section of the plan, away from their own clip if possible."""
    catches = rng.permutation([i for i, one in enumerate(stimuli) if one.role == "catch"])
    ends = np.linspace(1, len(plan), len(catches) + 1).astype(int)
    for number in reversed(range(len(catches))):
        catch = int(catches[number])
        positions = list(range(ends[number], max(ends[number + 1], ends[number] + 1)))
        separate = [
            position
            for position in positions
            if all(stimuli[near].clip != stimuli[catch].clip for near in plan[position - 1 : position + 1])
        ]
        plan.insert(int(rng.choice(separate or positions)), catch)
