"""TIFF (6.0, and Adobe's supplements) of any depth and sample format, including what Pillow rejects or misreads."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

from fast_style.images.formats import HAS_CODECS
from fast_style.images.levels import plain_opacity, stretched, to_8_bits
from fast_style.images.notes import notes_of
from fast_style.images.spaces import D50, lab_levels, lab_to_srgb

_BITS, COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _SAMPLES, PLANES = 258, 259, 262, 266, 274, 277, 284
_WHITE, _COLOR_MAP, _INK_SET, _EXTRA, _FORMAT, PROFILE = 318, 320, 332, 338, 339, 34675
WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, CMYK, YCBCR, CIELAB, ICCLAB, ITULAB = 0, 1, 2, 3, 5, 6, 8, 9, 10
# Number of color channels by photometric interpretation.
COLORS: Mapping[int, int] = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
_MEANINGS = {4: "a transparency mask", 10: "ITU L*a*b*", 32803: "the mosaic of a camera's sensor"}
_MEANINGS |= {34892: "the light that a camera's sensor saw", 32844: "LogL", 32845: "LogLuv", 51177: "a depth map"}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
FORMATS: Mapping[int, str] = {UNSIGNED: "unsigned", SIGNED: "signed", FLOAT: "floating point", 5: "complex"}
_UNSPECIFIED, _PREMULTIPLIED, _OPACITY = 0, 1, 2
# Compressions that the libtiff in Pillow's wheels decodes.
_LIBTIFF_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
# Files with more extra channels are measurements, not images.
_MAX_EXTRA = 4
# With peaks above this, white would clip most of the light; no image on a 0 to 255 scale is that dark.
_MAX_LIGHT = 16


@dataclass(frozen=True)
class Kind:
    """The pixel format of a TIFF page."""

    size: tuple[int, int]  #: width and height of the stored pixels
    photometric: int  #: PhotometricInterpretation, by its tag value
    bits: int  #: bits per channel
    format: int  #: SampleFormat: 1 unsigned, 2 signed, 3 floating point
    opacity: int | None  #: index of the opacity channel, or None
    premultiplied: bool  #: whether colors are multiplied by the opacity
    left_out: int  #: number of channels without a known meaning
    orientation: int  #: orientation of the stored pixels, by its tag value
    palette: NDArray[np.uint16] | None  #: RGB of each index, 16 bits each, or None
    white: tuple[float, float] = D50  #: reference white of L*a*b*, by x and y

    @classmethod
    def of(cls, tags: Any) -> "Kind":
        """Read the format from the tags of a page.

        Raises:
            ValueError: if such numbers are no image; the message names them.
        """
        samples = int(tags.get(_SAMPLES, 1))
        photometric = int(tags.get(_PHOTOMETRIC, _RGB if samples > 2 else WHITE_IS_ZERO))
        colors = COLORS.get(photometric)
        if colors is None:
            raise ValueError(f"TIFF of {_MEANINGS.get(photometric, f'the unknown photometric {photometric}')}")
        if photometric == CMYK and tags.get(_INK_SET, 1) != 1:
            raise ValueError("TIFF of inks other than CMYK")
        bits, formats = (set(np.atleast_1d(tags.get(tag, 1)).tolist()) for tag in (_BITS, _FORMAT))
        # Format 4, undefined, is mostly unsigned.
        formats = {UNSIGNED if each == 4 else each for each in formats}
        if len(bits) > 1 or len(formats) > 1 or not formats <= {UNSIGNED, SIGNED, FLOAT}:
            named = " and ".join(FORMATS.get(each, f"unknown {each}") for each in sorted(formats))
            depths = ", ".join(map(str, np.atleast_1d(tags.get(_BITS, 1)).tolist()))
            raise ValueError(f"TIFF of {named} numbers of {depths} bits")
        if samples < colors and not (photometric in (YCBCR, CIELAB) and samples == 1):
            raise ValueError(f"TIFF of {samples} channels where there must be {colors}")
        colors = min(colors, samples)
        declared = tuple(np.atleast_1d(tags.get(_EXTRA, ())).tolist())
        # Old programs write an opacity channel without declaring it.
        extra = declared or ((_OPACITY,) if samples == colors + 1 and photometric in (_BLACK_IS_ZERO, _RGB) else ())
        extra = (extra + (_UNSPECIFIED,) * (samples - colors))[: samples - colors]
        if len(extra) > _MAX_EXTRA or (colors == 1 and extra.count(_UNSPECIFIED) > 1):
            raise ValueError(f"TIFF of {samples} channels, of which {len(extra)} have no known meaning")
        # Corel Draw 10 writes 999.
        clear = [index for index, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _OPACITY, 999)]
        palette = None
        if photometric == _PALETTE:
            entries = np.array(tags[_COLOR_MAP], np.uint16).reshape(3, -1).T
            # Old programs write palettes of 0 to 255.
            palette = np.ascontiguousarray(entries if entries.max(initial=0) > 255 else entries * np.uint16(257))
        white = tuple(map(float, tags.get(_WHITE) or ()))
        return cls(
            size=(int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])),
            photometric=photometric,
            bits=bits.pop(),
            format=formats.pop(),
            opacity=colors + clear[0] if clear else None,
            premultiplied=bool(clear) and extra[clear[0]] == _PREMULTIPLIED,
            left_out=len(extra) - bool(clear),
            orientation=int(tags.get(_ORIENTATION, 1)),
            palette=palette,
            white=(white[0], white[1]) if len(white) == 2 and all(0 < each < 1 for each in white) else D50,
        )

    @property
    def is_deep(self) -> bool:
        """Whether colors have more than 8 bits and are read at 16."""
        return self.bits > 8 and self.photometric in (0, 1, 2, 8, 9)

    @property
    def mode(self) -> str:
        """Pillow's mode for this format."""
        mode = {CMYK: "CMYK", WHITE_IS_ZERO: "L", _BLACK_IS_ZERO: "L"}.get(self.photometric, "RGB")
        return mode if self.opacity is None or mode == "CMYK" else {"L": "LA", "RGB": "RGBA"}[mode]

    def __str__(self) -> str:
        return f"{FORMATS[self.format]} numbers of {self.bits} bits"

    def ends(
        self, lowest: float, highest: float, notes: list[str], above: float = 1, whole: bool = True
    ) -> tuple[float, float]:
        """Guess which numbers are black and white, where the type does not define it.

        Args:
            lowest: the smallest number in the page.
            highest: the largest; below `lowest` if there are none.
            notes: gets a note on what was assumed.
            above: for floating point, the fraction of positive numbers above 1.
            whole: for floating point, whether all are whole numbers.

        Raises:
            ValueError: if the numbers cannot be an image.
        """
        if lowest > highest:
            return 0.0, 1.0
        if self.format == FLOAT:
            # Resampling filters overshoot, and linear light has peaks above white.
            is_linear = highest > 2 and not whole and (above <= 0.5 or highest <= _MAX_LIGHT)
            level = 1 if is_linear else next((level for level in (1, 255, 65535) if highest <= 2 * level), None)
            # Sharpening leaves a few values below black; measurements reach as far below as above.
            if level is None or lowest < (-2 if level == 1 else -highest / 4):
                raise ValueError(
                    f"TIFF of floating point numbers from {lowest:.6g} to {highest:.6g}; 0 to 1 are expected"
                )
            if lowest < 0:
                notes.append("floating point levels below 0 taken as black")
            if highest > 1:
                notes.append(f"floating point levels above 1: taken as {'white' if level == 1 else f'0 to {level}'}")
            return 0.0, float(level)
        full = 2.0 ** (self.bits - (self.format == SIGNED)) - 1
        if lowest < -full / 64:
            # The full range, as in ImageMagick.
            notes.append(f"signed levels of {self.bits} bits: {-full - 1:.0f} taken as black and {full:.0f} as white")
            return -full - 1, full
        white = next((white for white in (255, 65535) if highest <= white < full), full)
        if white != full or self.format == SIGNED:
            notes.append(f"{FORMATS[self.format]} levels of {self.bits} bits: 0 to {white:.0f} taken as black to white")
        return 0.0, float(white)

    def pillow_is_right(self, tags: Any) -> bool:
        """Whether Pillow reads this format correctly, though perhaps 16 bits as 8."""
        separate, reversed_bits = tags.get(PLANES, 1) == 2, tags.get(_FILL_ORDER, 1) == 2
        if (
            tags.get(COMPRESSION, 1) not in _LIBTIFF_COMPRESSIONS
            or self.format != UNSIGNED
            or (self.premultiplied and self.bits != 8)
            or self.photometric in (CIELAB, ICCLAB, ITULAB)
            or (separate and (self.bits == 16 or self.left_out or self.premultiplied))
            or (reversed_bits and self.bits == 8 and self.photometric == WHITE_IS_ZERO)
        ):
            return False
        if self.palette is not None:
            return self.bits <= 8 and max(tags[_COLOR_MAP]) > 255
        if self.bits == 16:
            # Pillow rejects gray with opacity.
            return self.photometric in (_RGB, CMYK) or (self.photometric == _BLACK_IS_ZERO and self.opacity is None)
        return self.bits <= 8


#: Name of this reader in Pillow.
NAME = "TIFF of fast_style"


class TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF, decoded by Pillow if that does it correctly.

    Attributes:
        kind: pixel format of the current page.
        ours: whether this module decodes the page.
    """

    def _open(self) -> None:
        assert self.fp is not None
        if self.fp.read(4) == b"MM\0+":
            raise ValueError("BigTIFF with the highest byte first, which cannot be read; save it with the lowest first")
        self.fp.seek(0)
        super()._open()

    def _setup(self) -> None:
        # Overrides Pillow's method, which is called for each page after reading its tags.
        self.kind = Kind.of(self.tag_v2)
        self.ours = not self.kind.pillow_is_right(self.tag_v2)
        if not self.ours:
            try:
                super()._setup()
            except SyntaxError:  # An unknown mode.
                self.ours = True
        if self.ours:
            self._use_own_decoder()
        elif self.kind.photometric == YCBCR and not self.use_load_libtiff:
            # Pillow's own decoder handles neither subsampling nor ReferenceBlackWhite.
            self._mode, self.use_load_libtiff = "RGB", True
            self.tile = [ImageFile._Tile("libtiff", (0, 0, *self.kind.size), 0, ("RGBX", False, self.tag_v2.offset))]
        # Pillow has no mode for CMYK with opacity.
        count = self.kind.left_out + (self.kind.photometric == CMYK and self.kind.opacity is not None)
        if count and self.kind.photometric == CMYK:
            notes_of(self).append("an opacity or more inks beside CMYK left out")
        elif count:
            notes_of(self).append(f"{count} extra channel{'s' * (count > 1)} of no stated meaning left out")

    def _use_own_decoder(self) -> None:
        kind = self.kind
        if kind.photometric in (YCBCR, ITULAB):
            raise ValueError(f"TIFF of {'YCbCr' if kind.photometric == YCBCR else 'ITU L*a*b*'} in {kind}")
        compression = self.tag_v2.get(COMPRESSION, 1)
        self._compression = self.info["compression"] = TiffImagePlugin.COMPRESSION_INFO.get(compression, "")
        self._planar_configuration = self.tag_v2.get(PLANES, 1)
        self._mode, self._tile_size = kind.mode, kind.size
        self._size = kind.size[::-1] if kind.orientation in (5, 6, 7, 8) else kind.size
        self.use_load_libtiff = False
        self.tile = [ImageFile._Tile(NAME, (0, 0, *kind.size), 0, (self.tell(), kind, notes_of(self)))]
        # The profile of an L*a*b* file adds nothing.
        if PROFILE in self.tag_v2 and kind.photometric not in (CIELAB, ICCLAB):
            self.info["icc_profile"] = self.tag_v2[PROFILE]


def register() -> None:
    """Register the reader with Pillow."""
    Image.register_decoder(NAME, _Decoder)
    Image.register_open(NAME, TiffFile, TiffImagePlugin._accept)


class _Decoder(ImageFile.PyDecoder):
    """Decoder of the pages that `TiffFile` reads itself, at 8 bits per channel."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        index, kind, notes = self.args
        assert self.fd is not None
        deep = read(self.fd, index, kind, notes)
        self.set_as_raw(to_8_bits(deep).data.cast("B"), self.mode)  # type: ignore[arg-type]
        return -1, 0


def read(file: Any, index: int, kind: Kind, notes: list[str] | None = None) -> NDArray[np.uint16]:
    """Decode a page to 16-bit levels, of shape (height, width) or (height, width, channels).

    Channels are gray, RGB or CMYK, with opacity last; L*a*b* and palettes become sRGB.

    Args:
        file: binary and seekable; its position changes.
        index: index of the page.
        kind: its pixel format.
        notes: gets notes on what was assumed.

    Raises:
        Exception: any, if the page is damaged or contradicts its tags.
    """
    import tifffile

    # Named, because tifffile would ask the file for its name, and a file opened by descriptor has none.
    with tifffile.TiffFile(file, name="picture") as tiff:
        page: Any = tiff.pages[index]
        if (page.imagewidth, page.imagelength) != kind.size:
            raise ValueError(f"{page.imagewidth}x{page.imagelength} pixels in one place, and others in another")
        if page.dtype is None or page.imagedepth != 1:
            raise ValueError(f"TIFF of {kind} in a volume or of an unknown layout")
        colors = min(COLORS[kind.photometric], page.samplesperpixel)
        channels = [*range(colors), *(() if kind.opacity is None or kind.mode == "CMYK" else (kind.opacity,))]
        try:
            levels = _read_channels(page, kind, channels, [] if notes is None else notes)
        except Exception as error:
            # tifffile's own error names a package, but not our extra.
            if not HAS_CODECS and "imagecodecs" in str(error):
                needs = "which needs the package imagecodecs; install fast_style[formats]"
                raise ValueError(f"TIFF of {kind} in the compression {page.compression.name}, {needs}") from None
            raise
    return _to_colors(levels, kind, colors)


def _read_channels(page: Any, kind: Kind, channels: list[int], notes: list[str]) -> NDArray[np.uint16]:
    """Read channels as 16 bits; palette indices and L*a*b* are not scaled."""
    convert = _conversion(page, kind, channels, notes)
    width, height = kind.size
    levels = np.zeros((height, width, len(channels)), np.uint16)
    for channel, part, (top, left) in _segments(page):
        rows, columns = min(part.shape[0], height - top), min(part.shape[1], width - left)
        for place, wanted in enumerate(channels):
            if channel <= wanted < channel + part.shape[2]:
                pixels = part[:rows, :columns, wanted - channel]
                levels[top : top + rows, left : left + columns, place] = convert(pixels, place)
    return levels


def _segments(page: Any) -> Iterator[tuple[int, NDArray[Any], tuple[int, int]]]:
    """Yield the first channel, the pixels (rows, columns, channels) and the position (top, left) of strips or tiles."""
    for data, place, _ in page.segments():
        if data is not None:
            yield (place[0] if page.planarconfig == 2 else place[4]), data[0], (place[2], place[3])


def _conversion(
    page: Any, kind: Kind, channels: list[int], notes: list[str]
) -> Callable[[NDArray[Any], int], NDArray[np.uint16]]:
    """Return a function that converts the numbers of a channel, given its place among `channels`, to 16 bits."""
    if kind.palette is not None:
        if kind.format != UNSIGNED or kind.bits > 16:
            raise ValueError(f"TIFF of a palette for {kind}")
        return lambda pixels, _: pixels.astype(np.uint16)
    if kind.photometric in (CIELAB, ICCLAB):
        if kind.bits not in (8, 16) and kind.format != FLOAT:
            raise ValueError(f"TIFF of L*a*b* in {kind}")
        return lambda pixels, place: lab_levels(pixels, place, kind.bits, icc=kind.photometric == ICCLAB)
    if kind.format == UNSIGNED and kind.bits <= 16:
        return lambda pixels, _: stretched(pixels, 2**kind.bits - 1)
    # Opacity has a range of its own: floating point colors from 0 to 255 may have an opacity from 0 to 1.
    colors = [channel for channel in channels if channel != kind.opacity]
    ends = [_limits(page, kind, colors, notes)] * len(colors)
    if kind.opacity in channels:
        ends.append(_limits(page, kind, [kind.opacity], []))

    def stretch(pixels: NDArray[Any], place: int) -> NDArray[np.uint16]:
        black, white = ends[place]
        levels = np.nan_to_num((pixels.astype(np.float64) - black) * (65535 / (white - black)), posinf=65535, neginf=0)
        return np.rint(levels).clip(0, 65535).astype(np.uint16)

    return stretch


def _limits(page: Any, kind: Kind, channels: list[int], notes: list[str]) -> tuple[float, float]:
    """Find the numbers for black and white from all pixels: programs use only a part of such types, and do not say."""
    lowest, highest = np.inf, -np.inf
    positive, above, whole, unknown = 0, 0, True, False
    for first, part, _ in _segments(page):
        wanted = [channel - first for channel in channels if first <= channel < first + part.shape[2]]
        values = part[:, :, wanted]
        if kind.format == FLOAT:
            unknown = unknown or bool(np.isnan(values).any())
            values = values[np.isfinite(values)]
            positive, above = positive + int((values > 0).sum()), above + int((values > 1).sum())
            whole = whole and bool((values == np.rint(values)).all())
        if values.size:
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
    if unknown:
        notes.append("floating point levels that are no numbers (NaN): taken as black")
    return kind.ends(lowest, highest, notes, above / max(positive, 1), whole)


def _to_colors(levels: NDArray[np.uint16], kind: Kind, colors: int) -> NDArray[np.uint16]:
    """Convert palette, L*a*b*, premultiplied and inverted levels to plain colors, with opacity last."""
    if kind.palette is not None:
        if levels[:, :, 0].max(initial=0) >= len(kind.palette):
            raise ValueError(f"an index above the {len(kind.palette)} colors of the palette")
        levels = np.concatenate([kind.palette[levels[:, :, 0]], levels[:, :, 1:]], axis=2)
        colors = 3
    elif kind.photometric in (CIELAB, ICCLAB):
        levels = lab_to_srgb(levels, kind.white)
        colors = 3
    for row in levels:
        if kind.premultiplied and kind.mode != "CMYK":
            row[:, :colors] = plain_opacity(row[:, :colors], row[:, colors:])
        if kind.photometric == WHITE_IS_ZERO:
            row[:, :colors] = 65535 - row[:, :colors]
    return levels[:, :, 0] if levels.shape[2] == 1 else levels
