"""The study's server: ranges, nothing but the site, no answer twice, several raters at once, and odd requests."""

import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from opinion_studies import VIDEO, answer_all, answer_trial, attentive, build_study, name_rater, write_study

from cals.errors import ConfigError, DataError
from cals.evaluation.opinion.answers import AnswerBook, read_answers
from cals.evaluation.opinion.server import MAX_BYTES, StudyServer

STUDY = build_study()
SCORES = {"quality": 3, "sync": 4, "realness": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", STUDY)


@pytest.fixture
def server(folder: Path) -> Iterator[StudyServer]:
    with StudyServer(folder, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: StudyServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()


def post(server: StudyServer, path: str, document: Any) -> tuple[int, Any]:
    status, _, body = ask(server, "POST", path, json.dumps(document).encode(), Content_Type="application/json")
    return status, json.loads(body)


def enter(server: StudyServer, rater: str, **more: object) -> tuple[int, Any]:
    return post(server, "/enter", {"study": STUDY.id, "rater": rater, **more})


def lines(folder: Path, rater: str) -> list[dict[str, Any]]:
    text = (folder / "answers" / f"{rater}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_site_is_served_with_headers_that_say_nothing_of_the_machine(server: StudyServer) -> None:
    for path in ("/", "/index.html", "/?number=3"):
        status, headers, body = ask(server, "GET", path)
        assert (status, body) == (200, b"<p>a page</p>")
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert headers["Server"].strip() == "cals"
        assert "Last-Modified" not in headers
    status, headers, body = ask(server, "HEAD", "/videos/v.mp4")
    assert (status, headers["Content-Length"], body) == (200, "1000", b"")


@pytest.mark.parametrize(
    ("wanted", "status", "part"),
    [
        ("bytes=0-", 200, VIDEO),
        ("bytes=10-19", 206, VIDEO[10:20]),
        ("bytes=990-5000", 206, VIDEO[990:]),
        ("bytes=-3", 206, VIDEO[-3:]),
        ("bytes=-5000", 200, VIDEO),
        ("bytes=999-", 206, VIDEO[999:]),
        ("bytes=1000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=20-10", 200, VIDEO),
        ("bytes=0-1,5-6", 200, VIDEO),
        ("bytes=-", 200, VIDEO),
        ("bytes=" + "9" * 5000 + "-", 200, VIDEO),
        ("pages=1-2", 200, VIDEO),
    ],
)
def test_ranges(server: StudyServer, wanted: str, status: int, part: bytes | None) -> None:
    code, headers, body = ask(server, "GET", "/videos/v.mp4", Range=wanted)
    assert code == status
    if part is not None:
        assert body == part
        assert headers["Content-Type"] == "video/mp4"
    if status == 206:
        first, last = headers["Content-Range"].removeprefix("bytes ").removesuffix("/1000").split("-")
        assert VIDEO[int(first) : int(last) + 1] == part
    if status == 416:
        assert headers["Content-Range"] == "bytes */1000"


@pytest.mark.parametrize(
    "path",
    [
        "/../key.json",
        "/videos/../../key.json",
        "/%2e%2e/key.json",
        "/..%2fkey.json",
        "/key.json",
        "//key.json",
        "/../answers/x.jsonl",
        "/etc/passwd",
        "/videos/",
        "/videos",
        "/linked.html",
        "/notes.txt",
        "/videos/v.mp4/",
        "/index.html%00.mp4",
    ],
)
def test_nothing_else_is_served(folder: Path, path: str) -> None:
    (folder / "site" / "linked.html").symlink_to(folder / "key.json")
    (folder / "site" / "notes.txt").write_text("mine")
    with StudyServer(folder, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with closing(socket.create_connection(server.server_address[:2], timeout=20)) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            reply = b"".join(iter(lambda: raw.recv(1 << 16), b""))
        thread.join()
    assert reply.split()[1] == b"404"
    assert b"method" not in reply


def test_answers_are_kept_once_and_hold_nothing_but_answers(server: StudyServer, folder: Path) -> None:
    rater = name_rater(0)
    assert enter(server, rater) == (200, {"number": 0})
    answers = [asdict(answer_trial(STUDY, 0, trial, SCORES)) for trial in range(3)]
    told = [one | {"agent": "a browser", "scores": dict(SCORES)} for one in answers]
    ids = [f"{rater}-{trial}" for trial in range(3)]
    assert post(server, "/answers", {"answers": told[:2]}) == (200, {"kept": ids[:2]})
    changed = told[0] | {"scores": dict.fromkeys(SCORES, 1)}
    assert post(server, "/answers", {"answers": [changed, *told[1:], told[2]]}) == (200, {"kept": [*ids, ids[2]]})
    assert lines(folder, rater) == [{"study": STUDY.id, "rater": rater, "number": 0}, *answers]
    assert enter(server, rater) == (200, {"number": 0})  # the reply was lost, say
    assert len(lines(folder, rater)) == 4


def test_raters_who_come_at_once_get_different_plans(server: StudyServer, folder: Path) -> None:
    count = len(STUDY.plans)

    def take_part(index: int) -> int:
        rater = name_rater(index)
        number = enter(server, rater)[1]["number"]
        video = [STUDY.names[one] for one in STUDY.plans[number]]
        for trial in range(4):
            one = {"study": STUDY.id, "rater": rater, "number": number, "trial": trial, "video": video[trial]}
            assert post(server, "/answers", {"answers": [one | {"scores": SCORES}]})[0] == 200
        return int(number)

    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(take_part, range(count)))
    assert sorted(numbers) == list(range(count))
    answers, damaged = read_answers(sorted((folder / "answers").iterdir()), STUDY)
    assert (len(answers), damaged) == (4 * count, 0)
    assert enter(server, name_rater(count))[1] == {"number": 0}  # all are taken once: the first again


def test_a_server_that_starts_again_goes_on(folder: Path) -> None:
    answers = answer_all(STUDY, 1, attentive(lambda one: 4))
    book = AnswerBook(folder / "answers", STUDY)
    assert [book.enter(name_rater(number)) for number in range(3)] == [0, 1, 2]
    book.add(answers[:5])
    cut = folder / "answers" / f"{name_rater(2)}.jsonl"
    cut.write_bytes(cut.read_bytes() + b'{"study": "0123456789ab", "ra')
    book = AnswerBook(folder / "answers", STUDY)
    assert [book.enter(name_rater(number)) for number in (3, 2, 1)] == [3, 2, 1]
    book.add(answers)
    book.add([answer_trial(STUDY, 2, 0, SCORES)])
    assert book.count() == (4, 1)
    result, damaged = read_answers((folder / "answers").iterdir(), STUDY)
    assert Counter(one.rater for one in result) == {name_rater(1): len(answers), name_rater(2): 1}
    assert damaged == 1
    # The file of one who gave up is taken away: the plan is free again. One whose file is gone keeps the number.
    (folder / "answers" / f"{name_rater(0)}.jsonl").unlink()
    book = AnswerBook(folder / "answers", STUDY)
    assert book.enter(name_rater(9)) == 0
    assert book.enter(name_rater(0), 0) == 0


GOOD = asdict(answer_trial(STUDY, 0, 0, SCORES))


@pytest.mark.parametrize(
    "change",
    [
        {"study": "ffffffffffff"},
        {"rater": "../../x"},
        {"rater": name_rater(0).upper().replace("0", "G")},
        {"number": -1},
        {"number": True},
        {"number": 10**6},
        {"number": 1},
        {"trial": len(STUDY.stimuli)},
        {"trial": "0"},
        {"video": STUDY.names[STUDY.plans[0][1]]},
        {"scores": {"quality": 3, "sync": 4}},
        {"scores": SCORES | {"name": 3}},
        {"scores": SCORES | {"sync": 6}},
        {"scores": SCORES | {"sync": 0}},
        {"scores": SCORES | {"sync": True}},
        {"scores": SCORES | {"sync": 4.5}},
        {"scores": [3, 4, 5]},
    ],
)
def test_answers_that_do_not_fit_are_refused_whole(
    server: StudyServer, folder: Path, change: dict[str, object]
) -> None:
    enter(server, name_rater(0))
    second = asdict(answer_trial(STUDY, 0, 1, SCORES))
    assert post(server, "/answers", {"answers": [second, GOOD | change]})[0] == 409
    assert len(lines(folder, name_rater(0))) == 1
    assert post(server, "/answers", {"answers": [second, GOOD]})[0] == 200
    assert [path.name for path in (folder / "answers").iterdir()] == [f"{name_rater(0)}.jsonl"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {}, 415),
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"x" * 10, {"Content_Type": "application/json", "Content_Length": str(MAX_BYTES + 1)}, 413),
        (b"x" * 10, {"Content_Type": "application/json", "Content_Length": "9" * 5000}, 413),
        (b"{}", {"Content_Type": "application/json", "Content_Length": "-2"}, 411),
        (b"0\r\n\r\n", {"Content_Type": "application/json", "Transfer_Encoding": "chunked"}, 411),
        (b"no json", {"Content_Type": "application/json"}, 400),
        (b"[" * MAX_BYTES, {"Content_Type": "application/json"}, 400),
        (b"[]", {"Content_Type": "application/json"}, 400),
        (b"\xff\xfe{", {"Content_Type": "application/json"}, 400),
        (b'{"answers": 3}', {"Content_Type": "application/json"}, 400),
        (b'{"answers": [3]}', {"Content_Type": "application/json"}, 409),
    ],
)
def test_odd_requests_get_an_answer(server: StudyServer, body: bytes, headers: dict[str, str], status: int) -> None:
    assert ask(server, "POST", "/answers", body, **headers)[0] == status
    assert ask(server, "GET", "/")[0] == 200


def test_odd_raters_are_refused(server: StudyServer, folder: Path) -> None:
    for rater in ("", "a" * 15, "../0123456789abc", 3, None, ["a"]):
        assert post(server, "/enter", {"study": STUDY.id, "rater": rater})[0] == 400
    assert post(server, "/enter", {"study": "other", "rater": name_rater(1)})[0] == 400
    assert ask(server, "PUT", "/index.html", b"x")[0] == 501
    assert ask(server, "POST", "/index.html", b"{}", Content_Type="application/json")[0] == 400
    assert not list((folder / "answers").iterdir())


def test_it_says_where_it_cannot_run(folder: Path, server: StudyServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another --port"):
        StudyServer(folder, "127.0.0.1", server.server_port)
    with pytest.raises(ConfigError, match="another --port"):
        StudyServer(folder, "127.0.0.1", 1 << 20)
    with pytest.raises(DataError, match="cals study make"):
        StudyServer(tmp_path, "127.0.0.1", 0)
    assert server.address == f"http://127.0.0.1:{server.server_port}/"


def test_nothing_of_a_rater_is_logged(server: StudyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    ask(server, "GET", "/", User_Agent="a telling browser")
    post(server, "/answers", {"answers": [3]})
    assert caplog.records
    assert "127.0.0.1" not in caplog.text
    assert "telling" not in caplog.text
