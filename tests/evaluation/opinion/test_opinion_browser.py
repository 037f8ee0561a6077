"""Raters in a real browser, from the welcome to the report: two at once, a reload, a lost connection, no server."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cals.evaluation.opinion.answers import read_answers
from cals.evaluation.opinion.design import DesignConfig
from cals.evaluation.opinion.report import report_study
from cals.evaluation.opinion.site import make_study
from cals.evaluation.opinion.study import Stimulus, Study, read_study
from chromium import CHROMIUM, DRIVER, FLAGS, NEEDS_CHROMIUM
from drawing import tones, write_video

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'cals[browser]'")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

pytestmark = [NEEDS_CHROMIUM, pytest.mark.slow]
LONG_S = 60
"""Until then what a page waits for has come, even on a busy machine."""
KEYS = ("quality", "sync", "realness")
METHODS = {"real": 5, "blurred": 2}
TRIALS = 1 + 2 * 2 + 2


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("methods")
    for method in METHODS:
        (root / method).mkdir()
        for number in range(2):
            sound = tones(1.0, 16_000)[:, number * 5000 : number * 5000 + 5000]
            write_video(root / method / f"clip{number}.mp4", frames=8, sound=sound, sound_rate_hz=16_000)
    config = DesignConfig(catch=1, practice=1, raters=12)
    make_study([(method, root / method) for method in METHODS], root / "study", config)
    return root / "study"


@pytest.fixture
def folder(study_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study_folder, tmp_path / "study"))


@pytest.fixture
def open_browser(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    opened: list[Any] = []

    def begin() -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, "--window-size=1200,900", f"--user-data-dir={tmp_path / f'profile{len(opened)}'}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "saved")})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened.append(webdriver.Chrome(options=options, service=Service(DRIVER)))
        return opened[-1]

    yield begin
    for driver in opened:
        driver.quit()


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def server_url(folder: Path, port: int) -> Iterator[str]:
    """`cals study serve` until the end of the block, stopped as Ctrl-C does; its address."""
    command = [sys.executable, "-m", "cals", "study", "serve", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=LONG_S)[0]
    assert process.returncode == 0
    assert "raters so far" in told


class Page:
    """What a rater sees and does."""

    def __init__(self, driver: Any, study: Study) -> None:
        self.driver, self.study = driver, study

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def wait(self, until: Callable[[], Any]) -> None:
        WebDriverWait(self.driver, LONG_S, poll_frequency=0.05).until(lambda _: until())

    def is_shown(self, part: str) -> bool:
        return bool(self.find(f"#{part}").is_displayed())

    def state(self) -> dict[str, Any]:
        text = self.driver.execute_script(f"return localStorage.getItem('cals-study-{self.study.id}')")
        result: dict[str, Any] = json.loads(text) if text else {"answers": [], "sent": 0}
        return result

    def start(self, address: str) -> None:
        self.driver.get(address)
        self.find("#welcome input").click()
        self.find("#welcome button").click()
        self.wait(lambda: self.is_shown("trial"))

    def watch(self) -> Stimulus:
        """Play the video to its end; what it is."""
        self.wait(lambda: self.driver.execute_script("return document.querySelector('video').readyState >= 2"))
        assert self.find("#trial .questions").get_property("disabled")
        self.find("#trial .play").click()
        self.wait(lambda: not self.find("#trial .questions").get_property("disabled"))
        name = self.find("video").get_attribute("src").rsplit("/", 1)[1].removesuffix(".mp4")
        return self.study.stimuli[name]

    def choose(self, scores: dict[str, int]) -> None:
        for key, score in scores.items():
            self.find(f"[name={key}][value='{score}']").click()

    def go_on(self) -> None:
        before = len(self.state()["answers"])
        self.find("#trial form > .main").click()
        self.wait(lambda: len(self.state()["answers"]) == before + 1)

    def rate(self) -> None:
        self.choose(dict.fromkeys(KEYS, score_of(self.watch())))
        self.go_on()

    def finish(self) -> None:
        while not self.is_shown("finish"):
            self.rate()

    def errors(self) -> list[str]:
        """What the browser complains of, but for connections that were cut and files taken away on purpose."""
        result = [entry["message"] for entry in self.driver.get_log("browser")]
        return [message for message in result if not re.search(r"ERR_CONNECTION|409 \(Conflict\)", message)]


def score_of(one: Stimulus) -> int:
    return METHODS[one.method] if one.sound == one.clip else 1


def test_two_raters_at_once_and_one_loads_the_page_again(
    folder: Path, port: int, open_browser: Callable[[], Any]
) -> None:
    study = read_study(folder)
    pages = [Page(open_browser(), study) for _ in range(2)]
    with server_url(folder, port) as address:
        for page in pages:
            page.start(address)
        assert sorted(page.state()["number"] for page in pages) == [0, 1]
        for _ in range(2):
            for page in pages:
                page.rate()
        page = pages[0]
        shown = page.watch()
        page.choose({"quality": 4})
        before = page.find("#trial h1").text
        page.driver.refresh()
        page.wait(lambda: page.is_shown("trial"))
        assert page.find("#trial h1").text == before
        assert page.find("[name=quality][value='4']").is_selected()  # what was chosen is still there
        assert not page.find("#trial .questions").get_property("disabled")  # nor need it be watched again
        page.find("#trial form > .main").click()
        assert len(page.state()["answers"]) == 2  # two questions are open
        page.choose(dict.fromkeys(KEYS, score_of(shown)))
        page.go_on()
        for page in pages:
            page.finish()
            page.wait(lambda page=page: "all your answers have arrived" in page.find(".told").text)
            assert page.errors() == []
        # All of it sent once more, as after a lost reply: nothing is kept twice.
        store = f"cals-study-{study.id}"
        page.driver.execute_script(
            f"const s = JSON.parse(localStorage['{store}']); s.sent = 0; localStorage['{store}'] = JSON.stringify(s)"
        )
        page.driver.refresh()
        page.wait(lambda: page.state()["sent"] == TRIALS)
    kept = sorted((folder / "answers").iterdir())
    assert [len(path.read_text().splitlines()) for path in kept] == [TRIALS + 1, TRIALS + 1]
    report = report_study(folder)
    assert (len(report.counted), len(report.caught), len(report.unfinished)) == (2, 0, 0)
    assert {name: of["sync"].value for name, of in report.means.items()} == METHODS


def test_a_lost_connection_loses_nothing(folder: Path, port: int, open_browser: Callable[[], Any]) -> None:
    study = read_study(folder)
    page = Page(open_browser(), study)
    with server_url(folder, port) as address:
        page.start(address)
        page.rate()
        page.wait(lambda: page.state()["sent"] == 1)
        page.choose(dict.fromkeys(KEYS, score_of(page.watch())))
    page.go_on()
    page.wait(lambda: re.search("will be sent later|cannot be loaded", page.find("#state").text))
    assert page.state()["sent"] == 1
    assert len(read_answers((folder / "answers").iterdir(), study)[0]) == 1
    with server_url(folder, port):
        page.wait(lambda: page.state()["sent"] == 2)
        page.rate()  # its video comes by itself too
        page.wait(lambda: page.find("#state").text == "")
    # Also after the server has lost this rater's file.
    for path in (folder / "answers").iterdir():
        path.rename(folder.parent / path.name)
    with server_url(folder, port):
        page.finish()
        page.wait(lambda: "all your answers have arrived" in page.find(".told").text)
    files = [*(folder / "answers").iterdir(), *folder.parent.glob("*.jsonl")]
    answers, damaged = read_answers(files, study)
    assert damaged == 0
    assert Counter(answer.trial for answer in answers) == dict.fromkeys(range(TRIALS), 1)
    assert page.errors() == []


def test_without_a_server_and_without_a_mouse(folder: Path, open_browser: Callable[[], Any], tmp_path: Path) -> None:
    """The page from disk, by keys alone; the answers come as a file."""
    study = read_study(folder)
    page = Page(open_browser(), study)

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    page.driver.get((folder / "site" / "index.html").as_uri() + "?number=3")
    press(Keys.TAB, Keys.SPACE, Keys.TAB, Keys.ENTER)
    page.wait(lambda: page.is_shown("trial"))
    assert page.state()["number"] == 2
    for trial in range(TRIALS):
        one = study.find_stimulus(2, trial)
        press(Keys.TAB, Keys.ENTER)
        page.wait(lambda: not page.find("#trial .questions").get_property("disabled"))
        for _ in KEYS:
            press(Keys.TAB, Keys.SPACE, *[Keys.ARROW_RIGHT] * (score_of(one) - 1))
        press(Keys.TAB, Keys.ENTER)
        page.wait(lambda trial=trial: len(page.state()["answers"]) == trial + 1)
    assert page.is_shown("finish")
    assert "save your answers as a file" in page.find(".told").text
    press(Keys.TAB, Keys.ENTER)
    saved = tmp_path / "saved" / f"answers-{page.state()['rater']}.jsonl"
    page.wait(saved.is_file)
    assert page.errors() == []
    report = report_study(folder, [saved])
    assert len(report.counted) == 1
    assert {name: of["realness"].value for name, of in report.means.items()} == METHODS


def test_it_fits_phones_and_desks(folder: Path, open_browser: Callable[[], Any]) -> None:
    page, address = Page(open_browser(), read_study(folder)), (folder / "site" / "index.html").as_uri()
    shown = "[...document.querySelectorAll('button, .scale label')].filter(e => e.offsetParent)"
    for width in (320, 390, 1280):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        page.driver.get(address)
        if width == 320:
            assert page.is_shown("welcome")
            assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
            page.start(address)
        page.wait(lambda: page.is_shown("trial"))
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert page.driver.execute_script(f"return {shown}.length") > 15
        assert page.driver.execute_script(f"return {shown}.filter(e => e.offsetHeight < 44)") == []  # for thumbs
