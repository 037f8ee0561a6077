"""The recogniser: published sizes, and the inputs that its output depends on."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from cals.errors import CheckpointError, ConfigError
from cals.losses.recognition import IGNORE_INDEX, batch_ctc, shift_tokens
from cals.models.avsr.config import AVSRConfig
from cals.models.avsr.network import AVSR
from cals.models.avsr.tokens import Tokens

TINY = AVSRConfig(
    tokens=Tokens(unit="words", vocabulary=("at", "bin", "now", "red")),
    channels=2,
    mouth_px=24,
    view_px=20,
    width=16,
    heads=2,
    hidden=32,
    encoder_layers=2,
    kernel=5,
    score_kernel=3,
    decoder_layers=1,
    dropout=0.0,
)
STEP = TINY.mel.timing.samples_per_frame


def tiny(**changes: object) -> AVSR:
    torch.manual_seed(3)
    return AVSR(AVSRConfig(**{**vars(TINY), **changes})).eval().requires_grad_(False)


def clips(count: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    wav = torch.randn(count, frames * STEP, generator=generator)
    mouths = torch.rand(count, frames, TINY.view_px, TINY.view_px, generator=generator)
    return wav, mouths, torch.ones(count, frames, dtype=torch.bool)


def parameters(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in module.named_parameters() if weight.ndim > 1}


def test_sizes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = AVSR(AVSRConfig())
    see, hear = parameters(network.see), parameters(network.hear)
    assert see["stem.0.weight"] == (64, 1, 5, 7, 7)
    assert hear["stem.0.weight"] == (64, 1, 80)
    for front, kernel in ((see, (3, 3)), (hear, (3,))):
        convolutions = [shape for name, shape in front.items() if "network" in name and shape[2:] == kernel]
        assert len(convolutions) == 16  # with the stem and the last layer, 18
        assert [shape[0] for shape in convolutions] == [64] * 4 + [128] * 4 + [256] * 4 + [512] * 4
    for scorer in network.scorers.values():
        shapes = list(parameters(scorer).values())
        assert shapes == [(1024, 1024, 7), (1024, 1024, 7), (512, 1024, 7)]  # both streams of 512 in, one out
    assert network.join.weight.shape == (256, 512)
    assert len(network.blocks) == 12
    assert len(network.decoder.layers) == 6
    block = network.blocks[0]
    assert block.attention.heads == 4
    assert block.convolution.along.weight.shape == (256, 1, 31)
    assert block.feed_before[1].weight.shape == (2048, 256)


@pytest.mark.parametrize("streams", ["both", "audio", "video"])
def test_a_feature_for_each_frame_and_scores_between_0_and_1(streams: str) -> None:
    network = tiny(streams=streams)
    wav, mouths, valid = clips(2, 12)
    encoding = network.encode(wav, mouths, valid)
    assert encoding.features.shape == (2, 12, TINY.width)
    assert network.ctc(encoding).exp().sum(dim=-1) == pytest.approx(torch.ones(2, 12), abs=1e-5)
    assert set(encoding.scores) == ({"audio", "video"} if streams == "both" else set())
    for scores in encoding.scores.values():
        assert scores.shape == (2, 12, TINY.features)
        assert float(scores.min()) > 0
        assert float(scores.max()) < 1


def test_both_streams_reach_the_scores_of_either() -> None:
    network = tiny()
    wav, mouths, valid = clips(1, 12)
    before = network.encode(wav, mouths, valid).scores
    noisy, dark = wav.clone(), mouths.clone()
    noisy[:, 4 * STEP : 8 * STEP] += 5
    dark[:, 4:8] = 0
    for changed in (network.encode(noisy, mouths, valid).scores, network.encode(wav, dark, valid).scores):
        for stream in ("audio", "video"):
            assert not torch.allclose(before[stream], changed[stream], atol=1e-6)


def test_without_scoring_streams_are_fused_as_they_are() -> None:
    network = tiny(scoring=False)
    assert not network.encode(*clips(1, 8)).scores
    assert not len(network.scorers)


@pytest.mark.parametrize("streams", ["both", "video"])
def test_what_lies_beyond_the_end_of_a_clip_is_not_read(streams: str) -> None:
    network = tiny(streams=streams)
    wav, mouths, valid = clips(1, 16)
    valid[:, 12:] = False
    one = network.encode(wav, mouths, valid)
    wav, mouths = wav.clone(), mouths.clone()
    wav[:, 12 * STEP :], mouths[:, 12:] = 3.0, 0.7
    other = network.encode(wav, mouths, valid)
    assert one.features[:, :12] == pytest.approx(other.features[:, :12], abs=1e-5)
    alone = network.encode(wav[:, : 12 * STEP], mouths[:, :12], valid[:, :12])
    # the network over the waveform looks a few samples beyond
    assert alone.features[:, :8] == pytest.approx(other.features[:, :8], abs=0.05 if streams == "both" else 1e-4)
    before = torch.full((1, 3), 2)
    assert network.decoder(before, one.features, valid) == pytest.approx(
        network.decoder(before, other.features, valid), abs=1e-5
    )


def test_loudness_does_not_matter() -> None:
    network = tiny(streams="audio")
    wav, _, valid = clips(1, 8)
    assert network.encode(wav, None, valid).features == pytest.approx(
        network.encode(0.01 * wav, None, valid).features, abs=1e-4
    )


def test_a_stream_that_is_not_there_is_a_stream_that_is_not_trusted() -> None:
    network = tiny()
    wav, mouths, valid = clips(2, 8)
    there = torch.ones(2, dtype=torch.bool)
    for stream, left in (("audio", (None, mouths)), ("video", (wav, None))):
        trusted = {"audio": there, "video": there} | {stream: ~there}
        assert network.encode(*left, valid).features == pytest.approx(
            network.encode(wav, mouths, valid, trusted).features, abs=1e-5
        )
    with pytest.raises(ValueError, match="expected sound or mouths"):
        network.encode(None, None, valid)


def test_the_decoder_sees_no_later_token() -> None:
    network = tiny()
    encoding = network.encode(*clips(1, 8))
    logits = network.decoder(torch.tensor([[5, 1, 2, 3]]), encoding.features, encoding.valid)
    shorter = network.decoder(torch.tensor([[5, 1]]), encoding.features, encoding.valid)
    assert logits[:, :2] == pytest.approx(shorter, abs=1e-5)


def test_front_ends_are_taken_over_from_single_streams() -> None:
    both, audio, video = tiny(), tiny(streams="audio"), tiny(streams="video")
    for weight in (*audio.parameters(), *video.parameters()):
        torch.nn.init.normal_(weight)
    both.load_front_ends(audio)
    both.load_front_ends(video)
    wav, mouths, valid = clips(1, 8)
    assert torch.equal(both.hear(wav), audio.hear(wav))
    assert torch.equal(both.see(mouths, valid), video.see(mouths, valid))
    with pytest.raises(CheckpointError, match="of the same sizes"):
        both.load_front_ends(tiny(channels=4, streams="video"))


def test_frozen_front_ends_stay_as_they_are() -> None:
    network = AVSR(TINY)
    network.freeze_front_ends()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    log_probs, logits, _ = network(*clips(2, 8), torch.full((2, 3), 2))
    (log_probs[..., 1].sum() + logits[..., 2].sum()).backward()
    optimizer.step()
    for name, value in network.state_dict().items():
        if name.startswith(("hear.", "see.")):
            assert torch.equal(value, before[name])
    assert not torch.equal(network.join.weight, before["join.weight"])


@pytest.mark.parametrize(
    "changes", [{"cut": (56, 128, 28, 90)}, {"view_px": 25}, {"heads": 3}, {"kernel": 4}, {"dropout": 1.0}]
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        AVSRConfig(**{**vars(TINY), **changes})


def brute_force_ctc(log_probs: Tensor, sentence: tuple[int, ...]) -> float:
    """Compute the negative log of the summed probability of all paths that spell the sentence."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        spelt = tuple(token for token, _ in itertools.groupby(path) if token)
        if spelt == sentence:
            total += math.exp(sum(float(log_probs[t, token]) for t, token in enumerate(path)))
    return -math.log(total)


def test_ctc_is_the_sum_over_all_paths() -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(2, 5, 4).log_softmax(dim=-1)
    valid = torch.tensor([[True] * 5, [True] * 4 + [False]])
    sentences = [(1, 2), (3, 3)]
    expected = [
        brute_force_ctc(log_probs[row, : int(valid[row].sum())], sentence) / len(sentence)
        for row, sentence in enumerate(sentences)
    ]
    assert float(batch_ctc(log_probs, valid, sentences)) == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_a_sentence_longer_than_its_clip_counts_nothing() -> None:
    log_probs = torch.randn(1, 3, 4).log_softmax(dim=-1)
    assert float(batch_ctc(log_probs, torch.ones(1, 3, dtype=torch.bool), [(1, 1, 1)])) == 0


def test_the_decoder_is_told_the_tokens_before() -> None:
    before, after = shift_tokens([[1, 2, 3], [2]], end=5)
    assert before.tolist() == [[5, 1, 2, 3], [5, 2, 5, 5]]
    assert after.tolist() == [[1, 2, 3, 5], [2, 5, IGNORE_INDEX, IGNORE_INDEX]]
