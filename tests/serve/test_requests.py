"""What is taken and what is refused, with which status and words; nothing outside is read or written."""

import asyncio
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from cals.errors import ConfigError
from cals.serve import app
from cals.serve.config import RequestError, ServeConfig
from cals.serve.limits import ServeLimits
from cals.serve.service import Service
from serve_process import FACE, TOKEN, build_upload, write_noise

StartService = Callable[..., tuple[Service, TestClient]]


def list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def count_jobs(data: Path) -> int:
    return len(list((data / "jobs").iterdir()))


def test_a_job_is_queued_shown_listed_and_removed(tmp_path: Path, start_service: StartService) -> None:
    service, client = start_service()
    form = {"strength": "1.2", "length": "loop", "format": "webm", "report": "true"}
    answer = client.post("/v1/jobs", files=build_upload(tmp_path), data=form)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["frames"], job["total"], job["waiting"]) == ("queued", 0, None, 0)
    folder = service.folders.locate(job["id"])
    assert list_files(folder) == {"face", "audio"}
    assert (folder / "face").read_bytes() == FACE.read_bytes()
    stored = service.store.find(job["id"])
    assert stored is not None
    assert stored.row["strength"] == "1.2"
    assert stored.row["out"] == str(folder / "result.webm")
    other = client.post("/v1/jobs", files=build_upload(tmp_path)).json()
    assert other["waiting"] == 1
    assert [item["id"] for item in client.get("/v1/jobs?limit=5").json()] == [other["id"], job["id"]]
    assert client.get("/v1/jobs?state=done").json() == []
    assert client.get(f"/v1/jobs/{job['id']}/result").status_code == 409
    assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert not folder.exists()
    assert client.get(f"/v1/jobs/{job['id']}/events").text.count('"state": "cancelled"') == 1
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    for path in (f"/v1/jobs/{job['id']}", f"/v1/jobs/{job['id']}/events", "/v1/jobs/..%2f..%2fetc", "/v1/none"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"].count("expected")) == (404, 1)


def test_a_key_makes_one_job_of_one_request(tmp_path: Path, start_service: StartService) -> None:
    _, client = start_service()
    files, headers = build_upload(tmp_path), {"Idempotency-Key": "b3c0"}
    first = client.post("/v1/jobs", files=files, headers=headers)
    again = client.post("/v1/jobs", files=files, headers=headers)
    assert (first.status_code, again.status_code, again.json()["id"]) == (202, 200, first.json()["id"])
    other = client.post("/v1/jobs", files=files, data={"crf": "30"}, headers=headers)
    assert (other.status_code, "another one; use a new key" in other.json()["error"]) == (422, True)
    assert client.post("/v1/jobs", files=files, headers={"Idempotency-Key": "x" * 201}).status_code == 422
    assert count_jobs(tmp_path / "data") == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"strenght": "1"}, "did you mean strength?"),
        ({"out": "/etc/x.mp4"}, "expected known fields, found 'out'"),
        ({"strength": "9"}, "strength: expected 0.5 to 1.5, found 9"),
        ({"format": "../../x.mp4"}, "format: expected one of mp4"),
        ({"report": "/etc/report.json"}, "report: expected true or false"),
        ({"pose": "/etc/passwd"}, "start cals serve with --inputs"),
        ({"audio": "again"}, "a name of its own for each part"),
        ({"Strength": "1"}, "a name of its own for each part"),
    ],
)
def test_fields_are_those_of_a_batch(
    tmp_path: Path, start_service: StartService, fields: dict[str, str], text: str
) -> None:
    _, client = start_service()
    files = [*build_upload(tmp_path).items(), *((name, (None, value)) for name, value in fields.items())]
    answer = client.post("/v1/jobs", files=files)
    assert (answer.status_code, count_jobs(tmp_path / "data")) == (422, 0)
    assert text in answer.json()["error"]


def zip_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, FACE.read_bytes())
    return buffer.getvalue()


def test_names_of_uploads_are_no_paths(tmp_path: Path, start_service: StartService) -> None:
    service, client = start_service()
    for name in ("../../../x.jpg", "/etc/x.jpg", "a\\..\\b.jpg", ".", "con", "x" * 4000, "n\u00fc\u202e.jpg"):
        files = build_upload(tmp_path) | {"face": (name, FACE.read_bytes())}
        answer = client.post("/v1/jobs", files=files)
        assert answer.status_code == 202, answer.text
        assert list_files(service.folders.locate(answer.json()["id"])) == {"face", "audio"}
    assert {path.name for path in tmp_path.iterdir()} == {"data", "noise-0.2.wav"}


def test_files_that_name_other_files_are_refused(tmp_path: Path, start_service: StartService) -> None:
    _, client = start_service()
    secret = write_noise(tmp_path / "secret.wav", 1.0)
    tries = {
        "a playlist": f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
        "a zip archive": zip_of("../../evil.jpg"),
        "another kind": f"ffconcat version 1.0\nfile {secret.name}\n".encode(),
        "another kind ": f"\n\n#EXTM3U\nfile://{secret}\n".encode(),
        "another kind  ": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
        "another kind   ": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{secret}"/></svg>'.encode(),
        "an empty file": b"",
    }
    for text, data in tries.items():
        answer = client.post("/v1/jobs", files=build_upload(tmp_path) | {"audio": ("a.wav", data)})
        assert answer.status_code == 422, text
        assert text.strip() in answer.json()["error"]
        assert str(tmp_path) not in answer.text
    assert count_jobs(tmp_path / "data") == 0


def test_paths_lead_nowhere_but_below_the_inputs(tmp_path: Path, start_service: StartService) -> None:
    inputs, outside = tmp_path / "inputs", tmp_path / "outside"
    for folder in (inputs / "sub", outside):
        folder.mkdir(parents=True)
    (inputs / "sub" / "me.jpg").write_bytes(FACE.read_bytes())
    (outside / "me.jpg").write_bytes(FACE.read_bytes())
    write_noise(inputs / "a.wav")
    (inputs / "link.jpg").symlink_to(outside / "me.jpg")
    (inputs / "folder").symlink_to(outside)
    (inputs / "good.jpg").symlink_to(inputs / "sub" / "me.jpg")
    (inputs / "loop").symlink_to(inputs / "loop")
    os.mkfifo(inputs / "pipe")
    service, client = start_service(inputs=inputs)
    for face in ("sub/me.jpg", "good.jpg", "./sub/../sub/me.jpg", str(inputs / "sub" / "me.jpg")):
        answer = client.post("/v1/jobs", json={"face": face, "audio": "a.wav"})
        assert answer.status_code == 202, answer.text
        job = service.store.find(answer.json()["id"])
        assert job is not None
        assert job.row["face"] == str(inputs / "sub" / "me.jpg")
    outside_paths = ["../outside/me.jpg", str(outside / "me.jpg"), "link.jpg", "folder/me.jpg", "loop", "pipe", "sub"]
    outside_paths += ["/dev/zero", "/proc/self/environ", "none.jpg", "x\0y", "a" * 5000, "../" * 40 + "etc/passwd"]
    messages = set()
    for face in outside_paths:
        answer = client.post("/v1/jobs", json={"face": face, "audio": "a.wav"})
        assert answer.status_code == 422, face
        messages.add(answer.json()["error"].partition(", found")[0])
    assert messages == {"face: expected a file below the folder of inputs"}  # whether it exists is not told
    for face in ("http://127.0.0.1/x.jpg", "https://example.org/x", "file:///etc/passwd", "data://x", "-"):
        answer = client.post("/v1/jobs", json={"face": face, "audio": "a.wav"})
        assert (answer.status_code, "expected a file, found" in answer.json()["error"]) == (422, True), face
    for body in (b"[]", b"{", b"[" * 10_000, json.dumps({"face": ["a"], "audio": {}}).encode(), b"\xff"):
        headers = {"Content-Type": "application/json"}
        assert client.post("/v1/jobs", content=body, headers=headers).status_code == 422
    assert client.post("/v1/jobs", content=b" " * 70_000, headers=headers).status_code == 413


def test_sizes_and_lengths_have_limits(tmp_path: Path, start_service: StartService) -> None:
    _, client = start_service(max_upload_mb=0.5, max_seconds=2, max_megapixels=0.3)
    big = {"face": ("me.jpg", bytes(600_000)), "audio": ("a.wav", b"")}
    answer = client.post("/v1/jobs", files=big)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")

    def send_in_parts() -> Iterator[bytes]:  # without a length
        yield b'--x\r\nContent-Disposition: form-data; name="face"; filename="f"\r\n\r\n'
        for _ in range(100):
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/jobs", content=send_in_parts(), headers=headers)
    assert (answer.status_code, "at most 0.5 MB" in answer.json()["error"]) == (413, True)
    for header in (b"A: b\r\n" * 9000, b"A: " + b"b" * 9000):
        assert client.post("/v1/jobs", content=b"--x\r\n" + header, headers=headers).status_code == 422
    many = [(f"field_{'x' * number}", (None, "1")) for number in range(1, 8)] * 10
    assert client.post("/v1/jobs", files=many).status_code == 422
    text = {"person": (None, "9" * 20_000)}
    assert client.post("/v1/jobs", files=text).status_code == 413
    for body in (b"", b"--x\r\n", b"--y--\r\n", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb'):
        assert client.post("/v1/jobs", content=body, headers=headers).status_code == 422
    assert client.post("/v1/jobs", content=b"a=b", headers={"Content-Type": "text/plain"}).status_code == 422
    answer = client.post("/v1/jobs", files=build_upload(tmp_path, 3.0) | {"face": ("a", png_of(40, 40))})
    assert (answer.status_code, "at most 2 s" in answer.json()["error"]) == (422, True)
    answer = client.post("/v1/jobs", files=build_upload(tmp_path) | {"face": ("a", png_of(1000, 1000))})
    assert (answer.status_code, "found 1000 x 1000" in answer.json()["error"]) == (422, True)
    assert count_jobs(tmp_path / "data") == 0


def png_of(width: int, height: int) -> bytes:
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1])


def test_a_full_queue_and_a_full_disk_say_so(
    tmp_path: Path, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = start_service(max_queue=1)
    assert client.post("/v1/jobs", files=build_upload(tmp_path)).status_code == 202
    answer = client.post("/v1/jobs", files=build_upload(tmp_path))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**6}))
    client.delete(f"/v1/jobs/{client.get('/v1/jobs').json()[0]['id']}")
    assert client.post("/v1/jobs", files=build_upload(tmp_path)).status_code == 507


def test_hosts_origins_and_tokens(start_service: StartService) -> None:
    _, client = start_service(names=("api.example.org",), origins=("https://good.example",))

    def ask(path: str = "/v1/jobs", **headers: str) -> int:
        return client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()}).status_code

    assert [ask(host=host) for host in ("localhost", "localhost:8000", "127.0.0.1", "[::1]:80", "API.example.org")] == [
        200
    ] * 5
    assert [ask(host=host) for host in ("evil.example", "", "localhost.evil.example", "[x", "a@b@c")] == [421] * 5
    assert [ask(origin=origin) for origin in ("http://localhost", "https://good.example")] == [200, 200]
    assert [ask(origin=origin) for origin in ("https://evil.example", "null", "http://localhost:81")] == [403] * 3
    tokens = (
        "",
        "Bearer",
        "Bearer x",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \xfc",
    )
    for token in tokens:
        answer = client.get("/metrics", headers={b"authorization": token.encode("latin-1")})  # type: ignore[dict-item]
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), token
    assert ask(authorization=f"bearer {TOKEN}") == 200
    assert [ask(path, authorization="") for path in ("/healthz", "/docs", "/openapi.json")] == [200] * 3
    assert [ask(path, authorization="") for path in ("/healthz/", "//healthz", "/docs/../metrics")] == [401] * 3
    assert client.put("/v1/jobs").status_code == 405
    assert client.get("/v1/jobs?limit=0").json()["error"].startswith("limit: expected another value")


def test_pages_and_metrics_describe_the_server(tmp_path: Path, start_service: StartService) -> None:
    _, client = start_service(token=None)
    client.post("/v1/jobs", files=build_upload(tmp_path))
    client.get("/v1/none")
    page = client.get("/docs")
    assert "script" not in page.text + page.headers["content-security-policy"]
    for text in ("POST /v1/jobs", "Idempotency-Key", "bounce | loop", "default 1.0"):
        assert text in page.text
    schema = client.get("/openapi.json").json()["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    assert schema["multipart/form-data"]["schema"]["required"] == ["face"]
    lines = client.get("/metrics").text.splitlines()
    assert 'cals_jobs{state="queued"} 1.0' in lines
    assert 'cals_http_requests_total{method="POST",path="/v1/jobs",status="202"} 1.0' in lines
    assert 'cals_http_requests_total{method="GET",path="other",status="404"} 1.0' in lines


def test_ended_jobs_and_unfinished_uploads_are_removed(tmp_path: Path, start_service: StartService) -> None:
    service, client = start_service()
    job_id = client.post("/v1/jobs", files=build_upload(tmp_path)).json()["id"]
    stranger = service.folders.create("0" * 32)
    (stranger / "face").write_bytes(b"half an upload")
    service.folders.remove_strangers(service.store)
    assert [path.name for path in (tmp_path / "data" / "jobs").iterdir()] == [job_id]
    assert service.folders.remove_expired_jobs(service.store, 0.0) == 0  # it waits
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert service.folders.remove_expired_jobs(service.store, 3600) == 0
    assert service.folders.remove_expired_jobs(service.store, 0.0) == 1
    assert client.get(f"/v1/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"token": "short"}, "token: expected 16 or more"),
        ({"token": "with spaces in it, and long"}, "token: expected 16 or more"),
        ({"inputs": Path("/none")}, "expected a folder of inputs"),
        ({"port": 70_000}, "port: expected 0 to 65535"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ServeConfig(data=Path("x"), **settings)
    with pytest.raises(ConfigError, match="max_seconds: expected more than 0, found nan"):
        ServeLimits(max_seconds=float("nan"))


def test_a_client_that_falls_silent_is_let_go(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> None:
    service, _ = start_service()
    monkeypatch.setattr(app, "_CHUNK_TIMEOUT_S", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def read() -> list[bytes]:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        return [chunk async for chunk in app._iterate_body(request, service)]

    with pytest.raises(RequestError, match="found silence") as refused:
        asyncio.run(read())
    assert refused.value.status == 408
