"""Settings of a stylization, chosen for each image without retraining."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, fields, replace
from difflib import get_close_matches
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias, TypedDict, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.errors import ConfigError, ImageError, require_choice
from fast_style.images.arrays import is_tensor, mask_levels
from fast_style.images.picture import Picture, flatten, open_picture
from fast_style.stylizing.blends import style_weights
from fast_style.zoo import who_knows

if TYPE_CHECKING:
    from torch import Tensor

#: A style's name, or positive weights by name for a blend, normalized to sum 1.
StyleChoice: TypeAlias = str | Mapping[str, float]
#: White selects, gray selects in part: an image or its file, of any size; or an array or a tensor of shape
#: (height, width), of bools, bytes or floats in [0, 1].
Mask: TypeAlias = Union[Image.Image, str, Path, NDArray[Any], "Tensor"]  # text cannot stand beside |

#: Colors of the result: its own; its own, matched to the mean and covariance of the photograph; the photograph's.
PRESERVE_COLOR = ("none", "histogram", "luminance")

_RANGES = {"strength": (0, 1), "brush": (0.5, 2), "sharpen": (0, 1), "grain": (0, 1)}


class Settings(TypedDict, total=False):
    """Settings of `Controls`, as keyword arguments of `Stylizer`."""

    styles: StyleChoice | None
    strength: float
    mask: Mask | None
    masks: Mapping[str, Mask] | None
    preserve_color: str
    brush: float
    sharpen: float
    grain: float
    seed: int


@dataclass(frozen=True)
class Controls:
    """Settings of a stylization, applied in this order; all but `style` and `masks` can be combined.

    Attributes:
        brush: size of the strokes, from 0.5 to 2. The network gets the photograph at 1 / brush of its size, and its
            result is resized back. Time and memory are proportional to 1 / brush squared.
        style: a style's name, or weights by name for a blend; by default all styles equally.
        masks: in place of `style`, a mask for each of several styles by name. Where masks overlap, the styles are
            mixed by mask value; where they sum to less than white, the photograph shows through.
        preserve_color: one of PRESERVE_COLOR. `histogram` considers only pixels inside the masks.
        sharpen: strength of sharpening, from 0 to 1.
        grain: strength of luminance noise like film grain, from 0 to 1.
        seed: seed of the grain, not negative. It gives the same grain for all images of a size and all backends.
        mask: where the result shows; elsewhere the photograph does. Masks are read once, and resized to each
            image. Transparent pixels count as black.
        strength: opacity of the result over the photograph, from 0 to 1.
        styles: alias of `style` in the constructor, for the command line.

    Raises:
        ConfigError: if a value is out of range, or both `style` and `masks` are given.
        ImageError: if a mask file is not a readable image, or an array is not a valid mask.

    Example:
        >>> Controls(style="starry_night", strength=0.8, preserve_color="luminance").strength
        0.8
    """

    style: StyleChoice | None = None
    strength: float = 1.0
    mask: Mask | None = None
    masks: Mapping[str, Mask] | None = None
    preserve_color: str = "none"
    brush: float = 1.0
    sharpen: float = 0.0
    grain: float = 0.0
    seed: int = 0
    styles: InitVar[StyleChoice | None] = None

    def __post_init__(self, styles: StyleChoice | None) -> None:
        if styles is not None:
            object.__setattr__(self, "style", styles)
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, SupportsFloat) or not least <= float(value) <= most:
                raise ConfigError(f"{name} must be from {least} to {most}, not {value!r}")
        require_choice("preserve_color", self.preserve_color, PRESERVE_COLOR)
        if not isinstance(self.seed, Integral) or not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed must be a whole number from 0 to 2^64 - 1, not {self.seed!r}")
        if self.masks and self.style is not None:
            raise ConfigError("masks name the styles themselves: give masks or a style, not both")
        if self.mask is not None:
            object.__setattr__(self, "mask", _read_mask("mask", self.mask))
        if self.masks is not None:
            if not isinstance(self.masks, Mapping):
                raise ConfigError(f"masks must name styles, such as {{starry_night: sky.png}}, not {self.masks!r}")
            read = {name: _read_mask(f"masks.{name}", mask) for name, mask in self.masks.items()}
            object.__setattr__(self, "masks", read)

    @property
    def covers_all(self) -> bool:
        """Whether the result replaces the photograph everywhere."""
        return self.strength == 1 and self.mask is None and not self.masks

    @property
    def without_effects(self) -> bool:
        """Whether the result of the network is only resized."""
        return self.covers_all and self.preserve_color == "none" and not self.sharpen and not self.grain

    def rows(self, names: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the style weights of each image that the network has to make of one photograph.

        Raises:
            ConfigError: if a style is unknown, a weight is negative, or all are 0.
        """
        wanted = list(self.masks or ([self.style] if isinstance(self.style, str) else self.style or ()))
        if any(style not in names for style in wanted) and all(isinstance(style, str) for style in wanted):
            unknown = next(style for style in wanted if style not in names)
            also = f"; {knowing}" if (knowing := who_knows(wanted)) else ""
            raise ConfigError(f"there is no style {unknown} in this network; it has {', '.join(names)}{also}")
        return [style_weights(names, style) for style in (self.masks or [self.style])]

    def shares(self, height: int, width: int, top: int = 0, bottom: int | None = None) -> NDArray[np.float32]:
        """Return the mixing weight of each masked style at each pixel: (styles, 1, 1, height, width).

        Requires masks. Weights sum to 1, or are all 0 where every mask is black. `top` and `bottom` select rows of an
        image of this height.
        """
        planes = _planes((self.masks or {}).values(), height, width, top, bottom)
        # A thousandth is less than the smallest nonzero level of a mask.
        shares: NDArray[np.float32] = planes / planes.sum(0).clip(1e-3)
        return shares

    def cover(self, height: int, width: int, top: int = 0, bottom: int | None = None) -> NDArray[np.float32]:
        """Return the opacity of the result at each pixel: (1, 1, height, width), or (1, 1, 1, 1) without masks.

        `top` and `bottom` select rows of an image of this height.
        """
        cover: Any = np.full((1, 1, 1, 1), self.strength, np.float32)
        if self.mask is not None:
            cover = cover * _planes([self.mask], height, width, top, bottom)[0]
        if self.masks:
            cover = cover * _planes(self.masks.values(), height, width, top, bottom).sum(0).clip(0, 1)
        return np.asarray(cover, np.float32)


def chosen_controls(style: StyleChoice | None, controls: Controls | None, settings: Settings) -> Controls:
    """Return `controls` with a style and with settings by name in place of theirs.

    Raises:
        TypeError: if there is no such setting, or `controls` is something else.
        FastStyleError: as for `Controls`.
    """
    if controls is not None and not isinstance(controls, Controls):
        raise TypeError(f"controls must be fast_style.Controls(...), not {controls!r}; or give settings by name")
    known = [field.name for field in fields(Controls)] + ["styles"]
    if unknown := next((name for name in settings if name not in known), None):
        meant = get_close_matches(unknown, known, n=1)
        raise TypeError(f"there is no setting {unknown}{f'; did you mean {meant[0]}?' if meant else ''}")
    given = settings if style is None else {"style": style, **settings}
    # A new one only if needed: it reads the files of masks.
    return replace(controls or Controls(), **given) if given else controls or Controls()


def _read_mask(name: str, mask: object) -> Image.Image:
    if isinstance(mask, Image.Image):
        return flatten(Picture.of(mask), background=(0, 0, 0)).convert("L")
    if isinstance(mask, str | Path):
        try:
            return flatten(open_picture(mask), background=(0, 0, 0)).convert("L")
        except ImageError as error:
            raise ImageError(f"{name}={error}") from None
    if isinstance(mask, np.ndarray) or is_tensor(mask):
        return Image.fromarray(mask_levels(name, mask))
    raise ConfigError(f"{name} must be a picture or the path of one, not {mask!r}")


def _planes(masks: Iterable[Any], height: int, width: int, top: int, bottom: int | None) -> NDArray[np.float32]:
    bottom = height if bottom is None else bottom
    resized = [
        # Bilinear, because Lanczos rings at hard edges.
        mask.resize(
            (width, bottom - top),
            Image.Resampling.BILINEAR,
            (0, top * mask.height / height, mask.width, bottom * mask.height / height),
        )
        for mask in masks
    ]
    return np.stack([np.asarray(mask, np.float32) / np.float32(255) for mask in resized])[:, None, None]
