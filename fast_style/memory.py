"""How much memory a picture takes, and how large a picture a memory takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression

from fast_style.errors import ConfigError


@dataclass(frozen=True)
class MemoryModel:
    """The peak memory of a process that computes pictures: a part that is always there, and a part for each pixel.

    What a network needs at once is in proportion to the pixels, to the last percent. What malloc keeps of blocks that
    were freed is not: glibc keeps those of at most 32 MiB, some 100 MB of them whatever the pictures, and gives larger
    ones back. So the part for each pixel is to be fitted where nothing is kept, and the fixed part to cover what is.

    Attributes:
        fixed: bytes, whatever the pictures: the program, the weights, and what is kept of freed memory.
        per_pixel: bytes for each pixel of batch x height x width.

    Raises:
        ConfigError: if memory does not grow with the pixels.
    """

    fixed: float
    per_pixel: float

    def __post_init__(self) -> None:
        if not self.per_pixel > 0:
            raise ConfigError(f"per_pixel must be above 0 bytes, not {self.per_pixel:.1f}; measure larger pictures")

    @classmethod
    def fit(cls, pixels: Sequence[float], memory: Sequence[float]) -> "MemoryModel":
        """Return the line of least squares through measurements of at least two sizes.

        Args:
            pixels: batch x height x width of each.
            memory: the peak of each, in bytes.

        Raises:
            ConfigError: if there are not two sizes, or memory does not grow with them.
        """
        if len(set(pixels)) < 2:
            raise ConfigError(f"pixels must be of at least two sizes, not {list(pixels)}")
        slope, intercept = linear_regression(pixels, memory)
        return cls(intercept, slope)

    def covering(self, pixels: Sequence[float], memory: Sequence[float]) -> "MemoryModel":
        """Return a model of the same growth whose fixed part is just enough for these measurements. See `fit`."""
        return MemoryModel(max(m - self.per_pixel * p for p, m in zip(pixels, memory, strict=True)), self.per_pixel)

    def predict(self, pixels: float) -> float:
        """Return the peak in bytes for so many pixels, of all pictures of a batch together."""
        return self.fixed + self.per_pixel * pixels

    def largest(self, memory: float) -> int:
        """Return how many pixels fit into so many bytes, all pictures of a batch together; 0: none."""
        return max(0, int((memory - self.fixed) / self.per_pixel))
