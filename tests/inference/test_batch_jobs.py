"""Tables of jobs: what they may say, and one clear line for what they may not."""

from pathlib import Path

import pytest

from cals.errors import ConfigError
from cals.inference.batch_jobs import read_jobs

HEADER = "face,audio,out"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_csv_and_json_lines_say_the_same(tmp_path: Path) -> None:
    csv = write(
        tmp_path,
        "jobs.csv",
        "\ufeffface, audio ,out,report,pose,keep_going,strength,crf,person,audio_track\r\n"
        'a.mp4,/b.wav,"one, two.mp4",r.json,p.mp4,yes,1.2,28,2,eng\r\n'
        "\r\n"
        "a.mp4,/b.wav,three.mp4,,,,,,,\r\n",
    )
    lines = write(
        tmp_path,
        "jobs.jsonl",
        '{"face": "a.mp4", "audio": "/b.wav", "out": "one, two.mp4", "report": "r.json", "pose": "p.mp4", '
        '"keep_going": true, "strength": 1.2, "crf": 28, "person": 2, "audio_track": "eng"}\n'
        "\n\n"
        '{"face": "a.mp4", "audio": "/b.wav", "out": "three.mp4", "strength": null}',
    )
    first, second = read_jobs(csv)
    assert (first.face, first.audio, first.out) == (tmp_path / "a.mp4", Path("/b.wav"), tmp_path / "one, two.mp4")
    assert first.inputs == (tmp_path / "a.mp4", Path("/b.wav"), tmp_path / "p.mp4")
    assert first.outputs == (tmp_path / "one, two.mp4", tmp_path / "r.json")
    assert (first.options.keep_going, first.options.strength, first.options.person) == (True, 1.2, "2")
    assert (first.encode.crf, first.options.audio_track, first.line, second.line) == (28, "eng", 2, 4)
    assert (second.options.strength, second.encode.crf, second.report) == (1.0, None, None)
    assert [job.__dict__ | {"line": 0} for job in read_jobs(lines)] == [
        job.__dict__ | {"line": 0} for job in (first, second)
    ]


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("jobs.txt", "x", ["in .csv or .jsonl, found '.txt'"]),
        ("jobs.csv", "", ["a job a row, found none"]),
        ("jobs.csv", HEADER + "\n", ["a job a row, found none"]),
        ("jobs.jsonl", "\n", ["a job a row, found none"]),
        ("jobs.csv", "face;audio;out\na;b;c.mp4\n", ["line 1", "commas between the columns, found ';'"]),
        ("jobs.csv", "face,audio,out,lenght\na,b,c.mp4,loop\n", ["line 1", "found 'lenght'; did you mean length?"]),
        ("jobs.csv", "face,out\na,c.mp4\n", ["line 1", "found no audio"]),
        ("jobs.csv", "face,audio,out,face\na,b,c.mp4,d\n", ["line 1", "face again"]),
        ("jobs.csv", HEADER + "\na,b,c.mp4\na,b\n", ["line 3", "expected 3 cells, found 2"]),
        ("jobs.csv", HEADER + ",voice,who_speaks\na,b,c.mp4,d,auto\n", ["line 2", "voice: expected none in a dub"]),
        ("jobs.csv", HEADER + "\na,,c.mp4\n", ["line 2", "a file as audio, found none"]),
        ("jobs.csv", HEADER + '\na,b,"c.mp4\n', ["expected comma-separated cells"]),
        ("jobs.csv", HEADER + ",strength\na,b,c.mp4,loud\n", ["line 2", "a number as strength, found 'loud'"]),
        ("jobs.csv", HEADER + ",strength\na,b,c.mp4,9\n", ["line 2", "strength: expected 0.5 to 1.5, found 9"]),
        ("jobs.csv", HEADER + ",length\na,b,c.mp4,x\n", ["line 2", "length: expected one of bounce"]),
        ("jobs.csv", HEADER + ",keep_going\na,b,c.mp4,maybe\n", ["line 2", "true or false as keep_going"]),
        ("jobs.csv", HEADER + "\na,b,c.mp4\na,b,./c.mp4\n", ["line 3", "c.mp4, which is an output of line 2"]),
        ("jobs.csv", HEADER + "\na,b,c.mp4\nc.mp4,b,d.mp4\n", ["line 2", "which is an input of line 3"]),
        ("jobs.csv", HEADER + "\na.mp4,b,a.mp4\n", ["line 2", "which is an input of line 2"]),
        ("jobs.csv", HEADER + "\na,b,jobs.csv\n", ["line 2", "rename it"]),
        ("jobs.csv", HEADER + "\na,jobs.csv,c.mp4\n", ["line 2", "an input that nothing is written to"]),
        ("jobs.csv", HEADER + ",report\na,b,c.mp4,jobs.csv\n", ["line 2", "an output of its own"]),
        ("jobs.csv", HEADER + "\na,b,c.txt\n", ["line 2", "out: expected a name that ends in .mp4"]),
        ("jobs.csv", HEADER + ",person\na,b,c.mp4,Bob\n", ["line 2", "person: expected largest"]),
        ("jobs.csv", HEADER + ",codec\na,b,c.mp4,foo\n", ["line 2", "codec: expected auto"]),
        ("jobs.csv", HEADER + ",preset\na,b,c.mp4,foo\n", ["line 2", "preset: expected one of ultrafast"]),
        ("jobs.csv", HEADER + ",crf\na,b,c.mp4,99\n", ["line 2", "crf: expected 0 to 51"]),
        ("jobs.csv", "face,out,segments\na,c.mp4,none.srt\n", ["line 2", "none.srt: expected a file that can be read"]),
        ("jobs.csv", "face,out,speak\na,c.mp4,1\n", ["line 2", "speak: expected PERSON=AUDIO"]),
        ("jobs.csv", HEADER + ",cast\na,b,c.mp4,Ann=1\n", ["line 2", "dub: expected one kind of dub, found none"]),
        ("jobs.csv", HEADER + "\na,b,nowhere/c.mp4\n", ["line 2", "an existing folder", "create it first"]),
        ("jobs.jsonl", '{"face":"a","audio":"b","out":"c.mp4"}\n' + "\n" * 5 + '{"face": "a",\n', ["line 7", "JSON"]),
        ("jobs.jsonl", '["a","b","c.mp4"]\n', ["line 1", "a JSON object, found list"]),
        ("jobs.jsonl", '{"face":["a"],"audio":"b","out":"c.mp4"}\n', ["line 1", 'as face, found ["a"]']),
        ("jobs.jsonl", '{"face":"a\\u0000","audio":"b","out":"c.mp4"}\n', ["line 1", "zero byte"]),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, name: str, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        read_jobs(write(tmp_path, name, text))
    message = str(error.value)
    assert "\n" not in message
    assert all(part in message for part in [name, *parts]), message


def test_dubs_are_rows_too(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    for name in ("voices/1.wav", "ann.wav", "ben.wav"):
        write(tmp_path, name, "")
    write(tmp_path, "talk.srt", "1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    table = write(
        tmp_path,
        "jobs.csv",
        "face,audio,out,segments,audio_dir,speak,cast,from\n"
        "a.mp4,,one.mp4,talk.srt,voices,,Ann=1;Ben=2,\n"
        "a.mp4,,two.mp4,,,1=ann.wav; 2=ben.wav,,\n"
        "a.mp4,ann.wav,three.mp4,,,,,12.5\n",
    )
    first, second, third = read_jobs(table)
    assert first.dub is not None
    assert first.dub.cast == {"Ann": "1", "Ben": "2"}
    assert set(first.inputs) == {tmp_path / name for name in ("a.mp4", "talk.srt", "voices/1.wav")}
    assert second.dub is not None
    assert second.dub.speak == (("1", tmp_path / "ann.wav"), ("2", tmp_path / "ben.wav"))
    assert third.dub is not None
    assert (third.dub.start, third.audio) == ("12.5", tmp_path / "ann.wav")
    lines = write(
        tmp_path,
        "jobs.jsonl",
        '{"face": "a.mp4", "out": "two.mp4", "speak": ["1=ann.wav", "2=ben.wav"]}\n'
        '{"face": "a.mp4", "audio": "ann.wav", "out": "three.mp4", "from": 12.5}\n',
    )
    assert [job.dub for job in read_jobs(lines)] == [second.dub, third.dub]


def test_other_encodings_and_missing_tables_are_told(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes((HEADER + "\na,b,c.mp4\n").encode("utf-16"))
    with pytest.raises(ConfigError, match="line 1: expected UTF-8"):
        read_jobs(tmp_path / "jobs.csv")
    with pytest.raises(ConfigError, match="No such file"):
        read_jobs(tmp_path / "none.csv")
