"""CTranslate2's model files: a round trip of the format, and the encoder against CTranslate2's runtime."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from cals import hub
from cals.errors import CheckpointError
from cals.models.interop.ctranslate import load_whisper_encoder, read_arrays
from cals.models.whisper import WhisperConfig, WhisperEncoder

TINY = WhisperConfig(layers=1, width=8, heads=2, hidden=12, bins=4, positions=10)
CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def write_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    """Build a `model.bin` of version 6."""
    out = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        out += text(name) + struct.pack("<B", array.ndim) + struct.pack(f"<{array.ndim}I", *array.shape)
        out += struct.pack("<BI", CODES[array.dtype.name], array.nbytes) + array.tobytes()
    return out


def tiny_arrays() -> dict[str, np.ndarray]:
    """Build the arrays of a one-layer model, named as in the format."""
    rng = np.random.default_rng(0)
    layer = "encoder/layer_0"
    shapes = {
        "encoder/conv1/weight": (8, 4, 3),
        "encoder/conv1/bias": (8,),
        "encoder/conv2/weight": (8, 8, 3),
        "encoder/conv2/bias": (8,),
        "encoder/position_encodings/encodings": (10, 8),
        f"{layer}/self_attention/layer_norm/gamma": (8,),
        f"{layer}/self_attention/layer_norm/beta": (8,),
        f"{layer}/self_attention/linear_0/weight": (24, 8),
        f"{layer}/self_attention/linear_0/bias": (24,),
        f"{layer}/self_attention/linear_1/weight": (8, 8),
        f"{layer}/self_attention/linear_1/bias": (8,),
        f"{layer}/ffn/layer_norm/gamma": (8,),
        f"{layer}/ffn/layer_norm/beta": (8,),
        f"{layer}/ffn/linear_0/weight": (12, 8),
        f"{layer}/ffn/linear_0/bias": (12,),
        f"{layer}/ffn/linear_1/weight": (8, 12),
        f"{layer}/ffn/linear_1/bias": (8,),
    }
    arrays = {name: rng.normal(size=shape).astype(np.float16) for name, shape in shapes.items()}
    return arrays | {"decoder/scale": np.array(0.5, np.float32), "decoder/quantized": np.arange(-3, 3, dtype=np.int8)}


def test_what_is_written_is_read_back() -> None:
    arrays = tiny_arrays()
    found = read_arrays(write_arrays(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_every_weight_of_the_encoder_has_its_place() -> None:
    arrays = tiny_arrays()
    weights = load_whisper_encoder(write_arrays(arrays), TINY)
    encoder = WhisperEncoder(TINY)
    encoder.load_weights(weights)
    assert all(value.dtype == torch.float16 for value in weights.values())
    for ours, theirs in (
        ("positions", "position_encodings/encodings"),
        ("0_qkv_weight", "layer_0/self_attention/linear_0/weight"),
        ("0_down_bias", "layer_0/ffn/linear_1/bias"),
        ("0_attention_norm_weight", "layer_0/self_attention/layer_norm/gamma"),
        ("0_feed_norm_bias", "layer_0/ffn/layer_norm/beta"),
    ):
        np.testing.assert_array_equal(encoder.get_buffer(ours), arrays[f"encoder/{theirs}"].astype(np.float32))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-5],
        lambda data: data[: len(data) // 2],
        lambda data: data[:4] + b"\xff" * 40,
        lambda data: data.replace(b"encoder/conv1/bias", b"encoder/conv1/b\xe9as"),
        lambda data: bytes(np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8)),
    ],
    ids=["empty", "short", "half", "long name", "no ascii", "noise"],
)
def test_damaged_files_are_checkpoint_errors(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(CheckpointError, match="whisper: expected"):
        load_whisper_encoder(damage(write_arrays(tiny_arrays())), TINY)


def test_a_model_of_other_sizes_is_refused() -> None:
    data = write_arrays(tiny_arrays())
    with pytest.raises(CheckpointError, match=r"expected encoder/layer_1/.*, in model.bin, found none"):
        load_whisper_encoder(data, WhisperConfig(**{**vars(TINY), "layers": 2}))
    with pytest.raises(CheckpointError, match=r"encodings, floats of \[20, 8\], .* found float16 of \[10, 8\]"):
        load_whisper_encoder(data, WhisperConfig(**{**vars(TINY), "positions": 20}))


@pytest.fixture(scope="module")
def published() -> bytes:
    """Return the source file of the front-end, if it is in the cache."""
    path = hub.WHISPER_FILE.path
    if not path.is_file():
        pytest.skip(f"{path} is not there: `cals models import --out FOLDER` fetches it (71 MB)")
    return path.read_bytes()


def test_the_encoder_does_as_its_own_runtime(published: bytes, tmp_path: Path) -> None:
    """Run all four layers and the final norm, which the front-end omits."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    arrays = read_arrays(published)
    (tmp_path / "model.bin").write_bytes(published)
    (tmp_path / "config.json").write_text("{}")
    tokens = len(arrays["decoder/embeddings/weight"])
    (tmp_path / "vocabulary.txt").write_text("\n".join(map(str, range(tokens))))  # nothing is decoded
    reference = ctranslate2.models.Whisper(str(tmp_path), compute_type="float32", intra_threads=1)
    features = np.random.default_rng(0).normal(size=(1, 80, 3000)).astype(np.float32)
    expected = np.array(reference.encode(ctranslate2.StorageView.from_array(features)))
    config = WhisperConfig(layers=4)
    encoder = WhisperEncoder(config)
    encoder.load_weights(load_whisper_encoder(published, config))
    gamma, beta = (
        torch.from_numpy(arrays[f"encoder/layer_norm/{name}"].astype(np.float32)) for name in ("gamma", "beta")
    )
    with torch.inference_mode():
        found = torch.nn.functional.layer_norm(
            encoder.encode(torch.from_numpy(features).transpose(1, 2)), (384,), gamma, beta
        )
    assert float(np.abs(expected).std()) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-3)
