"""Color primaries and transfer from AV1 (5.5) and HEVC (ITU-T H.265, 7.3.2.2) headers, for files without "colr"."""

from fast_style.images.spaces import UnknownColorsError

_SEQUENCE_HEADER, _SEQUENCE_PARAMETERS = 1, 33


class _Bits:
    """Reads bits, most significant first; raises ValueError at the end."""

    def __init__(self, content: bytes) -> None:
        self._whole, self._left = int.from_bytes(content), 8 * len(content)

    def __call__(self, count: int = 1) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("a header that is cut short")
        return self._whole >> self._left & (1 << count) - 1

    def exp_golomb(self, count: int = 1) -> int:
        """Read `count` Exp-Golomb numbers and return the last."""
        number = 0
        for _ in range(count):
            zeros = 0
            while not self():
                zeros += 1
            number = (1 << zeros) - 1 + self(zeros)
        return number


def av1_colors(content: bytes) -> tuple[int, int] | None:
    """Read the color primaries and transfer, as H.273 numbers, from an AV1 stream.

    Args:
        content: the beginning of the stream.

    Returns:
        None if the stream does not specify them.

    Raises:
        ValueError, LookupError: if the stream is damaged.
        UnknownColorsError: if it has a feature that this parser does not read.
    """
    place = 0
    while content[place] >> 3 & 15 != _SEQUENCE_HEADER:
        place, length = _payload(content, place)
        place += length
    place, length = _payload(content, place)
    bits = _Bits(content[place : place + length])
    profile, _, reduced = bits(3), bits(), bits()
    if reduced:
        bits(5)
    else:
        _skip_operating_points(bits)
    width, height = bits(4), bits(4)
    bits(width + height + 2)
    if not reduced and bits():
        bits(7)
    bits(3)
    if not reduced:
        bits(4)
        ordered = bits()
        bits(2 * ordered)
        if (bits() or bits()) and not bits():
            bits()
        bits(3 * ordered)
    bits(3)
    if bits() and profile == 2:
        bits()
    if profile != 1:
        bits()
    return (bits(8), bits(8)) if bits() else None


def hevc_colors(config: bytes) -> tuple[int, int] | None:
    """Read the same as `av1_colors` from the content of an "hvcC" box, with the same errors."""
    place, kind, count = 23, config[23] & 63, 0
    while kind != _SEQUENCE_PARAMETERS or not count:
        kind, count = config[place] & 63, int.from_bytes(config[place + 1 : place + 3])
        place += 3
        if kind != _SEQUENCE_PARAMETERS:
            for _ in range(count):
                place += 2 + int.from_bytes(config[place : place + 2])
    length = int.from_bytes(config[place : place + 2])
    bits = _Bits(config[place + 4 : place + 2 + length].replace(b"\0\0\3", b"\0\0"))
    bits(4)
    layers = bits(3)
    bits(97)
    if layers:
        raise _unsupported("HEVC")
    bits.exp_golomb()
    if bits.exp_golomb() == 3:
        bits()
    bits.exp_golomb(2)
    bits.exp_golomb(4 * bits())
    bits.exp_golomb(3)
    bits()
    bits.exp_golomb(9)
    if bits() and bits():
        raise _unsupported("HEVC")
    bits(2)
    if bits():
        bits(8)
        bits.exp_golomb(2)
        bits()
    # Reference picture sets: a still image has none.
    if bits.exp_golomb() or bits():
        raise _unsupported("HEVC")
    bits(2)
    if not bits():
        return None
    if bits() and bits(8) == 255:
        bits(32)
    if bits():
        bits()
    if not bits():
        return None
    bits(4)
    return (bits(8), bits(8)) if bits() else None


def _payload(content: bytes, place: int) -> tuple[int, int]:
    """Start and length of the payload of an AV1 OBU."""
    head = content[place]
    place, length = place + 1 + (head >> 2 & 1), 0
    if not head & 2:
        return place, len(content) - place
    for shift in range(0, 56, 7):
        place += 1
        length |= (content[place - 1] & 127) << shift
        if content[place - 1] < 128:
            break
    return place, length


def _skip_operating_points(bits: _Bits) -> None:
    """Skip the timing and operating points of an AV1 sequence header."""
    if bits():
        bits(64)
        if bits():
            bits.exp_golomb()
        if bits():
            raise _unsupported("AV1")
    delayed = bits()
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits()
        if delayed and bits():
            bits(4)


def _unsupported(kind: str) -> UnknownColorsError:
    return UnknownColorsError(f"no colors in its boxes, and none that can be read in its {kind}: taken as sRGB")
