"""Segments of a dub are read from any of the formats, and what is wrong with a file is told with its line."""

import json
import logging
import re
from fractions import Fraction
from pathlib import Path

import pytest

from cals.errors import ConfigError, DataError
from cals.inference.dub_segments import DubSegment, check_duration, load_segments
from cals.inference.dub_voices import NamedVoices
from cals.inference.subtitles import parse_time

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "dub.md"
SRT = """1
00:00:01,000 --> 00:00:02,500
Hello,
<i>world</i>

2
00:00:03,040 --> 00:00:04,000
{\\an8}Good bye
"""
VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: white }

NOTE 00:00 is the beginning

intro
00:01.000 --> 00:02.500 align:start
<v.loud Anna Smith>Hello, <i>world</i></v>

NOTE
not said

00:00:03.040 --> 00:00:04.000
Salt &amp; pepper
"""
TIMES = [(Fraction(1), Fraction(5, 2)), (Fraction(76, 25), Fraction(4))]


def write(tmp_path: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def add_voices(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def times_of(segments: list[DubSegment]) -> list[tuple[Fraction, Fraction]]:
    return [(segment.start_s, segment.end_s) for segment in segments]


def test_srt(tmp_path: Path) -> None:
    path = write(tmp_path, "a.srt", SRT)
    assert load_segments(path) == [
        DubSegment(start_s=Fraction(1), end_s=Fraction(5, 2), text="Hello, world"),
        DubSegment(start_s=Fraction(76, 25), end_s=Fraction(4), text="Good bye"),
    ]
    assert [segment.source for segment in load_segments(path)] == [f"{path}, line 2", f"{path}, line 7"]


def test_vtt(tmp_path: Path) -> None:
    assert load_segments(write(tmp_path, "a.vtt", VTT)) == [
        DubSegment(start_s=Fraction(1), end_s=Fraction(5, 2), person="Anna Smith", text="Hello, world"),
        DubSegment(start_s=Fraction(76, 25), end_s=Fraction(4), text="Salt & pepper"),
    ]


@pytest.mark.parametrize("form", ["list", "object"])
def test_json(tmp_path: Path, form: str) -> None:
    voices = add_voices(tmp_path, "a.wav", "b.mp3")
    segments = [
        {"start": "00:00:03.040", "end": 4, "audio": "b.mp3", "speaker": "Anna", "text": None},
        {"start": 1.0, "end": 2.5, "audio": str(voices / "a.wav"), "person": "2", "strength": 1.2, "text": "Hello"},
    ]
    path = write(tmp_path, "a.json", json.dumps(segments if form == "list" else {"segments": segments}))
    assert load_segments(path) == [
        DubSegment(
            start_s=Fraction(1), end_s=Fraction(5, 2), audio=voices / "a.wav", person=2, strength=1.2, text="Hello"
        ),
        DubSegment(start_s=Fraction(76, 25), end_s=Fraction(4), audio=voices / "b.mp3", person="Anna"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'Start,end,Speaker,strength,text\n1,2.5,2,1.2,"Hello, world"\n\n0:03.04,00:00:04,Anna,,\n'),
        ("a.csv", "start;end;person;strength;text\r\n1,0;2,5;2;1,2;Hello, world\r\n3,04;4;Anna\r\n"),
        ("a.tsv", "start\tend\tperson\tstrength\ttext\n1\t2.5\t2\t1.2\tHello, world\n3.04\t4\tAnna\t\t"),
    ],
)
def test_csv(tmp_path: Path, name: str, text: str) -> None:
    assert load_segments(write(tmp_path, name, text)) == [
        DubSegment(start_s=Fraction(1), end_s=Fraction(5, 2), person=2, strength=1.2, text="Hello, world"),
        DubSegment(start_s=Fraction(76, 25), end_s=Fraction(4), person="Anna"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("point.srt", SRT.replace(",0", ".0").replace(",5", ".5")),
        ("comma.vtt", VTT.replace(".0", ",0").replace(".5", ",5")),
        ("no-blank-line.srt", SRT.replace("\n\n", "\n")),
        ("no-blank-line.vtt", "WEBVTT\n00:01.000 --> 00:02.500\nHello, world\n00:03.040 --> 00:04.000\nGood bye"),
        ("double-line-ends.srt", SRT.replace("\n", "\r\r\n")),
        ("text.srt", SRT.replace("Good bye", "Good bye\n\n12:30\nNOTE a --> b")),
        ("windows.srt", SRT.replace("\n", "\r\n")),
        ("macintosh.vtt", VTT.replace("\n", "\r")),
        ("no-header.vtt", VTT.split("\n", 8)[-1]),
        ("srt-in-disguise.vtt", SRT),
        ("spaces.srt", SRT.replace(" --> ", "-->").replace("00:00:01", "  00:00:01")),
        ("coordinates.srt", SRT.replace("02,500", "02,500 X1:100 X2:200")),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_subtitles_as_programs_write_them(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    segments = load_segments(write(tmp_path, name, text, encoding))
    assert times_of(segments) == TIMES
    assert segments[0].text == "Hello, world"


@pytest.mark.parametrize("said", ["10:30 to 11:45 is lunch", "3:15 bis 4:30", "1:2 - 2:1", "Press A --> B"])
def test_times_in_what_is_said_are_no_timings(tmp_path: Path, said: str) -> None:
    segments = load_segments(write(tmp_path, "a.srt", SRT.replace("Hello,\n<i>world</i>", said)))
    assert times_of(segments) == TIMES
    assert segments[0].text == said


def test_the_examples_of_the_guide_are_valid(tmp_path: Path) -> None:
    add_voices(tmp_path / "voices", "1.wav", "2.wav")
    blocks = re.findall(r"```(json|text)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["json", "text"]
    for (_, text), name in zip(blocks, ("a.json", "a.csv"), strict=True):
        segments = load_segments(write(tmp_path, name, text))
        assert times_of(segments) == [(Fraction(1), Fraction(7, 2)), (Fraction(257, 4), Fraction(67))]
        assert [segment.person for segment in segments] == [2, "Anna"]


def test_other_encodings_are_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "a.srt", SRT.replace("Hello", "Grüße …"), "cp1252")
    assert load_segments(path)[0].text == "Grüße …, world"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "UTF-8" in caplog.text


def test_long_recordings(tmp_path: Path) -> None:
    path = write(tmp_path, "a.srt", SRT.replace("00:00:03", "100:00:03").replace("00:00:04", "100:00:04"))
    assert load_segments(path)[1].start_s == 360_000 + Fraction(76, 25)


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("0", Fraction(0)),
        ("12.345", Fraction(2469, 200)),
        ("12,5", Fraction(25, 2)),
        (" 1:02.5 ", Fraction(125, 2)),
        ("01:00:00", Fraction(3600)),
        ("100:59:59,999", Fraction(363_599_999, 1000)),
    ],
)
def test_times_are_exact(text: str, time_s: Fraction) -> None:
    assert parse_time(text) == time_s


@pytest.mark.parametrize(
    "text", ["", "-1", "1:60", "1:60:00", "1.000,5", "12:00:00:05", "1e3", "1/2", "ten", "nan", "١٢", "1 000"]
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_time(text)


@pytest.mark.parametrize(
    "names", [["1.wav", "2.wav"], ["0001.MP3", "0002.flac"], ["01.m4a", "2.ogg", "2.txt", "3.wav"]]
)
def test_voices_by_number(tmp_path: Path, names: list[str]) -> None:
    voices = add_voices(tmp_path / "voices", *names)
    segments = load_segments(write(tmp_path, "a.srt", SRT), voices)
    assert [segment.audio for segment in segments] == [voices / names[0], voices / names[1]]


def test_the_number_of_the_cue_comes_before_its_place(tmp_path: Path) -> None:
    voices = add_voices(tmp_path / "voices", "1.wav", "2.wav", "7.wav", "intro.wav")
    srt = write(tmp_path, "a.srt", SRT.replace("2\n00:00:03", "7\n00:00:03"))
    assert [segment.audio for segment in load_segments(srt, voices)] == [voices / "1.wav", voices / "7.wav"]
    vtt = write(tmp_path, "a.vtt", VTT)
    assert [segment.audio for segment in load_segments(vtt, voices)] == [voices / "intro.wav", voices / "2.wav"]


def test_voices_that_the_file_names_are_in_the_folder_or_beside_it(tmp_path: Path) -> None:
    voices = add_voices(tmp_path / "voices", "x.wav", "2.opus")
    path = write(tmp_path, "a.csv", "start,end,audio\n1,2,voices/x.wav\n")
    assert load_segments(path)[0].audio == voices / "x.wav"
    path = write(tmp_path, "a.csv", "start,end,audio\n1,2,x.wav\n3,4,\n")
    assert [segment.audio for segment in load_segments(path, voices)] == [voices / "x.wav", voices / "2.opus"]


def test_the_first_three_missing_voices_are_named(tmp_path: Path) -> None:
    text = "start,end,audio\n" + "".join(f"{i},{i + 1},{i}.wav\n" for i in range(6))
    add_voices(tmp_path, "1.wav")
    path = write(tmp_path, "a.csv", text)
    with pytest.raises(DataError) as error:
        load_segments(path)
    named = ", ".join(f"{tmp_path / f'{i}.wav'} (line {i + 2})" for i in (0, 2, 3))
    assert f"found no {named} and 2 more;" in str(error.value)


def test_voices_have_to_be_told_apart(tmp_path: Path) -> None:
    voices = add_voices(tmp_path / "voices", "1.wav", "01.mp3", "2.wav")
    with pytest.raises(DataError, match=r"a\.srt, line 2: expected one voice file .* 01\.mp3 and 1\.wav"):
        load_segments(write(tmp_path, "a.srt", SRT), voices)
    with pytest.raises(DataError, match=r"b\.srt, line 7: expected a number of its own.*found 2 as at .*line 2"):
        load_segments(write(tmp_path, "b.srt", SRT.replace("1\n00:00:01", "2\n00:00:01")), voices)
    with pytest.raises(ConfigError, match="expected a folder with voice files"):
        load_segments(write(tmp_path, "a.srt", SRT), tmp_path / "nowhere")


def test_persons_may_speak_at_once_but_not_with_themselves(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "start,end,person\n1,3,2\n2,4,Anna\n3,5,2\n")
    assert [segment.person for segment in load_segments(path)] == [2, "Anna", 2]
    path = write(tmp_path, "a.csv", "start,end,person\n4,5,2\n1,3,2\n2.5,3.5,1\n2.9,4,2\n")
    with pytest.raises(DataError, match=r"line 5: expected a start after the segment of 2 at .*line 3 ends \(3\.000 s"):
        load_segments(path)
    path = write(tmp_path, "a.srt", SRT.replace("00:00:03,040", "00:00:02,499"))
    with pytest.raises(DataError, match=r"line 7: expected a start after the segment at .*line 2 ends \(2\.500"):
        load_segments(path)


def test_segments_end_with_the_video(tmp_path: Path) -> None:
    segments = load_segments(write(tmp_path, "a.srt", SRT))
    check_duration(segments, Fraction(4))
    check_duration(segments, Fraction(4) - Fraction(1, 2000))
    with pytest.raises(DataError, match=r"line 7: expected times within the video \(3\.900 s\), found 3\.040 s to 4"):
        check_duration(segments, Fraction(39, 10))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.srt", "", "found none"),
        ("a.csv", "start,end\n", "found none"),
        ("a.json", "[]", "found none"),
        ("a.json", "", r"line 1: expected JSON"),
        ("a.json", '[{"start": 1,\n"end" 2}]', r"line 2: expected JSON"),
        ("a.json", "[" * 100_000, "expected JSON"),
        ("a.json", f"[{'1' * 5000}]", "expected JSON"),
        ("a.json", "3", "expected a list of segments"),
        ("a.json", '{"cues": []}', r"expected only segments, found 'cues'"),
        ("a.json", "[[1, 2]]", "segment 1: expected an object"),
        ("a.json", '[{"start": 1, "end": 2}, {"start": 3}]', "segment 2: .* found no end"),
        ("a.json", '[{"start": 1, "end": 2, "speeker": "A"}]', "found 'speeker'; did you mean speaker?"),
        ("a.json", '[{"start": true, "end": 2}]', "expected seconds"),
        ("a.json", '[{"start": 1, "end": NaN}]', "expected seconds"),
        ("a.json", '[{"start": -1, "end": 2}]', "start: expected 0 or more"),
        ("a.json", '[{"start": 1, "end": 2, "strength": 3}]', r"strength: expected 0\.5 to 1\.5"),
        ("a.json", '[{"start": 1, "end": 2, "strength": NaN}]', r"strength: expected 0\.5 to 1\.5"),
        ("a.json", '[{"start": 1, "end": 2, "strength": []}]', "strength: expected a number"),
        ("a.json", '[{"start": 1, "end": 2, "person": 1.5}]', "person: expected a number or a name"),
        ("a.json", '[{"start": 1, "end": 2, "person": 1, "speaker": 1}]', "found both"),
        ("a.json", '[{"start": 1, "end": 2, "audio": 7}]', "audio: expected text"),
        ("a.csv", "begin,end\n1,2\n", "line 1: expected only start, .* found 'begin'"),
        ("a.csv", "start,end\n1,2\n3,3\n", r"line 3: end: expected a time after the start \(3\.000 s\), found 3\.000"),
        ("a.csv", "start,end,text\n1,2,Hello, world\n", "line 2: expected 3 columns, found 4"),
        ("a.csv", 'start,end,text\n1,2,"Hello\n', "expected CSV"),
        ("a.csv", "start,end,start\n1,2,3\n", "line 1: expected each column once, found start again"),
        ("a.json", f'[{{"start": 0, "end": {"9" * 400}}}]', "a time of at most 1000000000 s"),
        ("a.json", '[{"start": 0, "end": "' + "9" * 400 + '"}]', "expected seconds"),
        ("a.srt", SRT.replace("-->", "->"), "line 2: expected times like"),
        ("a.srt", SRT.replace("00:00:01,000 --> 00:00:02,500", "00:00:01,000"), "line 2: expected times like"),
        ("a.srt", SRT.replace("00:00:01,000 -->", "00: 00: 01,000 ->"), "line 2: expected times like"),
        ("a.srt", SRT.replace("-->", "– >"), "line 2: expected times like"),
        ("a.srt", SRT.replace("00:00:01,000", "00:00:xx"), "line 2: expected times like"),
        ("a.srt", SRT.replace("00:00:01,000", "-00:00:01,000"), "line 2: expected times like"),
        ("a.srt", SRT.replace("01,000", "01,5"), "line 2: expected times like"),
        ("a.srt", SRT.replace("00:00:01", "00:75:01"), "line 2: expected minutes and seconds under 60"),
        ("a.srt", SRT.replace("00:00:02,500", "00:00:00,500"), "line 2: end: expected a time after the start"),
        (
            "a.vtt",
            VTT.replace("Hello", "<v Tom>Hello"),
            "line 10: expected one speaker .* found Anna Smith and Tom",
        ),
        ("a.txt", SRT, r"expected segments in one of \.json \.csv \.tsv \.srt \.vtt, found '\.txt'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises((DataError, ConfigError), match=message) as error:
        load_segments(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a file that can be read, found: No such file"):
        load_segments(tmp_path / "nowhere.srt")
    with pytest.raises(DataError, match="expected a file that can be read"):
        load_segments(add_voices(tmp_path / "folder.srt"))
    (tmp_path / "a.srt").write_bytes(b"\xff\xfe\x00\xd8\x00")
    with pytest.raises(DataError, match="expected text, found bytes"):
        load_segments(tmp_path / "a.srt")


def test_a_voice_is_found_by_its_whole_name_first() -> None:
    voices = NamedVoices({"a/1.wav": Path("one"), "1.wav": Path("two"), "x": Path("three")})
    assert [voices.find(Path(name)) for name in ("a/1.wav", "b/1.wav", "c/1.wav")] == [Path("one"), Path("two"), None]
