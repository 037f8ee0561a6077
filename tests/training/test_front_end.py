"""Import of the front-end from a CTranslate2 file; the front-end that runs and bundles name as parent."""

import dataclasses
import hashlib
import logging
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cals import hub
from cals.checkpoint import CONFIG, WEIGHTS, Checkpoint, compute_weights_sha256, load_checkpoint, save_checkpoint
from cals.cli import main
from cals.errors import CheckpointError
from cals.models.interop import ctranslate
from cals.models.sync import SyncModel
from cals.models.whisper import WhisperConfig, WhisperEncoder, list_weight_shapes
from cals.training import presets
from cals.training import run as run_module
from cals.training.bundle import write_bundle
from cals.training.front_end import import_front_end
from cals.training.loop import RunOptions
from cals.training.stage import Stage
from front_end import HEARING, save_front

pytestmark = pytest.mark.slow

KNOWN = Path(hub.__file__).parent / "weights" / "whisper-tiny-en"


def model_bin(kind: type[np.generic] = np.float32, heads: int = 6, **shapes: tuple[int, ...]) -> bytes:
    """Write a file with the sizes of tiny.en's encoder, except for `shapes`, and small numbers."""
    rng = np.random.default_rng(0)
    arrays = {"encoder/num_heads": np.array(heads, np.int16)}
    for name, shape in (list_weight_shapes(WhisperConfig()) | shapes).items():
        arrays[ctranslate._map_name(name)] = rng.integers(-9, 9, shape).astype(kind)
    kinds = {np.dtype(value): key for key, value in ctranslate._DTYPES.items()}
    text = b"WhisperSpec\0"
    parts = [struct.pack("<IH", 6, len(text)), text, struct.pack("<II", 3, len(arrays))]
    for name, values in arrays.items():
        parts += [struct.pack("<H", len(name) + 1), name.encode(), b"\0"]
        parts += [struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)]
        parts += [struct.pack("<BI", kinds[values.dtype], values.nbytes), values.tobytes()]
    return b"".join(parts)


def test_the_known_file_gives_what_ships(tmp_path: Path) -> None:
    path = hub.WHISPER_FILE.path
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != hub.WHISPER_FILE.sha256:
        pytest.skip(f"{path} is not there: `cals models import --out FOLDER` fetches it (71 MB)")
    out = import_front_end(None, tmp_path / "front")
    for name in (CONFIG, WEIGHTS):
        assert (out / name).read_bytes() == (KNOWN / name).read_bytes(), name


def test_what_ships_says_whose_it_is() -> None:
    assert "Copyright (c) 2022 OpenAI" in (KNOWN / "LICENSE").read_text(encoding="utf-8")
    card = (KNOWN / "README.md").read_text(encoding="utf-8")
    assert hub.WHISPER_FILE.sha256 in card
    assert compute_weights_sha256(KNOWN) in card
    assert hub.FRONT_END_WEIGHTS == KNOWN


def test_another_conversion_is_taken_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "model.bin").write_bytes(model_bin())
    with caplog.at_level(logging.WARNING):
        out = import_front_end(tmp_path / "model.bin", tmp_path / "front")
    found = hashlib.sha256(model_bin()).hexdigest()
    assert f"sha256 is {found}, not {hub.WHISPER_FILE.sha256} of the known file" in caplog.text
    encoder = WhisperEncoder(WhisperConfig())
    encoder.load_weights(load_checkpoint(out).weights)


def broken(data: bytes, name: str, value: float) -> bytes:
    """Return `data` with another first number in one of its float32 arrays."""
    place = data.index(name.encode() + b"\0") + len(name) + 1
    place += 1 + 4 * data[place] + 5
    return data[:place] + struct.pack("<f", value) + data[place + 4 :]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: b"not a model", "expected a CTranslate2 model.bin, found other content"),
        (lambda: model_bin()[:-9], "expected a CTranslate2 model.bin, found other content"),
        (lambda: model_bin(np.int8), r"conv1/weight, floats of \[384, 80, 3\].* found int8"),
        (
            lambda: model_bin(conv1_weight=(512, 80, 3)),
            r"found float32 of \[512, 80, 3\]; name the model.bin of tiny.en",
        ),
        (lambda: model_bin(heads=8), "expected 6 heads in model.bin, found 8"),
        (lambda: broken(model_bin(), "encoder/conv1/weight", 1e6), "expected finite weights, found others in .*conv1"),
    ],
    ids=["other", "cut", "quantised", "sizes", "heads", "large"],
)
def test_what_is_not_tiny_is_refused(tmp_path: Path, make: Callable[[], bytes], said: str) -> None:
    (tmp_path / "model.bin").write_bytes(make())
    with pytest.raises(CheckpointError, match=said):
        import_front_end(tmp_path / "model.bin", tmp_path / "front")
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_the_command_replaces_weights_and_keeps_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model.bin").write_bytes(model_bin())
    front = save_front(tmp_path / "front")
    for name in ("README.md", "LICENSE"):
        (front / name).write_text(name, encoding="utf-8")
    before = compute_weights_sha256(front)
    command = ["models", "import", str(tmp_path / "model.bin"), "--out", str(front)]
    with pytest.raises(SystemExit):
        main(command)
    assert "give --force" in capsys.readouterr().err
    assert compute_weights_sha256(front) == before
    main([*command, "--force"])
    assert capsys.readouterr().out == f"{front}\t9.3 MB\n"
    assert compute_weights_sha256(front) != before
    assert sorted(path.name for path in front.iterdir()) == ["LICENSE", "README.md", CONFIG, WEIGHTS]
    assert (front / "LICENSE").read_text(encoding="utf-8") == "LICENSE"
    with pytest.raises(SystemExit):
        main(command[:3])
    assert "import: expected --out" in capsys.readouterr().err


def test_the_list_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "list"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("whisper-tiny-en\t"))
    assert line.split("\t")[1:3] == ["front-end", "MIT"]


def test_a_run_names_its_front_end_and_refuses_another(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_untrained(stage: Stage, options: RunOptions, progress: object) -> dict[str, float]:
        save_checkpoint(options.run / "model", stage.build_checkpoint(stage.model, 0, {}))
        return {}

    monkeypatch.setattr(run_module, "train", save_untrained)
    monkeypatch.setattr(hub, "FRONT_END_WEIGHTS", save_front(tmp_path / "front"))
    front, sync = compute_weights_sha256(hub.FRONT_END_WEIGHTS), tmp_path / "sync"
    encoders = presets.SYNC["sync-debug"].model
    weights = SyncModel(encoders).state_dict()
    save_checkpoint(sync, Checkpoint(kind="sync", config=dataclasses.asdict(encoders), weights=weights))
    source = run_module.Corpus(folder=corpus, splits=corpus / "splits.json")
    monkeypatch.setitem(presets.A2L, "a2l-debug", dataclasses.replace(presets.A2L["a2l-debug"], model=HEARING))
    a2l = tmp_path / "a2l" / "model"
    run_module.train_a2l("a2l-debug", source, sync, RunOptions(run=a2l.parent))
    assert load_checkpoint(a2l).parents == {"sync": compute_weights_sha256(sync), "front": front}
    for name in ("l2f-debug", "l2f-debug-unet"):
        run = tmp_path / name
        run_module.train_l2f(name, source, sync, a2l, RunOptions(run=run))
        lips = load_checkpoint(run / "model")
        assert lips.parents == {
            "sync": compute_weights_sha256(sync),
            "a2l": compute_weights_sha256(a2l),
            "front": front,
        }
        assert load_checkpoint(write_bundle(run / "model", tmp_path / f"{name}-bundle")).parents == lips.parents
    save_front(hub.FRONT_END_WEIGHTS, seed=1)
    with pytest.raises(CheckpointError, match=f"front-end: expected the weights .* sha256 {front}, found"):
        run_module.train_l2f("l2f-debug-unet", source, sync, a2l, RunOptions(run=tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    save_checkpoint(a2l, dataclasses.replace(load_checkpoint(a2l), parents={}))  # as older versions have saved it
    run_module.train_l2f("l2f-debug-unet", source, sync, a2l, RunOptions(run=tmp_path / "other"))
    assert load_checkpoint(tmp_path / "other" / "model").parents["front"] == compute_weights_sha256(
        hub.FRONT_END_WEIGHTS
    )
