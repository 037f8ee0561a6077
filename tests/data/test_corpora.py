"""What the readers find in corpora laid out as they are distributed, whole and broken; no video is decoded."""

import json
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from cals.data.manifest import ClipSource, Region, SourceCorpus, check_keys
from cals.data.sources import folder, grid, hdtf, lombard, lrs2, lrs3, lrw
from cals.data.sources.layout import BROKEN_TEXT, BROKEN_TIMES, MISSING_TEXT, MISSING_TIMES, MISSING_VIDEO, UNLISTED
from cals.errors import DataError
from cals.types import Box

TABLE = "WORD START END ASDSCORE\n"


def lay_out(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def by_name(corpus: SourceCorpus) -> dict[str, ClipSource]:
    check_keys(corpus.clips)
    return {clip.name: clip for clip in corpus.clips}


def test_grid_of_sheffield(tmp_path: Path) -> None:
    files = {f"s1/video/mpg_6000/{name}.mpg": "" for name in ("bbaf2n", "bbaf3s", "bbaf4p")}
    files |= {"s1/video/mpg_vcd/bbaf2n.mpg": "", "s2.mpg_6000.part1/s2/video/mpg_6000/lbax4n.mpg": ""}
    files |= {"s2/video/mpg_6000/lbaw4n.mpg": ""}  # a letter that GRID leaves out
    files |= {"s1/align/bbaf2n.align": "0 5000 sil\n5000 15000 bin\n", "s1/align/bbaf3s.align": "0 bin\n"}
    corpus = grid.read_corpus(lay_out(tmp_path, files))
    clips = by_name(corpus)
    assert sorted(clips) == ["s1/bbaf2n", "s1/bbaf3s", "s1/bbaf4p", "s2/lbaw4n", "s2/lbax4n"]
    assert "mpg_6000" in str(clips["s1/bbaf2n"].video)
    assert {clip.speaker for clip in corpus.clips} == {"s1", "s2"}
    assert clips["s1/bbaf2n"].words == ((Fraction(1, 5), Fraction(3, 5), "bin"),)
    assert clips["s1/bbaf3s"].words is None
    assert {name: clip.text for name, clip in clips.items()} == {
        "s1/bbaf2n": "bin",  # as the alignment has it
        "s1/bbaf3s": "bin blue at f three soon",
        "s1/bbaf4p": "bin blue at f four please",
        "s2/lbaw4n": None,
        "s2/lbax4n": "lay blue at x four now",
    }
    copies = "videos of which there is another copy"
    assert corpus.dropped == {copies: 1, BROKEN_TIMES: 1, MISSING_TIMES: 3, MISSING_TEXT: 1}
    assert corpus.splits is None


def test_grid_of_zenodo_is_aligned_by_sentence(tmp_path: Path) -> None:
    """Whose folder an alignment lies in is not always right; where two have one name, it has to be."""
    files = {"s6/bbaf2n.mpg": "", "alignments/s5/bbaf2n.align": "0 25000 bin\n"}
    files |= {"s7/lbax4n.mpg": "", "alignments/s7/lbax4n.align": "0 25000 lay\n", "alignments/s8/lbax4n.align": "x\n"}
    files |= {"s9/pbax4n.mpg": "", "alignments/s1/pbax4n.align": "0 9 a\n", "alignments/s2/pbax4n.align": "0 8 b\n"}
    clips = by_name(grid.read_corpus(lay_out(tmp_path, files)))
    first_words = {name: clip.words and clip.words[0].text for name, clip in clips.items()}
    assert first_words == {"s6/bbaf2n": "bin", "s7/lbax4n": "lay", "s9/pbax4n": None}


def test_broken_alignments_of_grid_are_counted(tmp_path: Path) -> None:
    names = ("bbaf2n", "bbaf3s", "bbaf4p", "bbaf5a", "bgaa6n", "bgaa7s")
    root = lay_out(tmp_path, {f"s1/{name}.mpg": "" for name in names} | {"s1/._bbaf2n.mpg": ""})
    (root / "s1/bbaf2n.align").write_bytes("0 25000 café\n".encode("latin-1"))
    (root / "s1/bbaf3s.align").write_text("0 25000 bin\n", encoding="utf-16")
    (root / "s1/bbaf4p.align").write_text("0 25000 sil\n")
    (root / "s1/bbaf5a.align").write_text("25000 100 bin\n")
    (root / "s1/bgaa6n.ALIGN").write_bytes(b"\xef\xbb\xbf0 25000 bin\r\n")
    (root / "s1/._bgaa6n.align").write_bytes(b"\x00\x05\xff")
    corpus = grid.read_corpus(root)
    clips = by_name(corpus)
    assert corpus.dropped == {BROKEN_TIMES: 4, MISSING_TIMES: 1}
    assert clips["s1/bgaa6n"].words == ((0, 1, "bin"),)
    assert clips["s1/bbaf4p"].text == "bin blue at f four please"
    with pytest.raises(DataError, match="bbaf2n.align"):
        grid.list_clips(root)


def test_a_folder_has_no_parts(tmp_path: Path) -> None:
    corpus = folder.read_corpus(lay_out(tmp_path, {"anna/one.mp4": ""}))
    assert (corpus.clips, corpus.dropped, corpus.splits) == (folder.list_clips(tmp_path), {}, None)


def phones(*words: str) -> str:
    """An alignment of words of as many phones as they have letters, each of 0.1 s, after 0.5 s of silence."""
    entries = [{"phone": "SIL", "offset": 0.0, "duration": 0.5}]
    for word in words:
        places = ["S"] if len(word) == 1 else ["B", *"I" * (len(word) - 2), "E"]
        for place in places:
            entries.append({"phone": f"X_{place}", "offset": round(0.4 + 0.1 * len(entries), 3), "duration": 0.1})
    return json.dumps({"utterance": entries})


def test_lombard_grid(tmp_path: Path) -> None:
    names = ["s2_l_bbim3a", "s2_p_swwzzs", "s3_l_bbim", "s4_p_gbszs_WRONG_sgbsza", "s5_l_bah2s_WRONG_#sil"]
    names += ["s6_p_lrwx1n", "s7_p_pgao0s"]
    files = {f"lombardgrid/front/{name}.mov": "" for name in names} | {"lombardgrid/side/s2_l_bbim3a.mov": ""}
    files |= {"lombardgrid/audio/s2_l_bbim3a.wav": ""}
    alignment = "lombardgrid/alignment"
    files |= {f"{alignment}/s2_l_bbim3a.json": phones("bin", "blue", "in", "m", "three", "again")}
    files |= {f"{alignment}/s6_p_lrwx1n.json": phones("lay", "red"), f"{alignment}/s7_p_pgao0s.json": '{"u": 3}'}
    corpus = lombard.read_corpus(lay_out(tmp_path, files))
    clips = by_name(corpus)
    assert {name.partition("/")[2] for name in clips} == {*names} - {"s5_l_bah2s_WRONG_#sil"}
    first = clips["s2/s2_l_bbim3a"]
    assert (first.speaker, first.text) == ("s2", "bin blue in m three again")
    assert first.sound == tmp_path / "lombardgrid/audio/s2_l_bbim3a.wav"
    assert first.words is not None
    assert [word.text for word in first.words] == first.text.split()
    assert first.words[1][:2] == (Fraction("0.8"), Fraction("1.2"))
    assert first.words[3][:2] == (Fraction("1.4"), Fraction("1.5"))
    assert clips["s2/s2_p_swwzzs"].text == "set white with z zero soon"
    assert clips["s4/s4_p_gbszs_WRONG_sgbsza"].text == "set green by s zero again"
    assert clips["s3/s3_l_bbim"].text is None
    assert clips["s2/s2_p_swwzzs"].sound is None
    assert all(clip.words is None for clip in corpus.clips if clip is not first)
    silent = "clips in which nothing is said"
    assert corpus.dropped == {BROKEN_TEXT: 1, BROKEN_TIMES: 2, MISSING_TEXT: 2, silent: 1}


def lrw_files(base: str) -> dict[str, str]:
    files = {f"{base}ABOUT/{part}/ABOUT_00001.mp4": "" for part in ("train", "val", "test", "more")}
    files |= {f"{base}ABOUT/train/ABOUT_0000{i}.mp4": "" for i in range(2, 6)}
    files |= {f"{base}ABOUT/train/ABOUT_00001.txt": "Disk reference: 61\nChannel: BBC\nDuration: 0.36 seconds\n"}
    wrong = ("Duration: soon", "Duration: 0.0 seconds", "Duration: 1.2.3", "Duration: 2.5 seconds")
    files |= {f"{base}ABOUT/train/ABOUT_0000{i}.txt": text for i, text in enumerate(wrong, start=2)}
    return files


@pytest.mark.parametrize("base", ["lipread_mp4/", ""])
def test_lrw(tmp_path: Path, base: str) -> None:
    corpus = lrw.read_corpus(lay_out(tmp_path, lrw_files(base)))
    clips = by_name(corpus)
    assert len(clips) == 7
    whole = clips["ABOUT/train/ABOUT_00001"]
    assert whole.words == ((Fraction("0.40"), Fraction("0.76"), "about"),)  # in the middle of 1.16 s
    assert all(clip.text == "about" and clip.speaker == clip.name for clip in corpus.clips)
    assert all(clip.words is None for clip in corpus.clips if clip is not whole)
    assert corpus.dropped == {"videos outside train, val and test": 1, MISSING_TEXT: 2, BROKEN_TIMES: 4}
    assert corpus.splits is not None
    held_out = {part: names for part, names in corpus.splits.items() if part != "train"}
    assert held_out == {"val_seen": ["ABOUT/val/ABOUT_00001"], "test": ["ABOUT/test/ABOUT_00001"]}
    assert len(corpus.splits["train"]) == 5


def lrs2_files() -> dict[str, str]:
    """One good clip a part, then what is broken."""
    files = {f"mvlrs_v1/main/{clip}.mp4": "" for clip in ("61/00001", "61/00002", "62/00001", "63/00001", "63/00002")}
    files |= {f"mvlrs_v1/pretrain/61/0000{i}.mp4": "" for i in range(1, 5)}
    texts = {"main/61/00001": "Text:  WHEN YOU'RE COOKING\nConf: 4\n", "main/61/00002": "CHIPS AT HOME\n"}
    texts |= {"main/62/00001": "Text:  SO\nConf: 3\n"}
    texts |= {"pretrain/61/00001": f"Text:  GO ON\nConf:  3\n\n{TABLE}GO 0.12 0.3 8.4\nON 0.3 0.55 7.1\n"}
    texts |= {"pretrain/61/00002": f"Text:  GO ON\nConf:  3\n\n{TABLE}GO 0.12\n"}
    texts |= {"pretrain/61/00003": f"Text:  GO\nConf:  3\n\n{TABLE}GO 0.5 0.12 1\n"}
    texts |= {"pretrain/61/00004": "Text:  GO\nConf:  3\n"}
    return files | {f"mvlrs_v1/{name}.txt": text for name, text in texts.items()}


LRS2_LISTS = {
    "pretrain.txt": "61/00001\n61/00002\n61/00003\n61/00004\n",
    "train.txt": "61/00001\n61/00002\n99/00001\nnonsense\n",
    "val.txt": "62/00001\n\n",
    "test.txt": "63/00001 NF\n",
}


@pytest.mark.parametrize("place", ["", "mvlrs_v1/"])
def test_lrs2(tmp_path: Path, place: str) -> None:
    lists = {f"{place}{name}": text for name, text in LRS2_LISTS.items()}
    corpus = lrs2.read_corpus(lay_out(tmp_path, lrs2_files() | lists))
    clips = by_name(corpus)
    assert corpus.splits == {
        "train": ["main/61/00001", "main/61/00002", *(f"pretrain/61/0000{i}" for i in range(1, 5))],
        "val_seen": ["main/62/00001"],
        "test": ["main/63/00001"],
    }
    assert clips["main/61/00001"].text == "when you're cooking"
    assert clips["main/61/00001"].speaker == "61"
    timed = clips["pretrain/61/00001"]
    assert timed.words == ((Fraction("0.12"), Fraction("0.3"), "go"), (Fraction("0.3"), Fraction("0.55"), "on"))
    assert all(clip.words is None for clip in corpus.clips if clip is not timed)
    assert clips["pretrain/61/00002"].text == "go on"
    lines = "lines of lists that cannot be read"
    assert corpus.dropped == {MISSING_TEXT: 1, BROKEN_TEXT: 1, BROKEN_TIMES: 3, MISSING_VIDEO: 1, UNLISTED: 1, lines: 1}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_windows_are_read(tmp_path: Path, mark: str) -> None:
    files = {"mvlrs_v1/main/61/00001.MP4": "", "mvlrs_v1/main/61/00001.TXT": f"{mark}Text:  SO\r\nConf: 3\r\n"}
    corpus = lrs2.read_corpus(lay_out(tmp_path, files | {"mvlrs_v1/train.txt": f"{mark}61/00001\r\n"}))
    assert by_name(corpus)["main/61/00001"].text == "so"
    assert corpus.dropped == {}
    lay_out(tmp_path, {"lrw/ABOUT/train/ABOUT_00001.MP4": "", "lrw/ABOUT/train/ABOUT_00001.TXT": "Duration: 0.4"})
    assert by_name(lrw.read_corpus(tmp_path / "lrw"))["ABOUT/train/ABOUT_00001"].words


def test_lrs2_without_lists_has_no_parts(tmp_path: Path) -> None:
    corpus = lrs2.read_corpus(lay_out(tmp_path, lrs2_files()) / "mvlrs_v1")
    assert (len(corpus.clips), corpus.splits) == (9, None)


def test_lrs2_never_trains_on_what_another_list_holds_out(tmp_path: Path) -> None:
    lists = LRS2_LISTS | {"train.txt": "61/00001\n62/00001\n", "val.txt": "62/00001\n"}
    corpus = lrs2.read_corpus(lay_out(tmp_path, lrs2_files() | lists))
    assert corpus.splits is not None
    assert "main/62/00001" in corpus.splits["val_seen"]
    assert "main/62/00001" not in corpus.splits["train"]


def test_grids_names_are_sentences() -> None:
    assert grid.spell_sentence("sgizzp") == "set green in z zero please"
    assert {letter for letter in "abcdefghijklmnopqrstuvwxyz" if not grid.spell_sentence(f"pbw{letter}1a")} == {"w"}
    for name in ("", "bbaf2", "bbaf2nn", "BBAF2N", "anna", "123456", "bbaf2x"):
        assert grid.spell_sentence(name) is None


def test_grid_without_any_alignment(tmp_path: Path) -> None:
    clips = grid.list_clips(lay_out(tmp_path, {"s1/bbaf3s.mp4": "", "s1/hello.mp4": ""}))
    assert [(clip.text, clip.words) for clip in clips] == [("bin blue at f three soon", None), (None, None)]


def talk(*, held_out: bool, number: int = 0) -> str:
    """A made-up ID of a talk that the lot holds out, or does not."""
    return [name for name in (f"talk{i:07d}" for i in range(1000)) if lrs3.is_held_out(name) == held_out][number]


def lrs3_files() -> dict[str, str]:
    train, other, held = talk(held_out=False), talk(held_out=False, number=1), talk(held_out=True)
    boxes = "FRAME\tX\tY\tW\tH\n000000\t0.4\t0.2\t0.1\t0.3\n\n"
    texts = {
        f"pretrain/{train}/00001": f"Text:  SO {{NS}} I'M\nConf: 4\nRef: x\n\n{boxes}{TABLE}"
        "SO 0.1 0.3 5\n{NS} 0.3 0.5 1\nI'M 0.5 0.9 6\n",
        f"pretrain/{train}/00002": f"Text:  SO\nConf: 4\n\n{boxes}",
        f"pretrain/{held}/00001": f"Text:  WE\nConf: 4\n\n{boxes}{TABLE}WE 0.1 0.3 5\n",
        f"trainval/{train}/50001": f"Text:  THANK YOU {{LG}}\nConf: 4\nRef: x\n\n{boxes}",
        f"trainval/{held}/50001": f"Text:  HERE\nConf: 4\n\n{boxes}",
        f"trainval/{held}/50002": "Text:  {NS}\nConf: 1\n",
        f"test/{other}/00001": f"Text:  NOT SEEN\nConf: 4\n\n{boxes}",
    }
    videos = [*texts, f"trainval/{train}/50002", f"pretrain/{other}/00009"]
    files = {f"lrs3/{name}.mp4": "" for name in videos} | {f"lrs3/{name}.txt": text for name, text in texts.items()}
    return files | {f"lrs3/trainval/{talk(held_out=False, number=2)}/readme.txt": ""}


@pytest.mark.parametrize("place", ["", "lrs3"])
def test_lrs3(tmp_path: Path, place: str) -> None:
    corpus = lrs3.read_corpus(lay_out(tmp_path, lrs3_files()) / place)
    clips = by_name(corpus)
    train, other, held = talk(held_out=False), talk(held_out=False, number=1), talk(held_out=True)
    assert corpus.splits == {
        "train": [
            f"{place}/{train}/{part}000{i}" for place, part in (("pretrain", "0"), ("trainval", "5")) for i in (1, 2)
        ],
        "val_unseen": [f"pretrain/{held}/00001", f"trainval/{held}/50001", f"trainval/{held}/50002"],
        "test": [f"test/{other}/00001"],
    }
    first = clips[f"pretrain/{train}/00001"]
    assert (first.speaker, first.text) == (train, "so i'm")
    assert first.words == ((Fraction("0.1"), Fraction("0.3"), "so"), (Fraction("0.5"), Fraction("0.9"), "i'm"))
    assert clips[f"pretrain/{train}/00002"].text == "so"
    assert clips[f"trainval/{train}/50001"].text == "thank you"
    assert clips[f"trainval/{train}/50001"].words is None
    assert clips[f"test/{other}/00001"].text == "not seen"
    assert clips[f"trainval/{held}/50002"].text is None
    overlap = "clips to train on of talks to test on"
    assert corpus.dropped == {MISSING_TEXT: 1, BROKEN_TEXT: 1, BROKEN_TIMES: 1, overlap: 1}


def test_lrs3_holds_out_about_two_in_a_hundred() -> None:
    """Binomial: 200 of 10 000, with a standard deviation of 14."""
    assert 140 < sum(lrs3.is_held_out(f"{i:011x}") for i in range(10_000)) < 260


HDTF_LISTS = {
    "RD_video_url.txt": "Radio1 https://www.youtube.com/watch?v=CPCoMyuBRM0\nRadio34 https://youtu.be/mhCYrKWOnEQ&t=5s\n",
    "RD_annotion_time.txt": "Radio1.mp4 00:20-01:35\nRadio34.mp4 00:02-00:30 00:40-00:50 01:00-1:x 05:00-04:00 \n",
    "RD_crop_wh.txt": "Radio1_0.mp4 466 535 0 535\nRadio34_0.mp4 527 10 650 650\n",
    "RD_resolution.txt": "Radio1.mp4 720\nRadio34.mp4 1080\n",
    "WRA_annotion_time.txt": "KevinMcCarthy1.mp4 00:22-01:02:45\nJimRisch.mp4 00:05-01:00\nRandPaul0.mp4 00:01-03:05\n",
    "WRA_crop_wh.txt": "KevinMcCarthy1_0.mp4 412 465 0 465\nRandPaul0_0.mp4 347 663 0 662\n",
    "WRA_resolution.txt": "KevinMcCarthy1.mp4 0\nRandPaul0.mp4 720\n",
}


def test_hdtf(tmp_path: Path) -> None:
    files = {f"HDTF_dataset/{name}": text for name, text in HDTF_LISTS.items()}
    videos = ("videos/RD_Radio1.mp4", "videos/A speech [mhCYrKWOnEQ].webm", "videos/KevinMcCarthy1.mkv", "more.mp4")
    files |= dict.fromkeys((*videos, "RandPaul0.mp4"), "")
    corpus = hdtf.read_corpus(lay_out(tmp_path, files))
    clips = by_name(corpus)
    assert sorted(clips) == ["KevinMcCarthy1/0", "Radio1/0", "Radio34/0", "RandPaul0/0"]
    radio = clips["Radio1/0"]
    assert (radio.video.name, radio.speaker, radio.start_s, radio.end_s) == ("RD_Radio1.mp4", "Radio1", 20, 95)
    assert radio.region == Region(box=Box(466, 0, 1001, 535), height_px=720)
    # As the README has it, and as some copies have it: x, y, width, height.
    assert clips["Radio34/0"].region == Region(box=Box(527, 10, 1177, 660), height_px=1080)
    assert clips["Radio34/0"].video.name == "A speech [mhCYrKWOnEQ].webm"
    assert clips["KevinMcCarthy1/0"].end_s == 3765
    assert clips["KevinMcCarthy1/0"].region is None
    assert clips["RandPaul0/0"].region is None  # not square
    stretches = {"stretches whose times cannot be read": 2, "stretches without a crop": 1}
    assert corpus.dropped == {MISSING_VIDEO: 1, UNLISTED: 1, "crops that cannot be read": 2} | stretches
    assert corpus.splits is not None
    assert Counter(name for names in corpus.splits.values() for name in names) == Counter([*clips])


def test_lists_of_hdtf_that_are_there_twice_count_once(tmp_path: Path) -> None:
    files = {f"{place}/{name}": text for name, text in HDTF_LISTS.items() for place in ("HDTF_dataset", "copy")}
    files |= {
        "HDTF_dataset/RD_annotation_time.txt": HDTF_LISTS["RD_annotion_time.txt"],
        "Radio1.mp4": "",
        "b/Radio1.mp4": "",
    }
    assert sorted(by_name(corpus := hdtf.read_corpus(lay_out(tmp_path, files)))) == ["Radio1/0"]
    assert corpus.dropped["videos of which there is another copy"] == 1
    lists = {"RD_annotion_time.txt": "\ufeffRadio1.MP4 00:00-00:05\nRadio1.mp4 00:10-1/0:20\nRadio1.mp4 00:30-00:40\n"}
    lists |= {"RD_crop_wh.txt": "Radio1_0.mp4 1 9 1 9\nRadio1_2.mp4 1 9 1 9\n", "RD_resolution.txt": "Radio1.mp4 720\n"}
    assert sorted(by_name(hdtf.read_corpus(lay_out(tmp_path / "more", lists | {"Radio1.mp4": ""})))) == [
        "Radio1/0",
        "Radio1/2",
    ]


def test_a_crop_follows_the_resolution() -> None:
    region = Region(box=Box(466, 0, 1001, 535), height_px=720)
    assert region.scale_to(1280, 720) == (466, 0, 1001, 535)
    assert region.scale_to(640, 360) == (233, 0, 500, 268)
    assert region.scale_to(900, 720) == (466, 0, 900, 535)
    assert region.scale_to(400, 720).width == 0


def test_hdtf_is_split_by_video_and_by_person() -> None:
    names = [f"Person{chr(65 + i % 26)}{chr(97 + i // 26)}{j}" for i in range(120) for j in range(1 + i % 3)]
    names += [f"Radio{i}" for i in range(60)]
    parts = hdtf.split_videos(names)
    counts = Counter(parts.values())
    assert sum(counts.values()) == len(names) == 300
    assert 15 <= counts["val_unseen"] <= 17
    assert 15 <= counts["test"] <= 17
    people = {name.rstrip("0123456789"): part for name, part in parts.items() if not name.startswith("Radio")}
    assert all(parts[name] == people[name.rstrip("0123456789")] for name in names if not name.startswith("Radio"))
    assert len({part for name, part in parts.items() if name.startswith("Radio")}) == 3
    assert hdtf.split_videos(names[::-1]) == parts


@pytest.mark.parametrize("reader", [folder, grid, hdtf, lombard, lrs2, lrs3, lrw])
def test_folders_of_another_layout_are_refused(tmp_path: Path, reader: object) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=f"{place}: expected .*, found n.*; "):
            reader.read_corpus(place)  # type: ignore[attr-defined]
