"""The page of examples/live: each frame comes with its own sound, and a browser shows and plays them."""

import signal
import struct
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from cals import CheckpointError, LipSync
from cals.media import load_mono
from chromium import CHROMIUM, DRIVER, FLAGS, NEEDS_CHROMIUM
from ctrl_c import hear_ctrl_c

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "live" / "live.py"
RATE_HZ, SECONDS = 16_000, 1
LONG_S = 120
"""Until then what is waited for has come, even on a busy machine."""


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    wav = load_mono(ROOT / "examples" / "speech.wav", RATE_HZ)[RATE_HZ : (1 + SECONDS) * RATE_HZ]
    return (wav * 32767).round().astype("<i2")


@pytest.fixture(scope="module")
def address(speech: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the example serves, until the end of the module; Ctrl-C ends it."""
    try:
        LipSync("debug")
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")
    sound = tmp_path_factory.mktemp("live") / "speech.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(speech.tobytes())
    command = [sys.executable, str(EXAMPLE), str(ROOT / "examples" / "astronaut.jpg"), str(sound)]
    with subprocess.Popen(
        [*command, "--model", "debug", "--port", "0"], stdout=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)
            try:
                rest = process.communicate(timeout=LONG_S)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert (process.returncode, rest.strip()) == (0, "stopped")


def test_each_frame_comes_with_its_sound(address: str, speech: np.ndarray) -> None:
    with urlopen(f"{address}stream", timeout=LONG_S) as response:
        data = response.read()
    pictures, sounds = [], []
    while data:
        picture, sound = struct.unpack("<II", data[:8])
        pictures.append(cv2.imdecode(np.frombuffer(data[8 : 8 + picture], np.uint8), cv2.IMREAD_COLOR))
        sounds.append(np.frombuffer(data[8 + picture : 8 + picture + sound], "<i2"))
        data = data[8 + picture + sound :]
    assert len(pictures) == 25 * SECONDS
    assert {picture.shape for picture in pictures} == {(512, 512, 3)}
    assert {len(sound) for sound in sounds} == {RATE_HZ // 25}
    assert np.abs(np.concatenate(sounds).astype(int) - speech).max() <= 1
    assert np.abs(pictures[0].astype(int) - pictures[12]).max() > 20  # the mouth moves


@NEEDS_CHROMIUM
def test_a_browser_shows_all_frames_by_the_clock_of_the_sound(address: str, tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'cals[browser]'")
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(address)
        driver.find_element("css selector", "button").click()
        shown = driver.find_element("css selector", "output")
        WebDriverWait(driver, LONG_S, poll_frequency=0.1).until(lambda _: "ended" in shown.text)
        assert shown.text == f"{25 * SECONDS} frames, ended"
        colours = (
            "const c = document.querySelector('canvas'); return [c.width, c.height, new Set(c.getContext('2d')"
            ".getImageData(0, 0, 512, 512).data).size]"
        )
        width, height, count = driver.execute_script(colours)
        assert (width, height) == (512, 512)
        assert count > 100
        errors = [entry for entry in driver.get_log("browser") if "favicon" not in entry["message"]]
        assert errors == []
    finally:
        driver.quit()
