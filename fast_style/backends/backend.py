"""The interface of all backends, and what those on NumPy share."""

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

#: Pictures as a backend has them: NumPy's arrays or torch's tensors, float32 of (batch, 3, height, width), RGB in
#: [0, 1]. Of what one can do with them, both know indexing, arithmetic, `clip` and `round`.
Array: TypeAlias = Any

#: The smallest height and width that is given to a network; less leaves reflection padding nothing to reflect.
SMALLEST = 32


class Backend(ABC):
    """One way to compute a network: pictures and style weights in, pictures out.

    Attributes:
        name: which of BACKENDS it is.
        device: where it computes.
    """

    name = "torch"
    device: Any = "cpu"

    @abstractmethod
    def place(self, images: "NDArray[Any] | Tensor") -> Array:
        """Bring pictures of any type and range to float32, to where the network is computed."""

    @abstractmethod
    def fetch(self, images: Array, dtype: type = np.uint8) -> NDArray[Any]:
        """Return pictures of whole numbers in the processor's memory, as bytes or, up to 65535, as np.uint16."""

    @abstractmethod
    def resize(self, images: Array, height: int, width: int) -> Array:
        """Resize, bicubic and antialiased, into a new array; values may leave [0, 1] a little."""

    @abstractmethod
    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """Stylize each picture by its row of style weights, at the same height and width, into a new array."""

    def tiled(self) -> "TiledNetwork | None":
        """Return the network for pictures in tiles, if the backend can."""
        return None

    def bytes_per_pixel(self) -> float:
        """Return how many bytes a call takes at its peak for each pixel, beside the pictures; 0: that is not known."""
        return 0.0

    def used_and_free(self) -> tuple[float, float]:
        """Return how many bytes are in use by this process, and how many more it may take, where it computes."""
        return process_memory(), free_memory()

    @property
    def on_processor(self) -> bool:
        """Whether it computes on the processor, in the memory of the process."""
        return True

    @property
    def batch_pixels(self) -> int:
        """How many pixels, of several pictures of one size, are best computed at once; 0: of one picture at a time."""
        return 0


class NumpyBackend(Backend):
    """A backend that runs on the processor, on NumPy arrays."""

    def place(self, images: "NDArray[Any] | Tensor") -> NDArray[np.float32]:
        """See Backend. Tensors share their memory where they can."""
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
    """Repeat the last row and column of tiny pictures; on the right and below, so that the crop is a plain slice."""
    height, width = images.shape[2:]
    if min(height, width) >= SMALLEST:
        return images
    rows = np.minimum(np.arange(max(height, SMALLEST)), height - 1)
    columns = np.minimum(np.arange(max(width, SMALLEST)), width - 1)
    return images[:, :, rows][:, :, :, columns]


def threads() -> int:
    """Return how many threads OMP_NUM_THREADS asks for, as of torch; 0: as many as suit the machine."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0
