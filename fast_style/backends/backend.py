"""What every backend promises."""

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: Pictures as a backend has them: NumPy's arrays or torch's tensors, float32 of (batch, 3, height, width), RGB in
#: [0, 1]. Of what one can do with them, both know indexing, arithmetic, `clip` and `round`.
Array: TypeAlias = Any

#: The smallest height and width that is given to a network; less leaves reflection padding nothing to reflect.
SMALLEST = 32


class Backend(ABC):
    """One way to compute a network: pictures and style weights in, pictures out."""

    @abstractmethod
    def place(self, images: "NDArray[Any] | Tensor") -> Array:
        """Bring pictures of any type and range to float32, to where the network is computed."""

    @abstractmethod
    def fetch(self, images: Array) -> NDArray[np.uint8]:
        """Return pictures of whole numbers from 0 to 255 as bytes, in the processor's memory."""

    @abstractmethod
    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """Stylise each picture by its row of style weights, at the same height and width, into a new array."""


class NumpyBackend(Backend):
    """One that computes on the processor, with NumPy's arrays."""

    def place(self, images: "NDArray[Any] | Tensor") -> NDArray[np.float32]:
        """See Backend. Tensors share their memory where they can."""
        if not isinstance(images, np.ndarray):
            images = images.detach().cpu().float().numpy()
        return np.ascontiguousarray(images, dtype=np.float32)

    def fetch(self, images: Array) -> NDArray[np.uint8]:
        """See Backend."""
        pixels: NDArray[np.uint8] = images.astype(np.uint8)
        return pixels


def threads() -> int:
    """Return how many threads OMP_NUM_THREADS asks for, as of torch; 0: as many as suit the machine."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0
