"""Style: the painting to learn, how it is seen, and the credit for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fast_style.errors import ConfigError
from fast_style.types import Images

#: One layer of each scale, as in Gatys et al. 2015; the deepest counts for less, for it brings shapes of the painting.
LAYERS = {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0, "relu4_1": 1.0, "relu5_1": 0.3}


@dataclass(frozen=True)
class Style:
    """A painting whose look is to be learned, and the credit for it.

    Attributes:
        name: one word, as it stands in configs, file names and `styles={...}`; a number, which YAML makes of
            `name: 1889`, becomes text.
        image: the picture's file.
        size: short side in pixels at which the picture is seen; larger makes larger strokes.
        layers: how much each layer of the loss network counts for the style loss.
        artist: the credit; this and the next three are kept in every network trained on it.
        work: the title; without one, the work is called after the file.
        year: when it was made.
        note: anything else.
    """

    name: str
    image: Path
    size: int = 512
    layers: Mapping[str, float] = field(default_factory=lambda: dict(LAYERS))
    artist: str = "unknown"
    work: str = ""
    year: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise ConfigError(f"size must be from 16 to 4096 pixels, not {self.size}")
        negative = [layer for layer, weight in self.layers.items() if weight < 0]
        if negative:
            raise ConfigError(f"layers.{negative[0]} must not be negative, not {self.layers[negative[0]]}")
        if not any(self.layers.values()):
            raise ConfigError("layers must give at least one layer a weight above 0")
        if not isinstance(self.image, str | Path):
            # Networks keep by its name and digest what they were trained on.
            raise ConfigError(f"image must be the path of a picture, not {type(self.image).__name__}")
        object.__setattr__(self, "name", str(self.name))
        object.__setattr__(self, "image", Path(self.image))

    def read(self) -> Images:
        """Read the picture at its size, as a batch of one.

        Raises:
            ImageError: if the file is missing or is not a picture.
        """
        from fast_style.images.tensors import read_image

        return read_image(self.image, size=self.size)

    @property
    def credit(self) -> dict[str, str | int | None]:
        """Who made it: plain values, for a network file's metadata."""
        return {"artist": self.artist, "work": self.work or self.image.stem, "year": self.year, "note": self.note}
