"""Show a face in the browser that speaks while its sound comes in; see README.md beside this file."""

import argparse
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from cals import LipSync
from cals.media import load_mono

RATE_HZ = 16_000
CHUNK = 320
"""Samples of a chunk, 20 ms."""
PAGE = Path(__file__).with_name("page.html")


def play(path: str) -> Iterator[np.ndarray]:
    """Yield the sound of a file in chunks, each at the time at which a microphone would have recorded it."""
    wav = (load_mono(path, RATE_HZ) * 32767).round().astype("<i2")
    start_s = time.monotonic()
    for first in range(0, len(wav), CHUNK):
        chunk = wav[first : first + CHUNK]
        time.sleep(max(0.0, start_s + (first + len(chunk)) / RATE_HZ - time.monotonic()))
        yield chunk


def listen() -> Iterator[np.ndarray]:
    """Yield chunks of raw 16-bit mono sound from standard input, as `arecord -t raw` writes it."""
    while data := sys.stdin.buffer.read(2 * CHUNK):
        yield np.frombuffer(data[: len(data) // 2 * 2], "<i2")


class Recorder:
    """Passes chunks on, and keeps their sound until the frame that is shown with it."""

    def __init__(self, chunks: Iterator[np.ndarray]) -> None:
        self._chunks, self._held, self._first = chunks, np.zeros(0, "<i2"), 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in self._chunks:
            self._held = np.concatenate([self._held, chunk])
            yield chunk

    def take(self, end: int) -> bytes:
        """Return the sound up to sample `end` that was not taken yet."""
        count = end - self._first
        taken, self._held, self._first = self._held[:count], self._held[count:], end
        return taken.tobytes()


class Handler(BaseHTTPRequestHandler):
    """Serves the page at / and, at /stream, packets: two lengths, the frame as JPEG, and its sound as 16-bit PCM."""

    def __init__(self, lips: LipSync, face: str, sound: str, *request: object) -> None:
        self.lips, self.face, self.sound = lips, face, sound
        super().__init__(*request)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path not in ("/", "/stream"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/" else "application/octet-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.path == "/":
            self.wfile.write(PAGE.read_bytes())
            return
        with suppress(ConnectionError):  # the page was closed
            self.send_frames()

    def send_frames(self) -> None:
        recorder = Recorder(listen() if self.sound == "-" else play(self.sound))
        with closing(self.lips.stream(self.face, recorder, RATE_HZ)) as stream:
            for lip_frame in stream:
                frame = lip_frame.frame
                picture = cv2.imencode(".jpg", frame.rgb()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
                pcm = recorder.take(round((frame.time_s + frame.duration_s) * RATE_HZ))
                self.wfile.write(struct.pack("<II", len(picture), len(pcm)) + picture + pcm)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("face", help="video or photo")
    parser.add_argument("sound", help="file that is played, or - for raw 16-bit mono sound of 16 kHz on standard input")
    parser.add_argument("--model", default="grid-small")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    handler = partial(Handler, LipSync(options.model), options.face, options.sound)
    with ThreadingHTTPServer(("127.0.0.1", options.port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
