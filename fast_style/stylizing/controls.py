"""What a person sets, picture by picture, without another training."""

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

#: A style's name, or weights by name for a blend: any positive numbers, scaled to sum to 1.
Style: TypeAlias = str | Mapping[str, float]
#: White where something holds, gray where it does in part: a picture or its file, of any size; or an array or a tensor
#: of shape (height, width), of bools, bytes or floats in [0, 1].
Mask: TypeAlias = Union[Image.Image, str, Path, NDArray[Any], "Tensor"]  # text cannot stand beside |

#: Whose colors the result has: its own; its own, brought to the photograph's mean and covariance; the photograph's.
PRESERVE_COLOR = ("none", "histogram", "luminance")

_RANGES = {"strength": (0, 1), "brush": (0.5, 2), "sharpen": (0, 1), "grain": (0, 1)}


class Settings(TypedDict, total=False):
    """Controls by name, as `Stylizer` takes them besides the style."""

    styles: Style | None
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
    """How a picture is stylized; the attributes act in this order, all combinable.

    Attributes:
        brush: the size of the strokes, from 0.5 to 2. The network sees the photograph at 1 / brush of its size, and
            what it makes of it is brought back. Time and memory go by 1 / brush squared.
        style: a style's name, or weights by name for a blend; nothing: all styles of the network alike.
        masks: instead of `style`, a mask for each of several styles by its name. Where they overlap the styles are
            mixed by their weight there; where they sum to less than white the photograph shows through.
        preserve_color: one of PRESERVE_COLOR. `histogram` looks at no more than the masks let through.
        sharpen: how much clearer edges become, from 0 to 1.
        grain: how much noise of the luminance, as of film, from 0 to 1.
        seed: which grain, not negative. It is the same at any time, in any picture of a size, with any backend.
        mask: where any of it shows; elsewhere the photograph does. Masks are read once, and stretched to each
            picture. What is transparent in one counts as black.
        strength: how much of it shows, from 0 to 1.
        styles: another name of `style` for the constructor, as the command line has it.

    Raises:
        ConfigError: if one of them is out of range, or both `style` and `masks` are given.
        ImageError: if the file of a mask is not a readable picture, or an array is no mask.
    """

    style: Style | None = None
    strength: float = 1.0
    mask: Mask | None = None
    masks: Mapping[str, Mask] | None = None
    preserve_color: str = "none"
    brush: float = 1.0
    sharpen: float = 0.0
    grain: float = 0.0
    seed: int = 0
    styles: InitVar[Style | None] = None

    def __post_init__(self, styles: Style | None) -> None:
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
        """Whether the photograph shows nowhere, whatever its size."""
        return self.strength == 1 and self.mask is None and not self.masks

    @property
    def without_effects(self) -> bool:
        """Whether nothing is done to what the network has made, but to bring it to its size."""
        return self.covers_all and self.preserve_color == "none" and not self.sharpen and not self.grain

    def rows(self, names: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the style weights, among `names`, of each picture that the network is to make of a photograph.

        Raises:
            ConfigError: if there is no such style, or a weight is negative, or all are 0.
        """
        wanted = list(self.masks or ([self.style] if isinstance(self.style, str) else self.style or ()))
        if any(style not in names for style in wanted) and all(isinstance(style, str) for style in wanted):
            unknown = next(style for style in wanted if style not in names)
            also = f"; {knowing}" if (knowing := who_knows(wanted)) else ""
            raise ConfigError(f"there is no style {unknown} in this network; it has {', '.join(names)}{also}")
        return [style_weights(names, style) for style in (self.masks or [self.style])]

    def shares(self, height: int, width: int, top: int = 0, bottom: int | None = None) -> NDArray[np.float32]:
        """Return how much of each of those pictures their mixture takes at each pixel: (rows, 1, 1, height, width).

        With masks only. Where none of them has any weight, all are 0; elsewhere they sum to 1. Of a strip of a picture
        of this height, if `top` and `bottom` are given.
        """
        planes = _planes((self.masks or {}).values(), height, width, top, bottom)
        # A thousandth is less than the least that a mask of 256 levels has.
        shares: NDArray[np.float32] = planes / planes.sum(0).clip(1e-3)
        return shares

    def cover(self, height: int, width: int, top: int = 0, bottom: int | None = None) -> NDArray[np.float32]:
        """Return how much of the outcome shows at each pixel: (1, 1, height, width), or (1, 1, 1, 1) without masks.

        Of a strip of a picture of this height, if `top` and `bottom` are given.
        """
        cover: Any = np.full((1, 1, 1, 1), self.strength, np.float32)
        if self.mask is not None:
            cover = cover * _planes([self.mask], height, width, top, bottom)[0]
        if self.masks:
            cover = cover * _planes(self.masks.values(), height, width, top, bottom).sum(0).clip(0, 1)
        return np.asarray(cover, np.float32)


def chosen_controls(style: Style | None, controls: Controls | None, settings: Settings) -> Controls:
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
        # Not Lanczos, which puts a rim around hard edges.
        mask.resize(
            (width, bottom - top),
            Image.Resampling.BILINEAR,
            (0, top * mask.height / height, mask.width, bottom * mask.height / height),
        )
        for mask in masks
    ]
    return np.stack([np.asarray(mask, np.float32) / np.float32(255) for mask in resized])[:, None, None]
