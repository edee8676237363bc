"""Style: the painting to learn, its size and layer weights, and its credit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fast_style.errors import ConfigError
from fast_style.types import Images

#: One layer of each scale, as in Gatys et al. 2015; the deepest weighs less, because it adds shapes of the painting.
LAYERS = {"relu1_1": 1.0, "relu2_1": 1.0, "relu3_1": 1.0, "relu4_1": 1.0, "relu5_1": 0.3}


@dataclass(frozen=True)
class Style:
    """A painting whose style is learned, and its credit.

    Attributes:
        name: one word, used in configs, file names and `styles={...}`; a number, as YAML reads `name: 1889`, becomes
            text.
        image: the image file.
        size: short side of the painting in pixels during training; larger makes larger strokes.
        layers: weight of each layer of the loss network in the style loss.
        artist: credit; like the next three, it is stored in every network trained on the style.
        work: the title; by default the name of the file.
        year: year of the work.
        note: anything else.

    Example:
        >>> style = Style("garden", Path("my_garden.jpg"), size=768, artist="Me")
        >>> style.name, style.size, style.layers["relu5_1"]
        ('garden', 768, 0.3)
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
            # Networks record the name and the digest of the file.
            raise ConfigError(f"image must be the path of a picture, not {type(self.image).__name__}")
        object.__setattr__(self, "name", str(self.name))
        object.__setattr__(self, "image", Path(self.image))

    def read(self) -> Images:
        """Read the image at its size, as a batch of one.

        Raises:
            ImageError: if the file is missing or not an image.
        """
        from fast_style.images.tensors import read_image

        return read_image(self.image, size=self.size)

    @property
    def credit(self) -> dict[str, str | int | None]:
        """Return the credit as plain values, for a network file's metadata."""
        return {"artist": self.artist, "work": self.work or self.image.stem, "year": self.year, "note": self.note}
