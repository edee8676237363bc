"""Gain maps (ISO 21496-1, Ultra HDR, Apple): a second picture by which a screen of high dynamic range brightens one."""

import contextlib
from typing import Any

from PIL import Image

from fast_style.images.boxes import find

_ADOBE, _APPLE, _ISO = b"http://ns.adobe.com/hdr-gain-map/1.0/", b"aux:hdrgainmap", b"urn:iso:std:iso:ts:21496:-1"
_MOST = 2**22


def has_gain_map(image: Image.Image, file: Any) -> bool:
    """Return whether a picture has one, as far as one can tell without decoding it.

    Args:
        image: as Pillow has opened it.
        file: the same; at any position, and then at another.
    """
    with contextlib.suppress(Exception):  # Any: what is damaged has none.
        if image.format in ("AVIF", "HEIF"):
            start, end = find(file, b"meta")
            file.seek(start)
            content = file.read(min(end - start, _MOST))
            return any(sign in content for sign in (_APPLE, b"tmap", _ISO))
        if image.format in ("JPEG", "MPO"):
            parts = getattr(image, "applist", ())
            if any(sign in part for _, part in parts for sign in (_ADOBE, _ISO)):
                return True
            if image.format == "MPO":
                file.seek(0)
                content = file.read()
                return any(sign in content for sign in (_APPLE, _ADOBE, _ISO))
    return False
