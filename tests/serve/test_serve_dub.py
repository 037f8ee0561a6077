"""Dubs over HTTP: names in segments stand for files of the same job, and for nothing else on the server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from cals.serve.requests import read_row
from cals.serve.service import Service
from serve_process import write_noise

StartService = Callable[..., tuple[Service, TestClient]]
DUB = Path(__file__).parents[2] / "examples" / "dub"
FILE = tuple[str, tuple[str, bytes]]


def build_files(folder: Path, segments: Any = None, *voices: str, suffix: str = ".json") -> list[FILE]:
    """Build the files of a dub: a video of 3 s, perhaps segments, and voices of 0.2 s."""
    noise = write_noise(folder / "noise.wav").read_bytes()
    files = [("face", ("two.mp4", (DUB / "two-people.mp4").read_bytes()))]
    if segments is not None:
        data = segments.encode() if isinstance(segments, str) else json.dumps(segments).encode()
        files.append(("segments", (f"../talk{suffix}", data)))
    return files + [("voices", (name, noise)) for name in voices]


def count_jobs(data: Path) -> int:
    return len(list((data / "jobs").iterdir()))


def test_segments_find_voices_that_were_sent_with_them(tmp_path: Path, start_service: StartService) -> None:
    service, client = start_service()
    text = (DUB / "talk.vtt").read_text(encoding="utf-8")
    data = {"cast": ["Ann=1", "Ben=2"], "background": "keep", "report": "true"}
    answer = client.post("/v1/jobs", files=build_files(tmp_path, text, "0001.wav", "2.flac", suffix=".VTT"), data=data)
    assert answer.status_code == 202, answer.text
    folder = service.folders.locate(answer.json()["id"])
    stored = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert stored == {"face", "segments.vtt", "voices/1", "voices/2"}
    job = read_row(service.find(folder.name).row, folder)
    assert job.dub is not None
    segments, audio = job.dub.load(job.face, job.audio, job.options)
    assert [(segment.person, segment.audio) for segment in segments] == [
        ("Ann", folder / "voices" / "1"),
        ("Ben", folder / "voices" / "2"),
    ]
    assert (audio, dict(job.dub.cast), job.options.background) == (None, {"Ann": "1", "Ben": "2"}, "keep")
    service.folders.remove_uploads(folder.name)
    assert list(folder.iterdir()) == []


def test_other_kinds_of_dubs(tmp_path: Path, start_service: StartService) -> None:
    service, client = start_service()
    sound: list[FILE] = [("audio", ("a.wav", write_noise(tmp_path / "a.wav").read_bytes()))]
    files = build_files(tmp_path, None, "ann.wav", "b n.wav")
    tries: list[tuple[list[FILE], dict[str, Any]]] = [
        (files, {"speak": ["1=ann.wav", "2=b n.wav"]}),
        (files[:1] + sound, {"from": "0.5", "to": "00:00:01"}),
        (files[:1] + sound + [("voice", sound[0][1])], {}),
        (build_files(tmp_path, [{"start": 0, "end": 1, "person": 1}]) + sound, {}),
        (build_files(tmp_path, "start;end;audio\n0,1;0,2;x/a.wav", "a.wav", suffix=".csv"), {"person": "1"}),
        (build_files(tmp_path, [{"start": 0, "end": 1, "audio": "Zo\u00eb.wav"}], "Zoe\u0308.wav"), {"person": "1"}),
    ]
    for sent, data in tries:
        answer = client.post("/v1/jobs", files=sent, data=data)
        assert answer.status_code == 202, answer.text
        folder = service.folders.locate(answer.json()["id"])
        assert all(path.is_relative_to(folder) for path in read_row(service.find(folder.name).row, folder).inputs)


@pytest.mark.parametrize("voices", ["dub/voices", ["dub/voices/1.wav", "dub/voices/2.wav"]])
def test_files_below_the_inputs_are_named_in_json(
    tmp_path: Path, start_service: StartService, voices: str | list[str]
) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "dub").symlink_to(DUB)
    service, client = start_service(inputs=tmp_path / "inputs")
    body = {"face": "dub/two-people.mp4", "segments": "dub/talk.vtt", "voices": voices, "cast": ["Ann=1", "Ben=2"]}
    answer = client.post("/v1/jobs", json=body)
    assert (answer.status_code, "below the folder of inputs" in answer.text) == (422, True)  # the link leads outside
    (tmp_path / "inputs" / "dub").unlink()
    write_dub(tmp_path / "inputs" / "dub")
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    answer = client.post("/v1/jobs", json={"face": "dub/two-people.mp4", "speak": ["1=dub/voices/1.wav"]})
    assert answer.status_code == 202, answer.text
    row = service.find(answer.json()["id"]).row
    assert row["dub"]["speak"] == [["1", str(tmp_path / "inputs" / "dub" / "voices" / "1.wav")]]


def write_dub(folder: Path) -> None:
    for path in DUB.rglob("*.*"):
        copy = folder / path.relative_to(DUB)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


TRICKS = [
    "../1.wav",
    "voices/../1.wav",
    "../../../../../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "INPUTS/secret.wav",
    "JOB/face",
    "face",
    "segments.json",
    "voices/2",
    "http://127.0.0.1/1.wav",
    "https://example.org/1.wav",
    "file:///1.wav",
    "data://1.wav",
    "C:\\1.wav",
    "..\\1.wav",
    "1.wav\0",
    "1.wav\n",
    "-",
    ".",
    "concat:1.wav|2.wav",
    "x" * 5000,
    "~/1.wav",
    "inside.wav",
    "\ud800.wav",
]


def test_names_in_segments_are_never_paths(tmp_path: Path, start_service: StartService) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    write_noise(inputs / "secret.wav")
    (inputs / "inside.wav").symlink_to(inputs / "secret.wav")
    _, client = start_service(inputs=inputs)
    for trick in TRICKS:
        name = trick.replace("INPUTS", str(inputs)).replace("JOB", str(tmp_path / "data" / "jobs"))
        files = build_files(tmp_path, [{"start": 0, "end": 1, "audio": name}], "0.wav", "3.wav")
        answer = client.post("/v1/jobs", files=files, data={"person": "1"})
        assert (answer.status_code, "expected" in answer.json()["error"]) == (422, True), trick
        assert str(tmp_path / "data") not in answer.text.replace(name[:80], "")  # a name may be told as it was sent
        assert len(answer.json()["error"]) < 500
        assert "\n" not in answer.json()["error"]
    assert count_jobs(tmp_path / "data") == 0


def test_links_in_a_folder_of_voices_lead_nowhere_else(tmp_path: Path, start_service: StartService) -> None:
    inputs, outside = tmp_path / "inputs", write_noise(tmp_path / "outside.wav")
    write_dub(inputs)
    (inputs / "voices" / "2.wav").unlink()
    (inputs / "voices" / "2.wav").symlink_to(outside)
    _, client = start_service(inputs=inputs)
    body = {"face": "two-people.mp4", "segments": "talk.vtt", "voices": "voices", "cast": ["Ann=1", "Ben=2"]}
    answer = client.post("/v1/jobs", json=body)
    assert (answer.status_code, "found no 2.wav (line 8)" in answer.json()["error"]) == (422, True), answer.text
    for voices in ("..", "../outside.wav", str(outside), "voices/2.wav", "http://x/1.wav", "/dev", "none", "x\0", "-"):
        assert client.post("/v1/jobs", json=body | {"voices": voices}).status_code == 422, voices
        assert client.post("/v1/jobs", json=body | {"segments": voices}).status_code == 422, voices
        speak = {"face": "two-people.mp4", "speak": [f"1={voices}"]}
        assert client.post("/v1/jobs", json=speak).status_code == 422, voices
    (inputs / "voices" / "2.wav").unlink()
    (inputs / "voices" / "2.wav").symlink_to(inputs / "voices" / "1.wav")
    assert client.post("/v1/jobs", json=body).status_code == 202  # a link that stays inside is fine
    assert count_jobs(tmp_path / "data") == 1


ONE = {"start": 0, "end": 1, "audio": "a.wav", "person": 1}


@pytest.mark.parametrize(
    ("segments", "voices", "data", "text"),
    [
        ([ONE], ["b.wav"], {}, "expected a voice file for each segment, found no a.wav (segment 1)"),
        ([ONE], [], {}, "found no a.wav"),
        ([ONE | {"end": 9}], ["a.wav"], {}, "expected times within the video"),
        ([ONE | {"end": 10**400}], ["a.wav"], {}, "segment 1: expected a time of at most"),
        ([ONE | {"person": "Ann"}], ["a.wav"], {}, "found the name 'Ann'"),
        ([ONE], ["a.wav"], {"cast": "Zed=1"}, "cast: expected names that the segments use"),
        ([ONE], ["a.wav"], {"cast": "Zed"}, "cast: expected NAME=PERSON"),
        ([ONE, ONE], ["a.wav"], {}, "expected a start after the segment"),
        ([ONE | {"audio": "x/a.wav"}, ONE | {"audio": "y/a.wav", "person": 2}], ["a.wav"], {}, "found no y/a.wav"),
        ([{"start": 0, "end": 1}], [], {}, "expected a voice for the segment, found none"),
        ([ONE], ["a.wav"], {"speak": "1=a.wav"}, "expected one kind of dub"),
        ([ONE], ["a.wav"], {"length": "loop"}, "length: expected none for a dub"),
        ("{", ["a.wav"], {}, "expected JSON"),
        ([], ["a.wav"], {}, "expected one segment or more"),
        ("[" * 100_000, ["a.wav"], {}, "expected"),
        (" " * (1 << 20) + "[]", ["a.wav"], {}, "expected at most 1048576 bytes"),
        (None, ["a.wav"], {}, "voices: expected what they are for"),
        (None, ["a.wav"], {"speak": "a.wav"}, "speak: expected PERSON=AUDIO"),
        (None, ["a.wav"], {"speak": "1=/etc/passwd"}, "start cals serve with --inputs"),
        (None, [], {"from": "1"}, "from: expected what is said there"),
        (None, [], {"cast": "Ann=1"}, "expected one kind of dub, found none"),
        ([ONE], ["a.wav", "a.wav"], {}, "a file name of its own for each of the voices"),
        ([ONE], [""], {}, "a file name of its own for each of the voices"),
    ],
)
def test_bad_dubs_are_refused_in_one_line(
    tmp_path: Path, start_service: StartService, segments: Any, voices: list[str], data: dict[str, str], text: str
) -> None:
    _, client = start_service()
    noise = write_noise(tmp_path / "noise.wav").read_bytes()
    files: list[Any] = build_files(tmp_path, segments)
    for name in voices:
        part = f'--x\r\nContent-Disposition: form-data; name="voices"; filename="{name}"\r\n\r\n'
        files.append(part.encode() + noise + b"\r\n")
    answer = post_parts(client, files, data)
    assert (answer.status_code, text in answer.json()["error"]) == (422, True), answer.text
    assert "\n" not in answer.json()["error"]
    assert (count_jobs(tmp_path / "data"), str(tmp_path) in answer.text) == (0, False)


def post_parts(client: TestClient, files: list[Any], data: dict[str, str]) -> Any:
    """Post parts as they are, since clients leave out names that are empty."""
    body = b""
    for item in files:
        if isinstance(item, tuple):
            name, (client_name, content) = item
            head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{client_name}"\r\n\r\n'
            item = head.encode() + content + b"\r\n"
        body += item
    for name, value in data.items():
        body += f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return client.post("/v1/jobs", content=body + b"--x--\r\n", headers=headers)


def test_other_files_as_segments_and_voices_are_refused(tmp_path: Path, start_service: StartService) -> None:
    _, client = start_service()
    for suffix in (".txt", "", ".json.exe", ".json/x"):
        answer = client.post("/v1/jobs", files=build_files(tmp_path, [ONE], "a.wav", suffix=suffix))
        assert (answer.status_code, "segments: expected a file called" in answer.json()["error"]) == (422, True)
    playlist = ("voices", ("a.wav", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"))
    answer = client.post("/v1/jobs", files=[*build_files(tmp_path, [ONE]), playlist])
    assert (answer.status_code, answer.json()["error"].startswith("a.wav: expected a video")) == (422, True)
    for body in ({"speak": 1}, {"speak": {"1": "a"}}, {"voices": [["a"]]}, {"cast": [1]}, {"from": {}}):
        assert client.post("/v1/jobs", json={"face": "a", **body}).status_code == 422, body
    assert count_jobs(tmp_path / "data") == 0


def test_limits_count_all_files_together(tmp_path: Path, start_service: StartService) -> None:
    names = [f"{number}.wav" for number in range(1, 22)]
    segments = [{"start": 0, "end": 1, "person": 1}]
    size = sum(len(content) for _, (_, content) in build_files(tmp_path, segments, *names))
    _, client = start_service(max_upload_mb=1.1e-6 * size, max_seconds=4)
    answer = client.post("/v1/jobs", files=build_files(tmp_path, segments, *names))
    assert (answer.status_code, "at most 4 s together, found 4" in answer.json()["error"]) == (422, True), answer.text
    answer = client.post("/v1/jobs", files=build_files(tmp_path, segments, *names, *(f"x{name}" for name in names)))
    assert (answer.status_code, " MB, found more" in answer.json()["error"]) == (413, True), answer.text
    assert client.post("/v1/jobs", files=build_files(tmp_path, segments, *names[:19])).status_code == 202
    photo = [("face", ("me.jpg", (DUB.parent / "astronaut.jpg").read_bytes()))]
    late = build_files(tmp_path, [{"start": 5, "end": 6, "person": 1}], "1.wav")[1:]
    answer = client.post("/v1/jobs", files=photo + late)
    assert (answer.status_code, "expected times within the video (4.000 s)" in answer.json()["error"]) == (422, True)
    many = [("voices", (f"{number}", b"")) for number in range(1002)]
    answer = client.post("/v1/jobs", files=many)
    assert (answer.status_code, "1000 voices" in answer.json()["error"]) == (413, True)
    assert count_jobs(tmp_path / "data") == 1


def test_segments_that_take_long_are_given_up(
    tmp_path: Path, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cals.serve.checker._LIMIT_S", 3)
    _, client = start_service()
    segments = "WEBVTT\n\n00:00.000 --> 00:01.000\n" + "<v " * 300_000
    answer = client.post("/v1/jobs", files=build_files(tmp_path, segments, "1.wav", suffix=".vtt"))
    assert (answer.status_code, "segments: expected some that can be read" in answer.json()["error"]) == (422, True)
    assert client.post("/v1/jobs", files=build_files(tmp_path, [ONE], "a.wav")).status_code == 202


def test_a_key_tells_dubs_apart(tmp_path: Path, start_service: StartService) -> None:
    _, client = start_service()
    files, headers = build_files(tmp_path, [ONE], "a.wav", "b.wav"), {"Idempotency-Key": "one"}
    assert client.post("/v1/jobs", files=files, headers=headers).status_code == 202
    assert client.post("/v1/jobs", files=files, headers=headers).status_code == 200
    other = [*files[:-1], ("voices", ("c.wav", files[-1][1][1]))]
    assert client.post("/v1/jobs", files=other, headers=headers).status_code == 422


def test_the_page_describes_dubs(start_service: StartService) -> None:
    _, client = start_service()
    content = client.get("/openapi.json").json()["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    form, body = (content[kind]["schema"]["properties"] for kind in ("multipart/form-data", "application/json"))
    assert form["voices"]["items"] == {"type": "string", "format": "binary"}
    assert body["voices"]["items"] == body["speak"]["items"] == {"type": "string"}
    assert body.keys() == form.keys() >= {"segments", "voice", "cast", "from", "to", "background"}
    assert "Voices of the segments" in client.get("/docs").text
