"""Odd videos, photos and sounds of the kinds that users bring, each made by one function into a folder.

The person is that of `examples/grid-s20.mp4` (360x288, 25 frames/s), the bystander `examples/astronaut.jpg`.
"""

import io
import struct
import zlib
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from cals.media.audio import load_mono
from cals.media.reader import VideoReader
from cals.types import U8
from drawing import strip_default_duration, write_video, write_wav
from drawn_face import picture as draw_face
from drawn_face import points as draw_points

EXAMPLES = Path(__file__).parents[2] / "examples"
GRID, PHOTO, SPEECH = EXAMPLES / "grid-s20.mp4", EXAMPLES / "astronaut.jpg", EXAMPLES / "speech.wav"
SIZE = (360, 288)
FRAMES = 25
"""Of most videos, and of a second of speech."""
MOUTH = (170, 223)
"""Of the person, whose face is 112 px wide."""
HIDDEN = range(10, 35)
COVERED = range(15, 30)
BLACK_FRAMES = 10
BYSTANDER_COLUMNS = slice(200, 360)
SOUND_HZ = 48_000
MS = Fraction(1, 1000)
QUICK = {"preset": "ultrafast", "crf": "16"}


@cache
def load_person() -> tuple[U8, ...]:
    """Load the RGB frames of the person's clip."""
    with VideoReader(GRID) as reader:
        return tuple(np.ascontiguousarray(frame.rgb()) for frame in reader)


@cache
def load_speech() -> np.ndarray:
    """Load a second of speech [1 n] at `SOUND_HZ`."""
    return load_mono(SPEECH, SOUND_HZ)[None, :SOUND_HZ]


def _load_bystander() -> U8:
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    return np.ascontiguousarray(photo[:320, 64:384])


def _draw_frames(count: int = FRAMES) -> list[U8]:
    return list(load_person()[:count])


def _write(folder: Path, name: str, frames: list[U8], **options: object) -> Path:
    size = (frames[0].shape[1], frames[0].shape[0])
    return write_video(folder / name, frames=frames, size=size, **{"options": QUICK, **options})


def _shift(frame: U8, right: int, down: int) -> U8:
    """Move a frame within its own size; what was outside is grey."""
    moves = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(frame, moves, SIZE, borderValue=(96, 96, 96))


# Videos whose container is odd.


def sound_is_stream_0(folder: Path) -> Path:
    return _write(folder, "phone.mp4", _draw_frames(), sound=load_speech(), sound_first=True)


def webcam_without_default_duration(folder: Path) -> Path:
    """Make a Matroska that FFmpeg takes for 1000 frames a second, with the unsteady times of a webcam."""
    times = [40 * i + i % 3 for i in range(FRAMES)]
    return strip_default_duration(_write(folder, "webcam.mkv", _draw_frames(), time_base=MS, times=times))


def turned_phone(folder: Path) -> Path:
    """Make a video stored on its side, with a note how to turn it."""
    frames = [np.ascontiguousarray(np.rot90(frame, -1)) for frame in _draw_frames()]
    return _write(folder, "turned.mp4", frames, set_up=lambda stream: stream.set_display_rotation(90))


def joined_recordings_of_two_sizes(folder: Path) -> Path:
    small = [cv2.resize(frame, (240, 192)) for frame in load_person()[FRAMES : 2 * FRAMES]]
    parts = [_write(folder, "a.ts", _draw_frames()), _write(folder, "b.ts", small)]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def interlaced(folder: Path) -> Path:
    """Make a video whose odd rows are half a frame later."""
    frames = [load_person()[2 * i].copy() for i in range(FRAMES)]
    for i, frame in enumerate(frames):
        frame[1::2] = load_person()[2 * i + 1][1::2]
    return _write(folder, "tv.mp4", frames, options={**QUICK, "x264-params": "tff=1"})


def film_with_subtitles_and_chapters(folder: Path) -> Path:
    """Make a Matroska with sound, a French sound track, two English subtitles and two chapters."""
    path = folder / "film.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25, options=QUICK)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        text = out.add_stream("srt")
        text.codec_context.time_base, text.codec_context.subtitle_header = MS, b"[Events]\nFormat: Text\n"
        text.metadata["language"] = "eng"
        for frame in _draw_frames():
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")))
        out.mux(video.encode(None))
        for start_ms, words in ((100, "Good"), (600, "evening")):
            line = av.subtitles.subtitle.SubtitleSet.create(f"0,0,Default,,0,0,0,,{words}".encode(), 0, 300)
            packet = text.codec_context.encode_subtitle(line)
            packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = text, MS, start_ms, start_ms, 300
            out.mux(packet)
        halves = (("One", 0, 500), ("Two", 500, 1000))
        out.set_chapters(
            [
                {"id": number, "start": start, "end": end, "time_base": MS, "metadata": {"title": title}}
                for number, (title, start, end) in enumerate(halves, 1)
            ]
        )
    return path


def write_transparent(path: Path, codec: str, pix_fmt: str) -> Path:
    """Write the person within an ellipse, beyond which all is clear."""
    alpha = cv2.ellipse(np.zeros(SIZE[::-1], np.uint8), (170, 190), (110, 140), 0, 0, 360, 255, -1)
    with av.open(str(path), "w") as out:
        options = {"auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "8"} if "vp9" in codec else {}
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        for index, frame in enumerate(_draw_frames()):
            shown = av.VideoFrame.from_ndarray(np.dstack([frame, alpha]), "rgba").reformat(format=pix_fmt)
            shown.pts = index
            out.mux(stream.encode(shown))
        out.mux(stream.encode(None))
    return path


# Videos whose faces are odd.


def person_hidden_beside_a_bystander(folder: Path) -> Path:
    """Make a video whose main person is behind a wall for a second; a smaller bystander stays in the picture."""
    bystander = cv2.resize(_load_bystander(), (160, 160))
    frames = []
    for i, frame in enumerate(load_person()[:50]):
        scene = np.full((288, 360, 3), 96, np.uint8)
        scene[:, :200] = 96 if i in HIDDEN else frame[:, 70:270]
        scene[60:220, BYSTANDER_COLUMNS] = bystander
        frames.append(scene)
    return _write(folder, "hidden.mp4", frames)


def fade_from_black(folder: Path) -> Path:
    """Make a video that is black for a while and then becomes as bright as it is within 20 frames."""
    levels = [min(1.0, max(0, i - BLACK_FRAMES) / 20) for i in range(50)]
    return _write(
        folder,
        "fade.mp4",
        [(frame * level).astype(np.uint8) for frame, level in zip(load_person(), levels, strict=False)],
    )


def hand_before_mouth(folder: Path) -> Path:
    frames = [frame.copy() for frame in load_person()[:50]]
    for i in COVERED:
        x, y = MOUTH
        for finger in range(4):
            row = y - 22 + 15 * finger
            cv2.line(frames[i], (x - 80, row), (x + 24, row), (120, 82, 66), 15, cv2.LINE_AA)
            cv2.line(frames[i], (x - 80, row), (x + 24, row), (196, 146, 120), 12, cv2.LINE_AA)
    return _write(folder, "hand.mp4", frames)


def microphone_before_mouth(folder: Path) -> Path:
    """Make a video with a microphone before the mouth from the first frame to the last."""
    frames = [frame.copy() for frame in _draw_frames()]
    for frame in frames:
        x, y = MOUTH
        cv2.line(frame, (x, y + 8), (x, 287), (62, 62, 66), 12, cv2.LINE_AA)
        cv2.circle(frame, (x, y + 8), 20, (42, 42, 46), -1, cv2.LINE_AA)
    return _write(folder, "microphone.mp4", frames)


def upside_down(folder: Path) -> Path:
    return _write(folder, "on-its-head.mp4", [np.ascontiguousarray(frame[::-1, ::-1]) for frame in _draw_frames()])


def mouth_at_the_edge(folder: Path) -> Path:
    """Make a video whose lower edge goes through the lips."""
    return _write(folder, "edge.mp4", [_shift(frame, 0, SIZE[1] - MOUTH[1]) for frame in _draw_frames()])


def face_of_20_px(folder: Path) -> Path:
    frames = []
    for frame in _draw_frames():
        scene = np.full((288, 360, 3), 96, np.uint8)
        scene[110:161, 150:214] = cv2.resize(frame, (64, 51), interpolation=cv2.INTER_AREA)
        frames.append(scene)
    return _write(folder, "far.mp4", frames)


def drawn_face(folder: Path) -> Path:
    """Make a video of an oval with eyes and lips, as in a cartoon."""
    frames = []
    for i in range(FRAMES):
        crop = draw_face(draw_points(open_px=3 + 3 * np.sin(i / 2)))
        frames.append(cv2.resize(crop, (256, 256), interpolation=cv2.INTER_CUBIC))
    return _write(folder, "cartoon.mp4", frames)


def frozen(folder: Path) -> Path:
    """Make a video of one picture, without loss."""
    return _write(folder, "frozen.mkv", _draw_frames(1) * 50, codec="ffv1", options={}, pix_fmt="yuv420p")


# Photos.


def _save(folder: Path, name: str, image: Image.Image | None = None, **options: object) -> Path:
    (image or Image.fromarray(load_person()[0])).save(folder / name, **options)
    return folder / name


def _tag_turned(mode: str) -> tuple[Image.Image, Image.Exif]:
    """Return the person's picture on its side, and the EXIF data that turn it back."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return Image.fromarray(np.ascontiguousarray(np.rot90(load_person()[0]))).convert(mode), exif


def still_avif(folder: Path) -> Path:
    return _save(folder, "still.avif", quality=90)


def still_gif(folder: Path) -> Path:
    return _save(folder, "still.gif")


def palette_gif(folder: Path) -> Path:
    image = Image.fromarray(load_person()[0]).convert("P", palette=Image.Palette.ADAPTIVE)
    return _save(folder, "palette.gif", image, transparency=0)


def opaque_png_turned_by_exif(folder: Path) -> Path:
    image, exif = _tag_turned("RGBA")
    return _save(folder, "phone.png", image, exif=exif)


def clear_png_turned_by_exif(folder: Path) -> Path:
    image, exif = _tag_turned("RGBA")
    alpha = np.full((image.height, image.width), 255, np.uint8)
    alpha[:40] = 0  # the right edge of what is seen
    image.putalpha(Image.fromarray(alpha))
    return _save(folder, "cutout.png", image, exif=exif)


def heic_turned_by_exif(folder: Path) -> Path:
    """Make a HEIC as phones do, with EXIF data of their own; needs pillow-heif."""
    import pillow_heif

    image, exif = _tag_turned("RGB")
    exif[0x927C] = b"maker's note"
    path = folder / "phone.heic"
    pillow_heif.from_pillow(image).save(path, quality=90, exif=exif.tobytes())
    return path


def moving_png_turned_by_exif(folder: Path) -> Path:
    """Make an APNG of 10 frames a second on its side, with a chunk that nobody knows before its pictures."""
    images = [Image.fromarray(np.ascontiguousarray(np.rot90(frame))) for frame in load_person()[:10]]
    _, exif = _tag_turned("RGB")
    path = _save(folder, "moves.png", images[0], save_all=True, append_images=images[1:], duration=100, exif=exif)
    data, content = path.read_bytes(), bytes(range(64))
    at = data.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(content)) + b"caLs" + content + struct.pack(">I", zlib.crc32(b"caLs" + content))
    path.write_bytes(data[:at] + chunk + data[at:])
    return path


def motion_photo(folder: Path) -> Path:
    """Make a JPEG with a video of other pictures behind it, as phones write them."""
    photo = _save(folder, "motion.jpg", quality=92)
    video = _write(folder, "behind.mp4", [np.zeros((96, 128, 3), np.uint8)] * 5)
    photo.write_bytes(photo.read_bytes() + video.read_bytes())
    return photo


def damaged_jpeg(folder: Path) -> Path:
    """Make a JPEG with markers where none belong, below the face: libjpeg would print a line of its own."""
    buffer = io.BytesIO()
    Image.fromarray(load_person()[0]).save(buffer, "JPEG", quality=92)
    data = bytearray(buffer.getvalue())
    at = len(data) - 300
    data[at : at + 20] = b"\xff\xd3" * 10
    (folder / "damaged.jpg").write_bytes(data)
    return folder / "damaged.jpg"


def photo_of_5000_px(folder: Path) -> Path:
    """Make a banner with a person at its left end."""
    banner = np.full((288, 5000, 3), 96, np.uint8)
    banner[:, :360] = load_person()[0]
    return _save(folder, "banner.png", Image.fromarray(banner))


# Sounds.


def speech(folder: Path) -> Path:
    return write_wav(folder / "speech.wav", load_speech(), SOUND_HZ, "pcm_s16le")


def silence(folder: Path) -> Path:
    return write_wav(folder / "silence.wav", 0 * load_speech(), SOUND_HZ, "pcm_s16le")


def recording_without_its_length(folder: Path) -> Path:
    """Make a wav as written into a pipe: its header promises four gigabytes."""
    path = write_wav(folder / "pipe.wav", load_speech(), SOUND_HZ, "pcm_s16le")
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:4] + b"\xff" * 4 + data[8:at] + b"\xff" * 4 + data[at + 4 :])
    return path


def stereo_with_one_side_inverted(folder: Path) -> Path:
    return write_wav(folder / "inverted.wav", np.concatenate([load_speech(), -load_speech()]), SOUND_HZ, "pcm_s16le")


def phone_call_with_empty_frames(folder: Path) -> Path:
    """Make an AMR of a second, where the pauses, 12 of 50 frames, hold nothing, as phones leave them out."""
    path = folder / "call.amr"
    encoder = av.CodecContext.create("libopencore_amrnb", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = 8000, "mono", "s16", 12_200
    resampler = av.AudioResampler("s16", "mono", 8000, frame_size=160)
    block = av.AudioFrame.from_ndarray(load_speech(), "fltp", "mono")
    block.sample_rate = SOUND_HZ
    parts = [*resampler.resample(block), *resampler.resample(None)]
    packets = [bytes(packet) for part in [*parts, None] for packet in encoder.encode(part) if packet.size]
    path.write_bytes(b"#!AMR\n" + b"".join([*packets[:1], b"\x7c" * 8, *packets[9:35], b"\x7c" * 4, *packets[39:50]]))
    return path
