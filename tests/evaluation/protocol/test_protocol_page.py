"""The page of an evaluation: well-formed, complete without a network, and in a real browser its clips play."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from test_protocol_scores import PAIR, record

from cals.data.manifest import ClipSource
from cals.evaluation.drives import RealClip, read_clip, write_wav
from cals.evaluation.protocol.comparison import MEASURES, build_tables, score_pair
from cals.evaluation.protocol.page import render_page
from cals.evaluation.protocol.report import EvaluationReport
from cals.evaluation.protocol.side_by_side import BAR_PX, SIDE_PX, join_views, write_view
from cals.face.detector import FaceDetector
from cals.media.reader import VideoReader

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "br", "link", "input", "img"}


class Reader(HTMLParser):
    """Raises where a tag is closed that is not open; collects addresses and names of sections."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(*names: str) -> EvaluationReport:
    """Three pairs of random numbers; the last one was left out."""
    results, features = [], {}
    for number in range(3):
        pair = replace(PAIR, id=f"self-{number}", face=f"anna/{number}")
        records = {"real": record(0)} | {name: record(9 * number + i + 1) for i, name in enumerate(names)}
        failed = {} if number else {names[-1]: "no <video>"}
        records = {name: one for name, one in records.items() if name not in failed}
        result, features[pair.id] = score_pair(pair, records, failed, "too dark" if number == 2 else "")
        results.append(result)
    methods = ("real", *names)
    return EvaluationReport({"corpus": "a & b"}, methods, results, build_tables(results, features, methods, 0))


@pytest.fixture(scope="module")
def site(raw: Path, detector: FaceDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a clip that plays."""
    root = tmp_path_factory.mktemp("site")
    clip = read_clip(ClipSource(name="anna/one", speaker="anna", video=raw / "anna" / "one.mp4"), detector)
    made_clip(root, clip)
    result = report("ours", "<b>theirs</b>")
    result.clips["self-0"] = ("real", "ours")
    (root / "index.html").write_text(render_page(result), encoding="utf-8")
    return root


def made_clip(root: Path, clip: RealClip) -> None:
    frames = [item.frame for item in clip.frames]
    views = {name: root / f"{name}.mp4" for name in ("real", "ours")}
    for view in views.values():
        write_view(view, clip, frames)
    write_wav(root / "sound.wav", clip.load_wav())
    join_views(root / "clips" / "self-0.mp4", views, root / "sound.wav")


def test_it_is_well_formed_and_asks_for_nothing_but_its_clips(site: Path) -> None:
    reader = Reader()
    reader.feed((site / "index.html").read_text(encoding="utf-8"))
    assert reader.open == []
    inside = [address.removeprefix("#") for address in reader.addresses if address.startswith("#")]
    assert set(inside) <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert [address for address in reader.addresses if not address.startswith("#")] == ["clips/self-0.mp4"]
    for text in ("<b>theirs</b>", "no <video>", "too dark", "a & b", "2 of 3 pairs judged", "PSNR", "Fréchet distance"):
        assert text in reader.text


def test_addresses_of_odd_names_are_quoted() -> None:
    result = report("ours")
    pair = replace(result.results[0].pair, id='a #"b" 50%')
    result.results[0] = replace(result.results[0], pair=pair)
    result.clips[pair.id] = ("real", "ours")
    reader = Reader()
    reader.feed(render_page(result))
    assert "clips/a%20%23%22b%22%2050%25.mp4" in reader.addresses


def test_the_joined_clip_has_every_view_and_the_sound(site: Path) -> None:
    with VideoReader(site / "clips" / "self-0.mp4") as reader:
        frames = list(reader)
        assert reader.format.pix_fmt == "yuv420p"
    assert len(frames) == 48
    assert (frames[0].width, frames[0].height) == (2 * SIDE_PX, SIDE_PX + BAR_PX)
    left, right = np.split(frames[20].rgb()[BAR_PX:].astype(int), 2, axis=1)
    assert np.abs(left - right).mean() < 2  # the same face twice
    assert left.std() > 20


@pytest.mark.skipif(BROWSER is None, reason="needs chromium: apt-get install chromium")
def test_a_browser_plays_the_clip_and_sorts_the_table(site: Path) -> None:
    """In a copy of the page whose title tells what happened."""
    text = (site / "index.html").read_text(encoding="utf-8")
    text = text.replace(
        "<video ", "<video onloadeddata=\"document.title='seen '+this.videoWidth+'x'+this.videoHeight\" "
    )
    text = text.replace('preload="metadata"', 'preload="auto"')
    column = "psnr"
    sort = (
        "<script>const head=[...document.querySelectorAll('.sortable th button')].find(b=>b.textContent==='PSNR');"
        "head.click();document.body.dataset.sorted=[...document.querySelectorAll('.sortable tbody tr')]"
        ".map(row=>row.cells[head.parentNode.cellIndex].textContent).join(' ')</script></body>"
    )
    assert column in MEASURES
    (site / "watched.html").write_text(text.replace("</body>", sort), encoding="utf-8")
    address = (site / "watched.html").as_uri()
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", f"--user-data-dir={site}/me")
    assert BROWSER is not None
    process = subprocess.run([BROWSER, *flags, "--dump-dom", address], capture_output=True, text=True, timeout=120)
    result = re.search(r"<title>(.*?)</title>", process.stdout)
    assert result is not None, process.stderr[-2000:]
    assert result[1] == f"seen {2 * SIDE_PX}x{SIDE_PX + BAR_PX}"
    order = re.search(r'data-sorted="([^"]*)"', process.stdout)
    assert order is not None
    numbers = [float(number) for number in order[1].split()]
    assert numbers == sorted(numbers)
    assert len(numbers) == 3
