"""Conversion to sRGB from ICC profiles, CIE L*a*b* (ISO 11664-4) and color spaces by number (ITU-T H.273)."""

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

#: CIE 1931 x and y of red, green, blue and white.
Chromaticities: TypeAlias = tuple[float, float, float, float, float, float, float, float]

_C, _D65, _DCI, _E = (0.310, 0.316), (0.3127, 0.3290), (0.314, 0.351), (1 / 3, 1 / 3)
_BT709: Chromaticities = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65)
_SMPTE_C: Chromaticities = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65)
#: Primaries by number, H.273 table 2.
PRIMARIES: dict[int, Chromaticities] = {
    1: _BT709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: _SMPTE_C,
    7: _SMPTE_C,
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, *_E),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_DCI),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
_SRGB = 13
# Transfer curves of television are taken as sRGB's, as in browsers and in our videos.
_AS_SRGB = (1, 6, 11, 12, 14, 15, _SRGB)
_PQ, _HLG = 16, 18
# H.273's number for "unspecified".
_UNSPECIFIED = 2
# Diffuse white of 203 cd/m2 (ITU-R BT.2408), relative to PQ's peak of 10000.
_WHITE_OF_PQ = 203 / 10_000
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# Pixels converted to floating point at a time.
_BLOCK = 2**18


class UnknownColorsError(Exception):
    """A color space number that H.273 does not define, or that cannot be read."""


@dataclass(frozen=True)
class Space:
    """An RGB color space."""

    primaries: Chromaticities  #: chromaticities of red, green, blue and white
    transfer: int = _SRGB  #: transfer characteristics, as an H.273 number
    limited: bool = False  #: limited range: of 255, black is 16 and white 235
    gamma: float | None = None  #: exponent of the transfer curve; replaces `transfer` if given

    @property
    def is_hdr(self) -> bool:
        """Whether levels go beyond diffuse white: PQ or HLG."""
        return self.transfer in (_PQ, _HLG)

    @property
    def is_srgb(self) -> bool:
        """Whether this is sRGB to within 1 of 255 levels."""
        near = np.abs(np.subtract(self.primaries, _BT709)).max() < 0.0015
        return bool(near) and self.gamma is None and self.transfer in _AS_SRGB and not self.limited

    def to_srgb(self, levels: NDArray[Any]) -> NDArray[Any]:
        """Convert gray (height, width) or RGB (height, width, 3) levels to sRGB (height, width, 3).

        Args:
            levels: np.uint8 or np.uint16; the result has the same type.
        """
        height, width = levels.shape[:2]
        white = np.iinfo(levels.dtype).max
        light = _light_table(self.transfer, self.gamma, self.limited, white)
        matrix = to_linear_srgb(self.primaries).T.astype(np.float32)
        result = np.empty((height, width, 3), levels.dtype)
        rows = max(1, _BLOCK // max(width, 1))
        for top in range(0, height, rows):
            linear = light[levels[top : top + rows]]
            if self.transfer == _HLG:
                linear = _hlg_display_light(linear)
            linear = np.repeat(linear[:, :, None], 3, axis=2) if levels.ndim == 2 else linear @ matrix
            result[top : top + rows] = np.rint(curved(linear.clip(0, 1)) * white)
        return result


#: Adobe RGB (1998), which EXIF (DCF) marks by R03.
ADOBE_RGB = Space((0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65), gamma=563 / 256)

_KEY = "space of fast_style"


def declare(image: Image.Image, space: Space) -> None:
    """Record the color space of an image in Pillow's `info`, which is copied with it."""
    image.info[_KEY] = space


def declared(image: Image.Image) -> Space | None:
    """Return the recorded color space; None if there is none, or it is sRGB."""
    space: Space | None = image.info.get(_KEY)
    return space


def numbered(primaries: int = _UNSPECIFIED, transfer: int = _UNSPECIFIED, limited: bool = False) -> Space | None:
    """Return the color space of H.273 numbers; None if all are unspecified.

    Raises:
        UnknownColorsError: if a number is unknown.
    """
    if primaries == transfer == _UNSPECIFIED:
        return None
    first = 1 if primaries == _UNSPECIFIED else primaries
    second = _SRGB if transfer == _UNSPECIFIED else transfer
    if first not in PRIMARIES or second not in _LIGHT:
        raise UnknownColorsError(f"colors of the unknown kind {primaries}/{transfer} of ITU-T H.273 taken as sRGB")
    return Space(PRIMARIES[first], second, limited)


@functools.lru_cache(maxsize=64)
def to_linear_srgb(primaries: Chromaticities) -> NDArray[np.float64]:
    """Return the matrix from linear RGB of these primaries to linear sRGB."""
    return np.linalg.inv(_to_xyz(_BT709)) @ adapted(primaries[6:], _D65) @ _to_xyz(primaries)


def adapted(white: Any, other: Any) -> NDArray[np.float64]:
    """Return the Bradford matrix that adapts XYZ from one white to another, each by x and y."""
    cones = [_BRADFORD @ _xyz(*each) for each in (white, other)]
    matrix: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(cones[1] / cones[0]) @ _BRADFORD
    return matrix


def curved(linear: NDArray[Any]) -> NDArray[Any]:
    """Apply the sRGB transfer curve (IEC 61966-2-1) to linear light from 0 to 1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_xyz(primaries: Chromaticities) -> NDArray[np.float64]:
    points = np.array(primaries).reshape(4, 2)
    colors = np.array([(x, y, 1 - x - y) for x, y in points[:3]]).T
    matrix: NDArray[np.float64] = colors * np.linalg.solve(colors, _xyz(*points[3]))
    return matrix


@functools.lru_cache(maxsize=16)
def _light_table(transfer: int, gamma: float | None, limited: bool, white: int) -> NDArray[np.float32]:
    """Table of linear light by level, 1 being white; for HLG, scene light."""
    signal = np.arange(white + 1) / white
    if limited:
        step = (white + 1) / 256
        signal = ((np.arange(white + 1) / step - 16) / 219).clip(0, 1)
    light: NDArray[Any] = signal**gamma if gamma else _LIGHT[transfer](signal)
    return light.astype(np.float32)


def _srgb(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def _pq(signal: NDArray[np.float64]) -> NDArray[Any]:
    """PQ signal to light (SMPTE ST 2084)."""
    power = signal ** (32 / 2523)
    above = np.maximum(power - 3424 / 4096, 0)
    return (above / (2413 / 128 - 2392 / 128 * power)) ** (16384 / 2610) / _WHITE_OF_PQ


def _hlg(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """HLG signal to scene light (ITU-R BT.2100)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


#: From signal to linear light, by H.273 transfer number.
_LIGHT: dict[int, Callable[[NDArray[np.float64]], NDArray[Any]]] = {
    **dict.fromkeys(_AS_SRGB, _srgb),
    4: lambda signal: signal**2.2,
    5: lambda signal: signal**2.8,
    7: lambda signal: np.where(signal < 0.0912, signal / 4, ((signal + 0.1115) / 1.1115) ** (1 / 0.45)),
    8: lambda signal: signal,
    9: lambda signal: np.where(signal <= 0, 0, 10 ** (2 * (signal - 1))),
    10: lambda signal: np.where(signal <= 0, 0, 10 ** (2.5 * (signal - 1))),
    17: lambda signal: 52.37 / 48 * signal**2.6,
    _PQ: _pq,
    _HLG: _hlg,
}


def _hlg_display_light(scene: NDArray[Any]) -> NDArray[Any]:
    """HLG scene light on a display of 1000 cd/m2, relative to diffuse white at 75 % signal (BT.2408)."""
    paper = float(_hlg(np.array(0.75)))
    luminance = scene if scene.ndim == 2 else (scene @ np.array([0.2627, 0.6780, 0.0593], scene.dtype))[:, :, None]
    shown: NDArray[Any] = scene / paper * (luminance / paper) ** 0.2
    return shown


@functools.lru_cache(maxsize=64)  # Most images of a collection share a few profiles.
def transform_to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Transform from a profile to sRGB; None if the profile is unusable for this mode, or equals sRGB."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    if mode == "RGB":
        chart = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        if np.abs(np.asarray(transform.apply(Image.fromarray(chart))).astype(int) - chart).max() <= 1:
            return None
    return transform


def deep_to_srgb(pixels: NDArray[np.uint16], profile: bytes, space: Space | None = None) -> NDArray[np.uint16] | None:
    """Convert 16-bit gray (height, width) or RGB (height, width, 3) to sRGB; None if imagecodecs is not installed.

    Args:
        pixels: the levels.
        profile: ICC profile; empty: sRGB.
        space: color space, used instead of a profile if given.
    """
    if space is not None:
        return space.to_srgb(pixels)
    if not profile:
        return np.stack([pixels] * 3, 2) if pixels.ndim == 2 else pixels
    if find_spec("imagecodecs") is None:
        return None
    import imagecodecs

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kind = "gray" if pixels.ndim == 2 else "rgb"
    converted: NDArray[np.uint16] = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels), profile, srgb, colorspace=kind, outcolorspace="rgb"
    )
    return converted


#: x and y of D50, the white of print.
D50 = (0.3457, 0.3585)


def lab_levels(found: NDArray[Any], channel: int, bits: int, icc: bool) -> NDArray[np.uint16]:
    """Encode one channel of L*a*b* at 16 bits: L* of 100 is 65535; a* and b* are offset by 32768, 256 per unit.

    Args:
        found: levels as stored in a TIFF, or floating point values.
        channel: 0, 1 or 2 for L*, a*, b*; 3 for opacity.
        bits: 8 or 16.
        icc: ICC encoding, with an offset; otherwise a* and b* are signed.
    """
    color = channel in (1, 2)
    levels: NDArray[Any]
    if found.dtype.kind == "f":
        levels = np.rint(np.nan_to_num(found.astype(np.float64) * (256 if color else 655.35) + 32768 * color))
    else:
        levels = found.astype(np.int64) & (2**bits - 1)
        if color and not icc:
            levels = (levels + 2 ** (bits - 1)) % 2**bits
        if bits == 8:
            levels = levels << 8 if color else levels * 257
        elif icc and channel == 0:
            # ICC encodes L* of 100 as 65280.
            levels = np.rint(levels * (65535 / 65280))
    return levels.clip(0, 65535).astype(np.uint16)


def lab_to_srgb(levels: NDArray[np.uint16], white: tuple[float, float] = D50) -> NDArray[np.uint16]:
    """Convert L*a*b* in the encoding of `lab_levels`, (height, width, channels), to sRGB; a fourth channel is kept.

    Args:
        levels: the encoded channels; if there is one, it is L*.
        white: reference white of L*a*b*, by x and y.
    """
    result = np.empty((*levels.shape[:2], max(3, levels.shape[2])), np.uint16)
    to_linear = (np.linalg.inv(_to_xyz(_BT709)) @ adapted(white, _D65) * _xyz(*white)).T
    for row, new in zip(levels, result, strict=True):
        middle = (row[:, 0] / 655.35 + 16) / 116
        ab = (row[:, 1:3].astype(np.float64) - 32768) / 256 if row.shape[1] > 2 else np.zeros((len(row), 2))
        ratios = np.stack([middle + ab[:, 0] / 500, middle, middle - ab[:, 1] / 200], axis=1)
        # XYZ relative to the reference white.
        xyz = np.where(ratios > 6 / 29, ratios**3, 3 * (6 / 29) ** 2 * (ratios - 4 / 29))
        new[:, :3] = np.rint(curved((xyz @ to_linear).clip(0, 1)) * 65535)
        new[:, 3:] = row[:, 3:]
    return result
