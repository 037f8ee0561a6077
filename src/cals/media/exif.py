"""Orientation of image files, for formats and libraries that do not apply it themselves."""

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ORIENTATION = 0x0112
_TIFF = re.compile(rb"II\*\0|MM\0\*")


def read_orientation(data: bytes) -> int:
    """Read the EXIF orientation, 1 (upright) to 8, of a PNG, WebP or JPEG, or the same from an AVIF's properties.

    A TIFF counts as upright, since OpenCV always rotates it.
    """
    if data[4:8] == b"ftyp":
        return _read_avif_orientation(data)
    start = _find_exif(data)
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
    except struct.error:  # a damaged tag is ignored
        pass
    return 1


def _find_exif(data: bytes) -> int | None:
    """Find the start of the TIFF structure that holds the tags."""
    for magic, chunk in ((b"\x89PNG", b"eXIf"), (b"RIFF", b"EXIF"), (b"\xff\xd8", b"Exif\0\0")):
        if data.startswith(magic):
            position = data.find(chunk)
            # Some WebP files have the JPEG prefix before the structure.
            match = _TIFF.search(data, position, position + 24) if position >= 0 else None
            return match.start() if match else None
    return None


def _read_avif_orientation(data: bytes) -> int:
    """Read the properties `irot` (quarter turns anticlockwise) and then `imir` (0: top-bottom, 1: left-right)."""
    turn, mirror = data.find(b"\0\0\0\x09irot"), data.find(b"\0\0\0\x09imir")
    quarters = data[turn + 8] & 3 if 0 <= turn < len(data) - 8 else 0
    if not 0 <= mirror < len(data) - 8:
        return (1, 8, 3, 6)[quarters]
    return ((4, 5, 2, 7), (2, 7, 4, 5))[data[mirror + 8] & 1][quarters]


def apply_orientation(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an upright view of `pixels` [h w c] that are stored with an EXIF `orientation`."""
    if orientation >= 5:
        pixels = np.swapaxes(pixels, 0, 1)
    mirror_x, mirror_y = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
