"""What is corrupted is drawn as configured, from a seed alone, and survives as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cals.data.corruption.bursts import (
    Burst,
    Corruption,
    describe_corruption,
    draw_corruption,
    parse_corruption,
)
from cals.data.corruption.config import (
    AUDIO_KINDS,
    KINDS,
    TESTING,
    TRAINING,
    VIDEO_KINDS,
    CorruptionConfig,
    choose_config,
    isolate_kind,
    select_kinds,
)
from cals.errors import ConfigError, DataError


def draw(seed: int, config: CorruptionConfig = TESTING, frames: int = 75) -> Corruption:
    return draw_corruption(np.random.default_rng(seed), frames, config)


def test_bursts_are_as_many_long_and_strong_as_configured() -> None:
    counts, kinds = set(), set()
    for seed in range(200):
        drawn = draw(seed)
        for stream, known in (("video", VIDEO_KINDS), ("audio", AUDIO_KINDS)):
            bursts: tuple[Burst, ...] = getattr(drawn, stream)
            counts.add(len(bursts))
            kinds |= {burst.kind for burst in bursts}
            for burst in bursts:
                assert burst.kind in known
                assert 0.1 * 75 - 1 < burst.end - burst.start <= 0.3 * 75
                low, high = TESTING.get_strengths(burst.kind)
                assert low <= burst.strength <= high
            assert drawn.truth[stream].sum() == sum(burst.end - burst.start for burst in bursts)
            for t, corrupted in enumerate(drawn.truth[stream]):
                assert corrupted == any(burst.start <= t < burst.end for burst in bursts)
    assert counts == {1, 2, 3}
    assert kinds == set(KINDS)
    covered = np.mean([draw(seed).truth["video"] for seed in range(400)], axis=0)
    assert covered[0] > 0  # the first and the last frame too
    assert covered[-1] > 0
    assert np.ptp(covered[10:-10]) < 0.25  # and the middle about evenly


@pytest.mark.parametrize("frames", [1, 2, 5, 1000])
def test_clips_of_any_length_have_room(frames: int) -> None:
    for seed in range(30):
        drawn = draw(seed, frames=frames)
        assert all(truth.any() and len(truth) == frames for truth in drawn.truth.values())


def test_the_same_seed_is_the_same_list_and_streams_do_not_disturb_each_other() -> None:
    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    assert draw(3, replace(TESTING, streams="video")).video == draw(3).video
    alone = draw(3, replace(TESTING, streams="audio"))
    assert alone.audio == draw(3).audio
    assert alone.video == ()


def test_training_leaves_streams_clean_by_themselves() -> None:
    drawn = [draw(seed, TRAINING) for seed in range(400)]
    shown, heard = (np.array([bool(getattr(item, name)) for item in drawn]) for name in ("video", "audio"))
    assert shown.mean() == pytest.approx(0.7, abs=0.07)
    assert (shown & heard).mean() == pytest.approx(0.49, abs=0.08)
    assert (~shown & ~heard).mean() == pytest.approx(0.09, abs=0.05)
    levels = [burst.strength for item in drawn for burst in item.audio if burst.kind == "babble"]
    assert min(levels) < -3
    assert max(levels) > 13


def test_it_survives_as_json() -> None:
    drawn = draw(7)
    assert parse_corruption(json.loads(json.dumps(describe_corruption(drawn)))) == drawn


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"frames": 10, "video": [{"start": 0}], "audio": []},
        {"frames": 10, "video": [], "audio": [{"start": 5, "end": 11, "kind": "pink", "strength": 0, "seed": 0}]},
        {"frames": 10, "video": [{"start": 5, "end": 7, "kind": "pink", "strength": 0, "seed": 0}], "audio": []},
    ],
)
def test_other_documents_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(DataError, match="corruption: expected frames and bursts"):
        parse_corruption(document)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_alone(kind: str) -> None:
    strength = {"patch": 0.3, "noise": 0.2, "blur": 0.05, "dropout": 1.0}.get(kind, 5.0)
    config = isolate_kind(kind, strength)
    for seed in range(10):
        drawn = draw(seed, config)
        assert (drawn.audio if kind in VIDEO_KINDS else drawn.video) == ()
        bursts = drawn.video or drawn.audio
        assert {(burst.kind, burst.strength) for burst in bursts} == {(kind, strength)}


def test_named_kinds_choose_the_streams() -> None:
    assert select_kinds(TESTING, ("blur",)).streams == "video"
    assert select_kinds(TESTING, ("babble", "blur")).streams == "both"
    config = choose_config("both", ("pink",), (3.0,))
    assert (config.streams, config.snr_db, config.audio_kinds) == ("audio", (3.0, 3.0), ("pink",))
    assert choose_config() == TESTING
    with pytest.raises(ConfigError, match="expected one of patch, noise, blur for streams 'video', found babble"):
        choose_config("video", ("babble",))
    with pytest.raises(ConfigError, match="found 'babbel'; did you mean babble?"):
        choose_config("both", ("babbel",))
    with pytest.raises(ConfigError, match="dropout: expected a strength of 1"):
        isolate_kind("dropout", 5.0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"streams": "none"}, "streams: expected audio, video, both"),
        ({"video_kinds": ("pach",)}, "did you mean patch"),
        ({"audio_kinds": ()}, "kinds: expected one or more"),
        ({"probability": 1.5}, "probability: expected 0 to 1"),
        ({"bursts": (0, 2)}, "bursts: expected 1 <= fewest"),
        ({"length": (0.1, 0.4)}, "length: expected shares above 0 of which 3 fit"),
        ({"patch": (0.5, 0.2)}, "patch: expected 0 < low"),
        ({"snr_db": (5.0, -5.0)}, "snr_db: expected -60"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CorruptionConfig(**wrong)  # type: ignore[arg-type]
