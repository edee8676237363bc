"""The interface of all backends, and the base class of those on NumPy."""

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fast_style.system.memory import free_memory, process_memory

if TYPE_CHECKING:
    from torch import Tensor

    from fast_style.backends.tiles import TiledNetwork

#: Images in a backend: NumPy arrays or torch tensors, float32 of (batch, 3, height, width), RGB in [0, 1]. Code for
#: both may use indexing, arithmetic, `clip` and `round`.
Array: TypeAlias = Any

#: Minimum height and width of a network's input; below it, reflection padding is larger than the image.
SMALLEST = 32


class Backend(ABC):
    """Runs a network: images and style weights in, images out.

    Attributes:
        name: one of BACKENDS.
        device: where it runs.
    """

    name = "torch"
    device: Any = "cpu"

    @abstractmethod
    def place(self, images: "NDArray[Any] | Tensor") -> Array:
        """Convert images of any type and range to float32 on the device of the network."""

    @abstractmethod
    def fetch(self, images: Array, dtype: type = np.uint8) -> NDArray[Any]:
        """Copy images of whole numbers to main memory, as uint8 or, up to 65535, as np.uint16."""

    @abstractmethod
    def resize(self, images: Array, height: int, width: int) -> Array:
        """Resize, bicubic and antialiased, into a new array; values may leave [0, 1] slightly."""

    @abstractmethod
    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """Stylize each image by its row of style weights, at the same height and width, into a new array."""

    def tiled(self) -> "TiledNetwork | None":
        """Return the network for tiled images, or None if the backend does not support it."""
        return None

    def bytes_per_pixel(self) -> float:
        """Peak memory of a call per pixel, without the images; 0 if unknown."""
        return 0.0

    def used_and_free(self) -> tuple[float, float]:
        """Bytes in use by this process, and bytes still available, on the device."""
        return process_memory(), free_memory()

    @property
    def on_processor(self) -> bool:
        """Whether it runs on the CPU, in the memory of the process."""
        return True

    @property
    def batch_pixels(self) -> int:
        """Optimal number of pixels in a batch of images of one size; 0: one image at a time."""
        return 0


class NumpyBackend(Backend):
    """A backend that runs on the processor, on NumPy arrays."""

    def place(self, images: "NDArray[Any] | Tensor") -> NDArray[np.float32]:
        """See Backend. CPU tensors in float32 are not copied."""
        if not isinstance(images, np.ndarray):
            images = images.detach().cpu().float().numpy()
        return np.ascontiguousarray(images, dtype=np.float32)

    def fetch(self, images: Array, dtype: type = np.uint8) -> NDArray[Any]:
        """See Backend."""
        pixels: NDArray[Any] = images.astype(dtype)
        return pixels

    def resize(self, images: Array, height: int, width: int) -> Array:
        """See Backend."""
        planes = [Image.fromarray(np.ascontiguousarray(plane)) for picture in images for plane in picture]
        resized = [np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC)) for plane in planes]
        return np.stack(resized).reshape(*images.shape[:2], height, width)


def enlarged(images: Array) -> Array:
    """Replicate the last row and column of tiny images; at the right and bottom, so that cropping is a plain slice."""
    height, width = images.shape[2:]
    if min(height, width) >= SMALLEST:
        return images
    rows = np.minimum(np.arange(max(height, SMALLEST)), height - 1)
    columns = np.minimum(np.arange(max(width, SMALLEST)), width - 1)
    return images[:, :, rows][:, :, :, columns]


def threads() -> int:
    """Number of threads from OMP_NUM_THREADS, as torch reads it; 0: chosen by the runtime."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0
