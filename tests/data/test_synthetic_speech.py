"""What is spoken, how it sounds, how lips follow: against closed forms, and what is known by construction."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from cals.data.synthetic.flite import parse_phones
from cals.data.synthetic.grammar import PhoneChain, PhoneSequence, build_chain, draw_lexicon, speak, speak_words
from cals.data.synthetic.mouth import Dominance, compute_frame_times, compute_mouth
from cals.data.synthetic.oracle import compute_oracle_curve, find_window
from cals.data.synthetic.phones import CONSONANTS, PAUSE, PHONES, VOWELS
from cals.data.synthetic.sound import SAMPLE_RATE_HZ, Voice, synthesize
from cals.errors import ConfigError, DataError
from cals.features.mel import MelConfig, compute_log_mel

pytestmark = pytest.mark.slow


def build_speech(*phones: str, each_s: float = 0.1) -> PhoneSequence:
    return PhoneSequence(phones, np.arange(len(phones) + 1) * each_s, np.full(len(phones), -1))


@pytest.mark.parametrize("order", ["english", "random"])
def test_speech_fills_its_time_and_repeats_nothing(order: str) -> None:
    chain = build_chain(order)  # type: ignore[arg-type]
    spoken = speak(chain, 4.0, np.random.default_rng(0))
    assert (spoken.edges_s[0], spoken.edges_s[-1]) == (0.0, 4.0)
    assert (np.diff(spoken.edges_s) > 0).all()
    assert spoken.phones[0] == spoken.phones[-1] == PAUSE
    assert all(a != b for a, b in zip(spoken.phones, spoken.phones[1:], strict=False))
    assert spoken.phones == tuple(chain.phones[i] for i in spoken.places)
    again = speak(chain, 4.0, np.random.default_rng(0))
    assert again.phones == spoken.phones
    assert np.array_equal(again.edges_s, spoken.edges_s)


def test_english_has_its_phonotactics_and_random_has_none() -> None:
    def pairs(order: str) -> set[tuple[str, str]]:
        spoken = speak(build_chain(order), 400.0, np.random.default_rng(1))  # type: ignore[arg-type]
        return set(zip(spoken.phones, spoken.phones[1:], strict=False))

    english, uniform = pairs("english"), pairs("random")
    assert (PAUSE, "NG") in uniform
    assert not english & {(PAUSE, "NG"), ("HH", "T"), ("HH", PAUSE), (PAUSE, "ZH"), ("W", "K")}
    assert {("S", "T"), ("T", "R"), ("N", "D"), ("HH", "AH")} <= english


def test_words_cover_all_but_pauses() -> None:
    spoken = speak(build_chain("english"), 8.0, np.random.default_rng(2))
    phones = [phone for *_, text in spoken.words for phone in text.split("-")]
    assert phones == [phone for phone in spoken.phones if phone != PAUSE]
    assert all(0 < start < end < 8 for start, end, _ in spoken.words)
    assert np.mean([any(p in VOWELS for p in text.split("-")) for *_, text in spoken.words]) > 0.8


def test_a_lexicon_is_spoken_in_any_order() -> None:
    chain = build_chain("english")
    lexicon = draw_lexicon(chain, 40, np.random.default_rng(0))
    texts = {"".join(chain.phones[state] for state in word) for word in lexicon}
    assert len(texts) == 40
    assert min(map(len, lexicon)) > 1
    spoken = [speak_words(chain, lexicon, 6.0, np.random.default_rng(seed)) for seed in range(60)]
    for one in spoken:
        assert one.edges_s[-1] == 6.0
        assert [text for *_, text in one.words] == ["".join(part) for part in split_words(one)]
    followers = Counter(pair for one in spoken for pair in pairwise(text for *_, text in one.words))
    assert {text for one in spoken for *_, text in one.words} == texts
    assert max(followers.values()) <= 6  # of some 700 pairs among 1600 possible ones


def split_words(spoken: PhoneSequence) -> list[list[str]]:
    """The phones between the edges of each word."""
    return [
        [
            phone
            for phone, start, end in zip(spoken.phones, spoken.edges_s[:-1], spoken.edges_s[1:], strict=True)
            if first - 1e-3 <= start and end <= last + 1e-3
        ]
        for first, last, _ in spoken.words
    ]


def test_backwards_speech_has_the_same_shares_and_pairs() -> None:
    chain = build_chain("english")
    shares = chain.compute_shares()
    np.testing.assert_allclose(shares @ chain.odds, shares, atol=1e-12)
    back = chain.reverse()
    np.testing.assert_allclose(back.odds.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(shares[:, None] * back.odds, (shares[:, None] * chain.odds).T, atol=1e-12)


def test_successors_come_as_often_as_the_odds_say() -> None:
    odds = np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    chain = PhoneChain((("AA", "a"), ("B", "b"), ("IY", "c")), odds)
    for row in range(3):
        drawn = chain.sample_next(np.full(20_000, row), np.random.default_rng(row))
        np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20_000, odds[row], atol=0.015)


def test_without_reach_the_mouth_is_the_phones_own() -> None:
    spoken = speak(build_chain("english"), 3.0, np.random.default_rng(3))
    times = compute_frame_times(75)
    which = np.searchsorted(spoken.edges_s, times, side="right") - 1
    target = np.array([PHONES[spoken.phones[i]].target for i in which])
    np.testing.assert_allclose(compute_mouth(spoken, times, Dominance.from_reach(0.0)), target, atol=1e-9)


def test_dominance_by_hand() -> None:
    # AA from 0 to 0.1 s, IY from 0.1 to 0.2 s; at 0.05 s IY is 0.05 s ahead. Reach 0.08 s, full to 0.04 s: a quarter
    # of the way down the cosine.
    aa, iy = PHONES["AA"], PHONES["IY"]
    weight = 0.5 + 0.5 * np.cos(np.pi * 0.25)
    found = compute_mouth(build_speech("AA", "IY"), np.array([0.05]), Dominance.from_reach(0.08))[0]
    pull = weight * iy.strength.width
    target = (aa.strength.width * aa.target.width + pull * iy.target.width) / (aa.strength.width + pull)
    assert found[1] == pytest.approx(target, abs=1e-9)


@pytest.mark.parametrize(("before_s", "after_s"), [(0.2, 0.2), (0.1, 0.3)])
def test_nothing_beyond_the_reach_matters_and_what_is_within_does(before_s: float, after_s: float) -> None:
    dominance = Dominance(before_s=before_s, after_s=after_s)
    assert dominance.support_s == pytest.approx(0.4)
    now = np.array([1.0])
    for sign, reach in ((1, before_s), (-1, after_s)):
        for shift, changes in ((0.02, False), (-0.06, True)):
            edge = 1.0 + sign * (reach + shift)
            edges = np.array([0.0, min(edge, 0.95), max(edge, 1.05), 2.0])
            first, last = ("AA", "UW"), ("IY", "AA")
            one, other = (("IY", "AH", end) for end in first) if sign > 0 else ((end, "AH", "IY") for end in last)
            mouths = [compute_mouth(PhoneSequence(p, edges, np.zeros(3, int)), now, dominance) for p in (one, other)]
            assert bool(np.abs(mouths[0] - mouths[1]).max() > 1e-4) is changes, (sign, shift)


def test_lips_close_for_bilabials_and_round_for_uw() -> None:
    dominance = Dominance.from_reach(0.2)
    closed = compute_mouth(build_speech("AA", "M", "AA"), np.array([0.15]), dominance)[0]
    opened = compute_mouth(build_speech("AA", "N", "AA"), np.array([0.15]), dominance)[0]
    assert closed[0] < 0.5 * opened[0]
    rounded = compute_mouth(build_speech("T", "UW"), np.array([0.05]), dominance)[0]  # UW is heard only 0.05 s later
    spread = compute_mouth(build_speech("T", "IY"), np.array([0.05]), dominance)[0]
    assert rounded[2] > 0.4
    assert rounded[1] < 0 < spread[1]


def test_every_moment_of_sound_tells_its_phone() -> None:
    """Single mel frames of new voices, by the nearest mean in the training voices' covariance."""
    chain, mel = build_chain("random"), MelConfig()

    def sample_frames(seeds: range) -> tuple[np.ndarray, np.ndarray]:
        frames, names = [], []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            spoken = speak(chain, 4.0, rng)
            voice = Voice(pitch_hz=rng.uniform(90, 240), tract=rng.uniform(0.93, 1.07))
            sound = compute_log_mel(torch.from_numpy(synthesize(spoken, voice, rng))[None], mel)[0].numpy()
            times = (np.arange(len(sound)) + 0.5) / 100
            which = np.searchsorted(spoken.edges_s, times, side="right") - 1
            inside = np.minimum(times - spoken.edges_s[which], spoken.edges_s[which + 1] - times) > 0.012
            frames.append(sound[inside])
            names += [spoken.phones[i] for i in which[inside]]
        return np.concatenate(frames), np.array(names)

    (known, labels), (new, target) = sample_frames(range(24)), sample_frames(range(100, 106))
    phones = sorted(set(labels))
    means = np.stack([known[labels == phone].mean(axis=0) for phone in phones])
    spread = known - means[[phones.index(label) for label in labels]]
    precision = np.linalg.inv(np.cov(spread.T) + 2 * np.eye(80))
    scores = new @ precision @ means.T - 0.5 * np.einsum("kp,pq,kq->k", means, precision, means)
    right = np.array(phones)[scores.argmax(axis=1)] == target
    assert right.mean() > 0.85  # chance is 0.03
    assert min(right[target == phone].mean() for phone in phones) > 0.4


def test_sound_has_the_pitch_and_the_formants_it_is_told() -> None:
    def spectrum(voice: Voice) -> np.ndarray:
        sound = synthesize(build_speech("IY", each_s=1.0), voice, np.random.default_rng(0))
        assert len(sound) == SAMPLE_RATE_HZ
        return np.abs(np.fft.rfft(sound[4000:12_000] * np.hanning(8000)))  # 2 Hz a bin

    plain, short = spectrum(Voice()), spectrum(Voice(tract=0.85))
    second = [1600 + 2 * int(np.convolve(s, np.ones(100), mode="same")[800:1500].argmax()) for s in (plain, short)]
    assert second[0] == pytest.approx(2290, abs=130)
    assert second[1] == pytest.approx(2290 / 0.85, abs=150)
    low, high = ((spectrum(Voice(pitch_hz=hz))[30:150]).argmax() * 2 + 60 for hz in (100, 200))
    assert abs(low / 100 - round(low / 100)) < 0.2
    assert abs(high / 200 - round(high / 200)) < 0.2


def test_oracle_against_two_phones_by_hand() -> None:
    # Two phones in turn: whoever hears one knows them all, so only their lengths are unknown; the name alone says
    # everything when nothing reaches over.
    odds = np.array([[0.0, 1.0], [1.0, 0.0]])
    chain = PhoneChain(((PAUSE, "a"), ("AA", "b")), odds)
    none = compute_oracle_curve(chain, Dominance.from_reach(0.0), (0, 1), moments=50, completions=4)
    np.testing.assert_array_equal(none.mean, 1.0)
    some = compute_oracle_curve(chain, Dominance.from_reach(0.12), (0, 1, 2, 3), moments=300, completions=16)
    assert 0.3 < some.mean[0] < 0.999
    assert some.mean[3] == 1.0  # 3.5 frames are 0.14 s


@pytest.mark.parametrize("order", ["english", "random"])
def test_oracle_rises_to_one_where_the_reach_ends(order: str) -> None:
    curve = compute_oracle_curve(
        build_chain(order), Dominance.from_reach(0.3), tuple(range(10)), moments=300, completions=16
    )  # type: ignore[arg-type]
    assert (np.diff(curve.mean) > -0.03).all()
    assert curve.mean[7:].min() == 1.0  # 7.5 frames are 0.3 s
    assert curve.mean[6] < 1
    assert curve.mean[0] < 0.6
    assert 0.25 < curve.window_s() < 0.6


def test_who_is_deaf_at_the_edges_knows_less() -> None:
    chain, dominance = build_chain("english"), Dominance.from_reach(0.3)
    sharp, deaf = (
        compute_oracle_curve(chain, dominance, (3,), moments=500, completions=16, deaf_s=s) for s in (0.0, 0.019)
    )
    assert deaf.mean[0] < sharp.mean[0] - 0.02


def test_oracle_agrees_with_counting() -> None:
    """With long phones and k = 0 only the middle phone is known: the best guess is the mean over all such moments."""
    chain, dominance = build_chain("random"), Dominance.from_reach(0.1)
    curve = compute_oracle_curve(chain, dominance, (0,), moments=1500, completions=32)
    spoken = speak(chain, 3000.0, np.random.default_rng(9))
    times = np.random.default_rng(10).uniform(1, 2999, 6000)
    mouth = np.concatenate(
        [compute_mouth(_near(spoken, part), part, dominance) for part in np.split(np.sort(times), 100)]
    )
    which = np.searchsorted(spoken.edges_s, np.sort(times), side="right") - 1
    clear = np.minimum(np.sort(times) - spoken.edges_s[which], spoken.edges_s[which + 1] - np.sort(times)) > 0.02
    error = []
    for phone in PHONES:
        same = mouth[clear & (np.array(spoken.phones)[which] == phone)]
        error.append(((same - same.mean(axis=0)) ** 2).sum(axis=0) * len(same) / (len(same) - 1))
    counted = 1 - np.sum(error, axis=0) / clear.sum() / mouth.var(axis=0)
    # Where a border lies within the window more is known than the middle phone's name, so the oracle is no worse.
    assert -0.03 < curve.mean[0] - counted.mean() < 0.2


def _near(spoken: PhoneSequence, times: np.ndarray) -> PhoneSequence:
    low = int(np.searchsorted(spoken.edges_s, times[0] - 1)) - 1
    high = int(np.searchsorted(spoken.edges_s, times[-1] + 1)) + 1
    low = max(low, 0)
    return PhoneSequence(spoken.phones[low:high], spoken.edges_s[low : high + 1], spoken.places[low:high])


def test_window_is_read_between_the_points() -> None:
    assert find_window(np.array([0.04, 0.12, 0.2]), np.array([0.5, 0.9, 1.0]), 0.95) == pytest.approx(0.16)
    steps = np.array([0.04, 0.12, 0.2]), np.array([0.5, 0.9, 1.0])
    assert find_window(*steps, 0.9, gain=True) == pytest.approx(0.16)  # 0.5 + 0.9 * 0.5
    assert find_window(np.array([0.04, 0.12]), np.array([1.0, 1.0]), 0.95) == pytest.approx(0.038)


def test_flites_own_words_are_read() -> None:
    spoken = parse_phones("pau:0.195 p:0.280 ax:0.342 pau:0.500 ", 1.0)
    assert spoken.phones == (PAUSE, "P", "AH", PAUSE, PAUSE)
    np.testing.assert_allclose(spoken.edges_s, [0, 0.195, 0.28, 0.342, 0.5, 1.0])
    assert parse_phones("pau:0.2 p:0.9", 0.5).edges_s[-1] == 0.5
    for wrong in ("pau", "xyz:0.3"):
        with pytest.raises(DataError, match="--voice formant"):
            parse_phones(wrong, 1.0)


def test_wrong_values_are_named() -> None:
    with pytest.raises(ConfigError, match="reach"):
        Dominance.from_reach(3.0)
    with pytest.raises(ConfigError, match="english or random"):
        build_chain("latin")  # type: ignore[arg-type]
    assert len(PHONES) == 1 + len(VOWELS) + len(CONSONANTS) == 40
