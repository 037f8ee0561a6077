"""Loading of Whisper's encoder from a CTranslate2 model file, for the phonetic front-end."""

import struct

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cals.errors import CheckpointError
from cals.models.whisper import WhisperConfig, list_weight_shapes

_ADVICE = "name the model.bin of tiny.en in float16 or float32"
_HEADS_KEY = "encoder/num_heads"
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def load_whisper_encoder(data: bytes, config: WhisperConfig) -> dict[str, Tensor]:
    """Load weights for `WhisperEncoder.load_weights`, float16, from the bytes of a CTranslate2 `model.bin`.

    Raises CheckpointError when the bytes are no such file, the model has other sizes, or its weights are quantised.
    """
    try:
        arrays = read_arrays(data)
    except (struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
        raise CheckpointError(f"whisper: expected a CTranslate2 model.bin, found other content ({error})") from error
    heads = int(arrays.get(_HEADS_KEY, np.array(config.heads)))
    if heads != config.heads:
        raise CheckpointError(f"whisper: expected {config.heads} heads in model.bin, found {heads}; {_ADVICE}")
    weights = {}
    for name, shape in list_weight_shapes(config).items():
        source = _map_name(name)
        if source not in arrays or arrays[source].shape != shape or arrays[source].dtype.kind != "f":
            found = f"{arrays[source].dtype} of {list(arrays[source].shape)}" if source in arrays else "none"
            raise CheckpointError(
                f"whisper: expected {source}, floats of {list(shape)}, in model.bin, found {found}; {_ADVICE}"
            )
        weights[name] = torch.from_numpy(arrays[source].copy()).to(torch.float16)
        if not bool(weights[name].isfinite().all()):
            raise CheckpointError(f"whisper: expected finite weights, found others in {source}; {_ADVICE}")
    return weights


def read_arrays(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Read arrays by name.

    The format is little endian: a version, a specification's name and revision, then one record per array.
    """
    place = 0

    def number(form: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from("<" + form, data, place)
        place += struct.calcsize("<" + form)
        return int(value)

    def text() -> str:
        nonlocal place
        size = number("H")
        value = data[place : place + size - 1].decode("ascii")  # it ends with a zero
        place += size
        return value

    number("I"), text(), number("I")
    arrays = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = np.dtype(_DTYPES[number("B")])
        size = number("I")
        arrays[name] = np.frombuffer(data, kind, size // kind.itemsize, place).reshape(shape)
        place += size
    return arrays


def _map_name(name: str) -> str:
    """Return CTranslate2's name of one of our weights."""
    first, _, rest = name.partition("_")
    if name == "positions":
        return "encoder/position_encodings/encodings"
    if not first.isdigit():
        return f"encoder/{first}/{rest}"
    part, _, kind = rest.rpartition("_")
    attention, feed = f"encoder/layer_{first}/self_attention", f"encoder/layer_{first}/ffn"
    norms = {"weight": "gamma", "bias": "beta"}
    places = {
        "qkv": f"{attention}/linear_0/{kind}",
        "out": f"{attention}/linear_1/{kind}",
        "up": f"{feed}/linear_0/{kind}",
        "down": f"{feed}/linear_1/{kind}",
        "attention_norm": f"{attention}/layer_norm/{norms[kind]}",
        "feed_norm": f"{feed}/layer_norm/{norms[kind]}",
    }
    return places[part]
