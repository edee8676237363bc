"""Images in memory: checks NumPy arrays and torch tensors, and returns results in the same shape and type."""

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import ArrayError

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import TypeIs

#: The result is of the same kind as the input.
Pixels = TypeVar("Pixels", NDArray[Any], "Tensor")
#: The value of white, by dtype.
WHITES = {"uint8": 255, "uint16": 65535} | dict.fromkeys(("float16", "bfloat16", "float32", "float64"), 1)
#: Values this far outside [0, 1] are clipped, as rounding: in bfloat16, the next number after 1 is 1.0078.
TOLERANCE = 0.01


def is_tensor(value: object) -> "TypeIs[Tensor]":
    """Whether a value is a torch tensor, without importing torch."""
    # If torch is not imported, no tensor can exist.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


class InMemory:
    """One image, an array (height, width, 3) or a tensor (3, height, width), or a batch of them.

    Args:
        given: RGB, as uint8 (0 to 255), uint16 (0 to 65535) or floats in [0, 1].

    Attributes:
        batch: the same values as (batch, 3, height, width), in a byte order and with strides that torch accepts.
        white: the value of white.

    Raises:
        ArrayError: if its shape or type is none of these.
    """

    def __init__(self, given: "NDArray[Any] | Tensor") -> None:
        self._given = given
        self._dtype = _dtype(given)
        shape = tuple(given.shape)
        self._name = f"{'a tensor' if is_tensor(given) else 'an array'} of shape {shape}"
        self._require_shape(shape)
        if is_tensor(given) and (str(given.layout) != "torch.strided" or given.is_meta):
            raise ArrayError(f"{self._name}: it is sparse or without values; give an ordinary one, as by to_dense()")
        if self._dtype not in WHITES:
            raise ArrayError(
                f"{self._name} and type {self._dtype}: give uint8 from 0 to 255, uint16 from 0 to 65535, or floats in "
                "[0, 1]"
            )
        self.white = WHITES[self._dtype]
        self.batch = given if len(shape) == 4 else given[None]
        if isinstance(self.batch, np.ndarray):
            # A copy, because torch rejects read-only arrays, negative strides and foreign byte orders.
            planes = self.batch.transpose(0, 3, 1, 2)
            self.batch = np.array(planes, np.uint8 if self._dtype == "uint8" else np.float32, order="C")

    def in_range(self, placed: Any) -> Any:
        """Scale the batch, already float32 and on the computing device, to [0, 1], as a new array.

        Raises:
            ArrayError: if it has values out of range.
        """
        images = placed / self.white
        least, most = (float(value) for value in (images.min(), images.max()))
        if not (least >= -TOLERANCE and most <= 1 + TOLERANCE):
            raise ArrayError(f"{self._name} and type {self._dtype}: {_range_problem(least, most)}")
        return images.clip(0, 1)

    def like(self, images: Any) -> Any:
        """Convert (batch, 3, height, width) in [0, 1] to the shape, dtype and device of the input."""
        levels = (images * self.white).round() if self.white != 1 else images
        given = self._given
        if isinstance(given, np.ndarray):
            result = levels.cpu().numpy() if is_tensor(levels) else levels
            result = np.ascontiguousarray(result.transpose(0, 2, 3, 1).astype(given.dtype))
        else:
            result = levels if is_tensor(levels) else sys.modules["torch"].from_numpy(levels)
            result = result.to(given.device, given.dtype)
        return result if given.ndim == 4 else result[0]

    def _require_shape(self, shape: tuple[int, ...]) -> None:
        is_array = isinstance(self._given, np.ndarray)
        expected, hint = "(height, width, 3)" if is_array else "(3, height, width)", None
        message = f"pictures are RGB of shape {expected}, or a batch of these"
        channels, swapped = (-1, -3) if is_array else (-3, -1)
        if len(shape) not in (3, 4):
            remedy = "np.stack([gray] * 3, axis=-1)" if is_array else "gray.expand(3, -1, -1)"
            hint = f"gray becomes that by {remedy}" if len(shape) == 2 else None
        elif shape[channels] == 3:
            if 0 not in shape:
                return
            hint = "this is empty"
        elif shape[swapped] == 3:
            axes = tuple(axis + len(shape) - 3 for axis in ((1, 2, 0) if is_array else (2, 0, 1)))
            axes = axes if len(shape) == 3 else (0, *axes)
            hint = f"give {'array.transpose' if is_array else 'tensor.permute'}{axes}"
        elif shape[channels] == 4:
            hint = f"leave out the opacity: {'array[..., :3]' if is_array else 'tensor[..., :3, :, :]'}"
        elif shape[channels] == 1:
            hint = f"repeat gray: {'array.repeat(3, axis=-1)' if is_array else 'tensor.repeat_interleave(3, dim=-3)'}"
        raise ArrayError(f"{self._name}: {message}{f'; {hint}' if hint else ''}")


def mask_levels(name: str, mask: "NDArray[Any] | Tensor") -> NDArray[np.uint8]:
    """Convert a mask of shape (height, width) to uint8 levels.

    Args:
        name: the name of the mask in messages.
        mask: bool, uint8 or floats in [0, 1]; the first or last axis may be an extra one of length 1.

    Raises:
        ArrayError: if its shape or type is none of these, or it has values out of range.
    """
    kind, shape = _dtype(mask), tuple(mask.shape)
    is_float = WHITES.get(kind) == 1
    if not (is_float or kind in ("bool", "uint8")):
        raise ArrayError(f"{name}: type {kind}; give bool, uint8 from 0 to 255 or floats in [0, 1], or a PIL image")
    if is_tensor(mask):
        mask = (mask.detach().float() if is_float else mask.detach()).cpu().numpy()
    if mask.ndim == 3 and 1 in (mask.shape[0], mask.shape[-1]):
        mask = mask[0] if mask.shape[0] == 1 else mask[..., 0]
    if mask.ndim != 2 or not mask.size:
        raise ArrayError(f"{name}: shape {shape}; a mask is of shape (height, width), or a PIL image")
    if not is_float:
        return np.ascontiguousarray(mask).astype(np.uint8) * np.uint8(255 if kind == "bool" else 1)
    least, most = float(mask.min()), float(mask.max())
    if not (least >= -TOLERANCE and most <= 1 + TOLERANCE):
        raise ArrayError(f"{name}: {_range_problem(least, most)}")
    return np.asarray((mask.clip(0, 1) * np.float32(255)).round(), np.uint8)


def _dtype(given: "NDArray[Any] | Tensor") -> str:
    """Name of the dtype, ignoring its byte order."""
    return str(given.dtype).removeprefix("torch.") if is_tensor(given) else given.dtype.name


def _range_problem(least: float, most: float) -> str:
    if not (abs(least) < float("inf") and abs(most) < float("inf")):
        return "it has values that are no finite numbers (NaN or infinity); floats are to be in [0, 1]"
    are_levels = least >= -TOLERANCE and most > 2
    remedy = "divide levels by 255, or give them as uint8" if are_levels else "undo a normalization, or clamp them"
    return f"its values go from {least:.4g} to {most:.4g}, and floats are to be in [0, 1]; {remedy}"
