"""Signed manifests of drawn videos: what they say, that they are held, and what a change does to them."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cals.cli import main
from cals.errors import ConfigError, MediaError
from cals.media.tags import read_comment
from cals.options import ProvenanceOptions, resolve_provenance
from cals.provenance import library, manifest
from cals.provenance.key import create_key_file, get_config_dir, load_user_key
from cals.provenance.manifest import DIGITAL_SOURCE_TYPE, ManifestSigner, Origin, hash_file, load_signer
from cals.provenance.verify import verify_file
from drawing import write_video, write_wav

CERTIFICATE = "-----BEGIN CERTIFICATE-----"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a computer that has no key yet."""
    monkeypatch.setenv("CALS_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return draw(tmp_path / "plain.mp4")


@pytest.fixture
def signer() -> ManifestSigner:
    signer = load_signer(ProvenanceOptions())
    assert signer is not None
    return signer


def draw(path: Path) -> Path:
    write_video(path, frames=10)
    return path


def describe(face: Path, **others: Path) -> Origin:
    return Origin(model="small", fingerprint="0123456789ab", inputs={"face": face, **others})


def sign(signer: ManifestSigner, video: Path, signed: Path, origin: Origin, generated: int = 8) -> Path:
    signer.sign(video, signed, "video/mp4", origin, 10, generated)
    return signed


def test_manifest_tells_model_and_inputs(video: Path, tmp_path: Path, signer: ManifestSigner) -> None:
    speech = write_wav(tmp_path / "Anna's voice.wav", np.zeros(800, np.float32))
    signed = sign(signer, video, tmp_path / "signed.mp4", describe(video, audio=speech, voice=speech))
    result = verify_file(signed)
    assert (result.state, result.problems, result.trust) == ("intact", (), "own")
    assert result.source_type == DIGITAL_SOURCE_TYPE
    assert result.actions == ("The mouth was generated from speech in 8 of 10 frames.",)
    assert (result.generation["model"], result.generation["model_fingerprint"]) == ("small", "0123456789ab")
    assert result.generation["inputs"] == [
        {"role": "face", "sha256": hash_file(video)},
        {"role": "audio and voice", "sha256": hash_file(speech)},
    ]
    assert b"Anna" not in signed.read_bytes()
    assert "intact" in result.text()
    assert "the key of this computer's user" in result.text()


def test_a_video_without_a_generated_mouth_does_not_claim_one(
    video: Path, tmp_path: Path, signer: ManifestSigner
) -> None:
    result = verify_file(sign(signer, video, tmp_path / "signed.mp4", describe(video), generated=0))
    assert result.source_type.endswith("/composite")


@pytest.mark.parametrize("place", ["picture", "manifest"])
def test_a_changed_byte_is_found(video: Path, tmp_path: Path, signer: ManifestSigner, place: str) -> None:
    signed = sign(signer, video, tmp_path / "signed.mp4", describe(video))
    data = bytearray(signed.read_bytes())
    # the middle of the pictures, or a digit of the fingerprint
    index = data.rindex(b"mdat") + 500 if place == "picture" else data.index(b"0123456789ab")
    data[index] ^= 1
    signed.write_bytes(data)
    result = verify_file(signed)
    assert result.state == "changed"
    assert "mismatch" in result.problems[0]


def test_a_cut_file_is_not_intact(video: Path, tmp_path: Path, signer: ManifestSigner) -> None:
    signed = sign(signer, video, tmp_path / "signed.mp4", describe(video))
    signed.write_bytes(signed.read_bytes()[:-500])
    assert verify_file(signed).state == "invalid"


def test_manifest_of_an_input_becomes_an_ingredient(video: Path, tmp_path: Path, signer: ManifestSigner) -> None:
    first = sign(signer, video, tmp_path / "first.mp4", describe(video))
    broken = tmp_path / "broken.mp4"
    data = bytearray(first.read_bytes())
    data[data.rindex(b"mdat") + 500] ^= 1
    broken.write_bytes(data)
    for face, is_intact in ((first, True), (broken, False)):
        result = verify_file(sign(signer, video, tmp_path / "second.mp4", describe(face, pose=video)))
        assert result.state == "intact"
        assert [(item.title, item.is_intact) for item in result.ingredients] == [("face", is_intact)]
        assert result.ingredients[0].software.startswith("cals ")


def test_key_is_private_made_once_and_tells_nobody(own_folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: load_user_key(), range(4)))
    assert len({key.chain for key in keys}) == 1
    path = get_config_dir() / "signing-key.pem"
    assert path.parent == own_folder
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys[0].chain.count(CERTIFICATE) == 2


def test_two_processes_make_one_key() -> None:
    command = [sys.executable, "-c", "from cals.provenance.key import load_user_key; print(load_user_key().chain)"]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (job.communicate(timeout=120)[0] for job in jobs)
    assert first == second
    assert first.count(CERTIFICATE) == 2


def test_a_key_that_cannot_be_kept_is_said(own_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_folder.write_text("a file, no folder")
    with caplog.at_level("INFO"):
        assert CERTIFICATE in load_user_key().chain
    assert "cannot be kept" in caplog.text
    assert load_signer(ProvenanceOptions()) is not None


def test_signers_are_told_apart(video: Path, tmp_path: Path) -> None:
    certificate, key, root = write_pair(tmp_path, "other")
    options = ProvenanceOptions(sign_cert=certificate, sign_key=key)
    other = load_signer(options)
    assert other is not None
    signed = sign(other, video, tmp_path / "signed.mp4", describe(video))
    unknown = verify_file(signed)
    assert (unknown.state, unknown.trust) == ("intact", "unknown")
    assert "not trusted" in unknown.text()
    assert verify_file(signed, root).trust == "trusted"


def write_pair(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Write certificates, private key and root of a new signer."""
    text = create_key_file()
    key, mark, chain = text.partition(CERTIFICATE)
    root = mark + chain.rpartition(CERTIFICATE)[2]
    paths = folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.root"
    for path, content in zip(paths, (mark + chain, key, root), strict=True):
        path.write_text(content)
    return paths


def test_bad_keys_are_told_before_any_work(tmp_path: Path) -> None:
    certificate, key, _ = write_pair(tmp_path, "one")
    _, other_key, _ = write_pair(tmp_path, "two")
    for options, message in (
        ({"sign_cert": certificate, "sign_key": other_key}, "expected the private key of the first certificate"),
        ({"sign_cert": key, "sign_key": key}, "expected certificates as PEM"),
        ({"sign_cert": certificate, "sign_key": certificate}, "expected an unencrypted private key"),
        ({"sign_cert": tmp_path / "gone", "sign_key": key}, "expected a PEM file"),
        ({"sign_cert": certificate}, "expected both or neither"),
        ({"sign_cert": certificate, "sign_key": key, "provenance": False}, "expected none without provenance"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_signer(ProvenanceOptions(**options))
    with pytest.raises(ConfigError, match="trust: expected certificates"):
        verify_file(draw(tmp_path / "a.mp4"), key)


def test_an_input_that_is_gone_is_an_error(video: Path, tmp_path: Path, signer: ManifestSigner) -> None:
    with pytest.raises(MediaError, match="expected to sign the manifest"):
        sign(signer, video, tmp_path / "signed.mp4", describe(tmp_path / "gone.mp4"))


def test_without_the_library(video: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    library.load_c2pa.cache_clear()
    monkeypatch.setitem(sys.modules, "c2pa", None)
    monkeypatch.setattr(manifest, "_said", False)
    try:
        with caplog.at_level("INFO"):
            assert [load_signer(ProvenanceOptions()) for _ in range(2)] == [None, None]
        assert caplog.text.count("cals[c2pa]") == 1
        with pytest.raises(ConfigError, match=r"verify: expected .* 'cals\[c2pa\]'"):
            verify_file(video)
        with pytest.raises(ConfigError, match=r"sign_cert: expected .* 'cals\[c2pa\]'"):
            load_signer(ProvenanceOptions(sign_cert="a", sign_key="b"))
    finally:
        library.load_c2pa.cache_clear()


def test_verify_command(
    video: Path, tmp_path: Path, signer: ManifestSigner, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = sign(signer, video, tmp_path / "signed.mp4", describe(video))
    main(["verify", str(signed), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["trust"], document["path"]) == ("intact", "own", str(signed))
    for path in (video, draw(tmp_path / "other.mkv")):
        with pytest.raises(SystemExit) as end:
            main(["verify", str(path)])
        assert end.value.code == 1
        assert f"{path}: no manifest" in capsys.readouterr().out


def test_comment_of_what_is_no_media(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    assert read_comment(tmp_path / "a.txt") == ""
    assert verify_file(tmp_path / "a.txt").state == "none"


def test_a_plain_yes_or_no() -> None:
    assert resolve_provenance(False).provenance is False
    assert resolve_provenance(True) == ProvenanceOptions()
