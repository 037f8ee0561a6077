"""The page in a real browser: a face is clicked, speaks and plays; cancel, bad files, two users, reload, a phone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from cals import hub
from cals.errors import CheckpointError
from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from chromium import CHROMIUM, DRIVER, FLAGS, NEEDS_CHROMIUM
from drawing import write_video, write_wav

pytest.importorskip("gradio", reason="needs gradio: pip install 'cals[web]'")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'cals[browser]'")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = [NEEDS_CHROMIUM, pytest.mark.slow]
LONG_S = 120
"""Until then what a page waits for has come, even on a busy machine."""
EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO, CLIP, SPEECH = EXAMPLES / "astronaut.jpg", EXAMPLES / "grid-s20.mp4", EXAMPLES / "speech.wav"
RATE_HZ, PREVIEW_S = 16_000, 3


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons side by side, voices, subtitles for them, and a file that is no video."""
    folder = tmp_path_factory.mktemp("files")
    crops = []
    for file, (x, y, size) in ((PHOTO, (90, 0, 270)), (CLIP, (60, 20, 240))):
        with VideoReader(file) as reader:
            rgb = next(iter(reader)).rgb()
        crops.append(cv2.resize(rgb[y : y + size, x : x + size], (192, 192)))
    write_video(folder / "two.mp4", frames=[np.hstack(crops).astype(np.uint8)] * 30, size=(384, 192))
    voice = load_mono(SPEECH, RATE_HZ)
    for number in (1, 2):
        write_wav(folder / f"{number}.wav", voice[number * RATE_HZ // 2 : (number + 1) * RATE_HZ // 2], RATE_HZ)
    write_wav(folder / "long.wav", voice[: 3 * RATE_HZ], RATE_HZ)
    (folder / "lines.srt").write_text(
        "1\n00:00:00,000 --> 00:00:00,500\n<v 1>one\n\n2\n00:00:00,600 --> 00:00:01,100\n<v 2>two\n"
    )
    (folder / "notes.mp4").write_text("this is no video")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the server makes its own."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """`cals web` with the smallest model until the end of the tests, stopped as Ctrl-C does."""
    try:
        hub.read_face_models(None)
    except CheckpointError as error:
        pytest.skip(f"face models are not in the cache and cannot be fetched: {error}")
    command = [sys.executable, "-m", "cals", "web", "--model", "debug", "--port", "0", "--max-minutes", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(root)}) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert "http://127.0.0.1:" in line
            yield line.split()[2]
        finally:
            server.send_signal(signal.SIGINT)
            told = server.communicate(timeout=LONG_S)[0]
    assert server.returncode == 0
    assert "all its files are removed" in told
    assert list_files(root, "*") == []


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, "--window-size=1280,1000", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a visitor sees and does in one tab of the browser."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address
        self.load()

    def load(self) -> None:
        self.driver.get(self.address)
        self.wait(lambda: self.count("body[data-cals=ready] #face"))

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def count(self, selector: str) -> int:
        return sum(item.is_displayed() or item.tag_name == "input" for item in self.find_all(selector))

    def find_all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def wait(self, until: Callable[[], Any]) -> None:
        WebDriverWait(self.driver, LONG_S, poll_frequency=0.1).until(lambda _: until())

    def lists(self, selector: str, name: str) -> bool:
        """Whether an uploaded file is listed; its suffix stands in an element of its own."""
        return name in self.text(selector).replace("\n", "")

    def text(self, selector: str) -> str:
        shown = "[...document.querySelectorAll(arguments[0])].filter(item => item.checkVisibility())"
        return " ".join(self.driver.execute_script(f"return {shown}.map(item => item.innerText)", selector))

    def upload(self, field: str, *files: Path) -> None:
        self.wait(lambda: self.count(f"#{field} input[type=file]"))
        self.find(f"#{field} input[type=file]").send_keys("\n".join(str(file) for file in files))

    def choose_face(self, file: Path, faces: int) -> None:
        self.upload("face", file)
        self.wait(lambda: self.count(".cals-face") == faces)

    def choose_speech(self, file: Path, number: int = 0) -> None:
        self.upload(f"speech{number}", file)
        self.wait(lambda: self.count(f"#speech{number} .waveform-container, #speech{number} #waveform"))

    def consent(self) -> None:
        self.find("#consent input").click()

    def click(self, selector: str) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        self.find(selector).click()

    def wait_for_result(self) -> None:
        self.wait(lambda: self.count(".cals-result") or self.count(".cals-error"))
        assert self.text(".cals-error") == ""

    def watch(self) -> float:
        """Press the play button; the time of the result once it and the original have come some way."""
        self.click(".cals-play")
        times = "[...document.querySelectorAll(arguments[0])].map(video => video.currentTime)"
        read = f"return {times}"
        self.wait(lambda: all(time > 0.05 for time in self.driver.execute_script(read, ".cals-original")))
        self.wait(lambda: self.driver.execute_script(read, ".cals-result")[0] > 0.3)
        return float(self.driver.execute_script(read, ".cals-result")[0])

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def hosts(self) -> set[str]:
        """The hosts that were asked for anything since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [item["params"]["request"]["url"] for item in messages if item["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in asked if urlsplit(url).scheme in ("http", "https")}


def list_files(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in root.rglob(pattern) if path.is_file())


def test_a_face_is_clicked_speaks_and_plays(driver: Any, address: str, files: Path, tmp_path: Path) -> None:
    page = Page(driver, address)
    page.choose_face(files / "two.mp4", faces=2)
    page.choose_speech(files / "long.wav")
    page.click("#preview")
    page.wait(lambda: "tick the box" in page.text(".cals-error"))
    page.consent()
    pressed = [face.get_attribute("aria-pressed") for face in page.find_all(".cals-face")]
    assert sorted(pressed) == ["false", "true"]
    other = pressed.index("false")
    page.click(f".cals-face[data-face='{other}']")
    page.wait(lambda: page.find_all(".cals-face")[other].get_attribute("aria-pressed") == "true")
    assert page.find_all(".cals-face")[1 - other].get_attribute("aria-pressed") == "false"
    page.click("#preview")
    page.wait(lambda: page.count(".cals-error") == 0)
    page.wait_for_result()
    assert page.watch() > 0.3
    assert "100 % of the pictures" in page.text("#report")
    assert "carries a note that its mouth is generated" in page.text("#report")
    link = page.find(".cals-download").get_attribute("href")
    with urlopen(link) as reply:
        (tmp_path / "preview.mp4").write_bytes(reply.read())
    with VideoReader(tmp_path / "preview.mp4") as reader:
        assert reader.duration_s is not None
        assert abs(reader.duration_s - PREVIEW_S) <= Fraction(1, 25)
    with pytest.raises(HTTPError, match="403"):
        urlopen(f"{address}gradio_api/file={PHOTO}")  # a file of the machine, but no upload
    # Both speak, a sound each.
    page.click("#who input:not(:checked)")
    page.choose_speech(files / "2.wav", number=1)
    page.click("#make")
    page.wait(lambda: "Download video" in page.text(".cals-download"))
    assert page.watch() > 0.3
    assert page.errors() == []
    assert page.hosts() == {urlsplit(address).netloc}


def test_cancel_stops_the_work_and_bad_files_are_told(driver: Any, address: str, files: Path, root: Path) -> None:
    page = Page(driver, address)
    page.consent()
    page.choose_face(PHOTO, faces=1)
    page.choose_speech(SPEECH)
    page.click("#make")
    page.wait(lambda: "%" in page.text(".cals-note"))
    assert list_files(root, "*.partial") != []
    page.click(".cals-cancel")
    page.wait(lambda: "Cancelled" in page.text(".cals-note"))
    page.wait(lambda: list_files(root, "*.partial") == [])
    assert list_files(root, "astronaut-dub.mp4") == []
    assert page.count(".cals-result") == 0
    page.click("#face button[aria-label*='lear'], #face .icon-button-wrapper button")
    page.upload("face", files / "notes.mp4")
    page.wait(lambda: "notes.mp4" in page.text(".cals-error"))
    assert str(root) not in page.text(".cals-error")
    page.click("#preview")
    page.wait(lambda: "First choose a video or photo" in page.text(".cals-error"))


def test_two_users_at_once_and_one_loads_the_page_again(driver: Any, address: str, files: Path, root: Path) -> None:
    pages = [(driver.current_window_handle, PHOTO)]
    driver.switch_to.new_window("tab")
    pages.append((driver.current_window_handle, CLIP))
    for handle, face in pages:
        driver.switch_to.window(handle)
        page = Page(driver, address)
        page.consent()
        page.choose_face(face, faces=1)
        page.choose_speech(files / "1.wav")
    for handle, _ in pages:
        driver.switch_to.window(handle)
        page.click("#preview")
    sources = []
    for handle, _ in pages:
        driver.switch_to.window(handle)
        page.wait_for_result()
        sources.append(page.find(".cals-result").get_attribute("src"))
    assert len(set(sources)) == 2
    assert len(list_files(root, "preview.mp4")) == 2
    page.load()  # the page begins anew, and its files are removed, but not those of the other
    assert page.count(".cals-result") == 0
    page.wait(lambda: len(list_files(root, "preview.mp4")) == 1)
    page.wait(lambda: list_files(root, CLIP.name) == [])
    page.consent()
    page.choose_face(PHOTO, faces=1)
    driver.close()
    driver.switch_to.window(pages[0][0])
    page.wait(lambda: len(list_files(root, "first.jpg")) == 1)
    assert len(list_files(root, PHOTO.name)) == 1  # the other still has it
    assert page.watch() > 0.3


def test_a_batch_by_subtitles_and_a_score(driver: Any, address: str, files: Path) -> None:
    page = Page(driver, address)
    page.consent()
    page.click("button[role=tab]:nth-of-type(2)")
    page.upload("batch-faces", files / "two.mp4")
    page.upload("batch-sounds", files / "1.wav", files / "2.wav")
    page.upload("batch-subtitles", files / "lines.srt")
    page.wait(lambda: page.lists("#batch-subtitles", "lines.srt") and page.lists("#batch-sounds", "2.wav"))
    page.click("#batch")
    page.wait(lambda: "Download" in page.text(".cals-table") or "expected" in page.text(".cals-table, .cals-error"))
    assert "two.mp4 by lines.srt done, 1.2 s Download" in " ".join(page.text(".cals-table").split())
    page.click("button[role=tab]:nth-of-type(3)")
    page.upload("score-video", CLIP)
    page.wait(lambda: page.lists("#score-video", CLIP.name))
    page.click("#score")
    page.wait(lambda: "LSE-C" in page.text("#score-result"))
    assert "Lips and sound are in step." in page.text("#score-result")


def test_it_fits_a_phone_and_works_by_keyboard(driver: Any, address: str, files: Path) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page = Page(driver, address)
    page.choose_face(files / "two.mp4", faces=2)
    page.choose_speech(files / "1.wav")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    for selector in ("#preview", "#make"):
        assert page.find(selector).size["height"] >= 40  # for thumbs
    driver.execute_script("document.querySelector('#consent input').focus()")
    ActionChains(driver).send_keys(Keys.SPACE).perform()
    assert page.find("#consent input").is_selected()
    other = page.find(".cals-face[aria-pressed=false]").get_attribute("data-face")
    driver.execute_script("document.querySelector('.cals-face[aria-pressed=false]').focus()")
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    page.wait(lambda: page.find(f".cals-face[data-face='{other}']").get_attribute("aria-pressed") == "true")
    for _ in range(40):  # on with the Tab key alone, up to the button
        if driver.switch_to.active_element.get_attribute("id") == "preview":
            break
        ActionChains(driver).send_keys(Keys.TAB).perform()
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    page.wait_for_result()
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
