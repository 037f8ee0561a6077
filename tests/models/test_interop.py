"""SyncNet: shapes, layer names and a round trip of random weights; its MFCC against two references."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dct

from cals.errors import CheckpointError
from cals.face.sampling import build_similarity
from cals.models.interop.mfcc import iterate_mfcc
from cals.models.interop.syncnet import SyncNet, compute_syncnet_crop, load_syncnet
from cals.types import CropTransform, invert_affine

CONVOLUTIONS = {
    "netcnnaud": {
        0: (64, 1, 3, 3),
        4: (192, 64, 3, 3),
        8: (384, 192, 3, 3),
        11: (256, 384, 3, 3),
        14: (256, 256, 3, 3),
        18: (512, 256, 5, 4),
    },
    "netcnnlip": {
        0: (96, 3, 5, 7, 7),
        4: (256, 96, 1, 5, 5),
        8: (256, 256, 1, 3, 3),
        11: (256, 256, 1, 3, 3),
        14: (256, 256, 1, 3, 3),
        18: (512, 256, 1, 6, 6),
    },
}
"""Convolutions of the public file by stream and number; each has a batch norm after it."""


def expected_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for stream, convolutions in CONVOLUTIONS.items():
        for number, shape in convolutions.items():
            shapes |= {f"{stream}.{number}.weight": shape, f"{stream}.{number}.bias": shape[:1]}
            norm = ("weight", "bias", "running_mean", "running_var")
            shapes |= {f"{stream}.{number + 1}.{name}": shape[:1] for name in norm}
            shapes[f"{stream}.{number + 1}.num_batches_tracked"] = ()
    for head in ("netfcaud", "netfclip"):
        shapes |= {f"{head}.0.weight": (512, 512), f"{head}.0.bias": (512,)}
        shapes |= {f"{head}.1.{name}": (512,) for name in ("weight", "bias", "running_mean", "running_var")}
        shapes |= {f"{head}.1.num_batches_tracked": ()}
        shapes |= {f"{head}.3.weight": (1024, 512), f"{head}.3.bias": (1024,)}
    return shapes


@pytest.fixture(scope="module")
def network() -> SyncNet:
    torch.manual_seed(0)
    model = SyncNet().eval()
    for name, value in model.state_dict().items():
        if "running_mean" in name:
            value.normal_(0, 0.1)
    return model


@pytest.fixture(scope="module")
def file(network: SyncNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(network.state_dict(), path)
    return path


def test_names_and_shapes_are_those_of_the_public_file(network: SyncNet) -> None:
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == expected_shapes()


def test_a_window_becomes_1024_numbers(network: SyncNet) -> None:
    with torch.inference_mode():
        assert network.audio(torch.randn(2, 20, 13)).shape == (2, 1024)
        assert network.visual(torch.zeros(1, 5, 224, 224, 3, dtype=torch.uint8)).shape == (1, 1024)


def test_random_weights_come_back(network: SyncNet, file: Path) -> None:
    loaded = load_syncnet(file)
    heard = torch.randn(2, 20, 13)
    seen = torch.randint(0, 256, (1, 5, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded.audio(heard), network.audio(heard))
        assert torch.equal(loaded.visual(seen), network.visual(seen))
    assert not loaded.training
    assert not any(value.requires_grad for value in loaded.parameters())


def test_a_file_of_an_old_torch_lacks_only_counters(network: SyncNet, tmp_path: Path) -> None:
    state = network.state_dict()
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.model")
    loaded = load_syncnet(tmp_path / "old.model").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_colours_are_handed_on_as_bgr_up_to_255(network: SyncNet) -> None:
    pixels = torch.zeros(1, 5, 224, 224, 3, dtype=torch.uint8)
    pixels[..., 0], pixels[..., 2] = 200, 10  # red, blue
    given: list[torch.Tensor] = []
    hook = network.netcnnlip.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        network.visual(pixels)
    hook.remove()
    assert given[0].shape == (1, 3, 5, 224, 224)
    assert [float(given[0][0, channel].mean()) for channel in range(3)] == [10, 0, 200]


def test_what_does_not_fit_is_named(network: SyncNet, tmp_path: Path) -> None:
    state = network.state_dict()
    path = tmp_path / "x.model"
    torch.save({k: v for k, v in state.items() if k != "netfclip.3.weight"}, path)
    with pytest.raises(CheckpointError, match=r"none of netfclip\.3\.weight"):
        load_syncnet(path)
    torch.save(dict(state) | {"head.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"also head\.weight"):
        load_syncnet(path)
    torch.save(dict(state) | {"netfcaud.0.bias": torch.zeros(7)}, path)
    with pytest.raises(CheckpointError, match=r"netfcaud\.0\.bias of \(512,\), found \(7,\)"):
        load_syncnet(path)


class Trap:
    """An object whose unpickling would create a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("fired"),))


def test_files_that_are_none_are_refused_and_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.model"
    with pytest.raises(CheckpointError, match="expected the weights of SyncNet"):
        load_syncnet(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="expected the weights of SyncNet"):
        load_syncnet(path)
    shutil.copy(Path(__file__).parents[2] / "examples" / "speech.wav", path)
    with pytest.raises(CheckpointError, match="expected the weights of SyncNet"):
        load_syncnet(path)
    path.write_bytes(b"no weights at all")
    with pytest.raises(CheckpointError, match="expected the weights of SyncNet"):
        load_syncnet(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="names with tensors, found list"):
        load_syncnet(path)
    torch.save({"weights": Trap()}, path)
    with pytest.raises(CheckpointError, match="expected the weights of SyncNet"):
        load_syncnet(path)
    assert not Path("fired").exists()


def chirp(samples: int = 800) -> np.ndarray:
    t = np.arange(samples) / 16000
    return (np.rint(8000 * np.sin(2 * np.pi * (300 + 900 * t) * t)) / 32768).astype(np.float32)


def test_mfcc_is_that_of_the_public_package() -> None:
    """Compare with values of python_speech_features 0.6, computed with its defaults from the same 16-bit samples."""
    expected = [
        [18.475, 20.271, 7.425, -3.663, -14.631, -24.27, -29.147, -29.806, -25.099, -17.192, -7.256, 1.251, 7.331],
        [18.53, 35.509, 17.53, 0.562, -13.825, -23.797, -26.556, -23.714, -15.355, -5.224, 5.017, 11.29, 13.463],
    ]
    found = np.concatenate(list(iterate_mfcc([chirp()])))
    assert found.shape == (4, 13)
    assert np.allclose(found[[0, 3]], expected, atol=2e-3)


def test_mfcc_by_definition() -> None:
    rng = np.random.default_rng(0)
    wav = np.rint(3000 * rng.normal(size=1000))
    found = np.concatenate(list(iterate_mfcc([(wav / 32768).astype(np.float32)])))
    flat = np.concatenate([wav[:1], wav[1:] - 0.97 * wav[:-1]])
    top = 2595 * np.log10(1 + 8000 / 700)
    edges = [int(513 * 700 * (10 ** (j / 27 * top / 2595) - 1) / 16000) for j in range(28)]
    for j in range(4):
        power = np.abs(np.fft.rfft(flat[160 * j : 160 * j + 400], 512)) ** 2 / 512
        bands = []
        for low, peak, high in zip(edges, edges[1:], edges[2:], strict=False):
            rising = sum(power[k] * (k - low) / (peak - low) for k in range(low, peak))
            bands.append(rising + sum(power[k] * (high - k) / (high - peak) for k in range(peak, high)))
        cepstrum = dct(np.log(bands), type=2, norm="ortho")[:13] * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
        cepstrum[0] = np.log(power.sum())
        assert np.allclose(found[j], cepstrum, atol=1e-4)


@pytest.mark.parametrize("block", [160, 137, 4000])
def test_mfcc_of_a_stream_has_no_seams(block: int) -> None:
    wav = chirp(8000)
    whole = np.concatenate(list(iterate_mfcc([wav])))
    parts = np.concatenate(list(iterate_mfcc(wav[i : i + block] for i in range(0, 8000, block))))
    assert len(whole) == 1 + -(-(8000 - 400) // 160)
    assert np.array_equal(whole, parts)


def test_mfcc_of_silence_is_finite() -> None:
    found = np.concatenate(list(iterate_mfcc([np.zeros(100, np.float32)])))
    assert found.shape == (1, 13)
    assert np.isfinite(found).all()


def test_the_crop_is_upright_and_as_the_public_scripts_cut() -> None:
    """Check that a box of 109 px (of the aligned crop) gives a square of 1.4 times that, aligned with the box's top."""
    to_frame = build_similarity(2.0, 0.3, (64.0, 64.0), (300.0, 200.0))
    aligned = CropTransform(matrix=invert_affine(to_frame), size_px=128)
    found = compute_syncnet_crop(aligned)
    assert found.size_px == 224
    assert found.matrix[0, 1] == found.matrix[1, 0] == 0
    assert found.scale == pytest.approx(224 / (1.4 * 2 * 109))
    middle = aligned.to_frame(np.array([[63.5, 53.5]]))
    assert np.allclose(found.to_crop(middle), [[112, 224 / 1.4 / 2]])
