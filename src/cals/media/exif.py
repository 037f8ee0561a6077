"""Which way up an image file says it is, for formats and libraries that do not see to it themselves."""

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ORIENTATION = 0x0112
_TIFF = re.compile(rb"II\*\0|MM\0\*")


def orientation_of(data: bytes) -> int:
    """The EXIF orientation, 1 (upright) to 8, of a PNG, WebP or JPEG, or the same of an AVIF's own properties.

    A TIFF counts as upright: OpenCV turns it whatever it is told.
    """
    if data[4:8] == b"ftyp":
        return _of_avif(data)
    start = _exif_start(data)
    if start is None:
        return 1
    try:
        order = "<" if data[start : start + 2] == b"II" else ">"
        (directory,) = struct.unpack_from(f"{order}I", data, start + 4)
        (count,) = struct.unpack_from(f"{order}H", data, start + directory)
        for entry in range(start + directory + 2, start + directory + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, entry)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:  # a damaged tag is no tag
        pass
    return 1


def _exif_start(data: bytes) -> int | None:
    """Where the TIFF structure with the tags begins."""
    for magic, chunk in ((b"\x89PNG", b"eXIf"), (b"RIFF", b"EXIF"), (b"\xff\xd8", b"Exif\0\0")):
        if data.startswith(magic):
            at = data.find(chunk)
            # WebP files have the letters of JPEG's before the structure, some of them.
            found = _TIFF.search(data, at, at + 24) if at >= 0 else None
            return found.start() if found else None
    return None


def _of_avif(data: bytes) -> int:
    """From the properties `irot` (quarter turns against the clock) and then `imir` (0: top-bottom, 1: left-right)."""
    turn, mirror = data.find(b"\0\0\0\x09irot"), data.find(b"\0\0\0\x09imir")
    quarters = data[turn + 8] & 3 if 0 <= turn < len(data) - 8 else 0
    if not 0 <= mirror < len(data) - 8:
        return (1, 8, 3, 6)[quarters]
    return ((4, 5, 2, 7), (2, 7, 4, 5))[data[mirror + 8] & 1][quarters]


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A view of `pixels` [h w c], stored with an EXIF `orientation`, as they are to be seen."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    mirror_x, mirror_y = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
