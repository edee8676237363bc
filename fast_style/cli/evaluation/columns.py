"""Columns of an evaluation: a network in one of its styles, or a folder of stylized images."""

import glob
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import fast_style
from fast_style.cli.overrides import CONFIGS
from fast_style.data.films import measure_stillness
from fast_style.errors import CheckpointError, ConfigError, ImageError
from fast_style.images.picture import PICTURE_SUFFIXES, flatten, open_picture
from fast_style.images.tensors import to_pil, to_tensor
from fast_style.losses.styles import Style
from fast_style.stylizing.stylizer import Stylizer
from fast_style.types import Images
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

STYLE_SETTINGS = ("image", "size", "layers")


class Column(ABC):
    """A column of the report: its heading, stylized images, and the style they are compared with."""

    kind: str  # `network` or `pictures`
    sha256: str | None = None  # digest of a network's weights, in hexadecimal

    def __init__(self, name: str, style: Style) -> None:
        self.name, self.style = name, style

    @abstractmethod
    def stylize(self, file: Path, photograph: Images) -> Images | None:
        """Return the photograph stylized: same shape, 256 levels; None: not at this size; ImageError: unreadable."""

    def stillness(self) -> dict[str, float] | None:
        """Return how still the strokes hold in films, in dB; None: pictures, not a network."""
        return None


class Network(Column):
    """A trained network in one of its styles."""

    kind = "network"

    def __init__(self, name: str, style: Style, stylizer: Stylizer, known_as: str, sha256: str) -> None:
        super().__init__(name, style)
        self.sha256 = sha256
        self._stylizer, self._known_as = stylizer, known_as

    def stylize(self, file: Path, photograph: Images) -> Images:
        """See Column."""
        return to_tensor(to_pil(self._stylizer(photograph, style=self._known_as))[0])

    def stillness(self) -> dict[str, float]:
        """See Column."""

        def stylize(frames: Images) -> Images:
            return self._stylizer(frames, style=self._known_as).clamp(0, 1)

        return measure_stillness(stylize)


class Pictures(Column):
    """A folder of pictures stylized earlier, with the names of the photographs."""

    kind = "pictures"

    def __init__(self, name: str, style: Style, folder: Path) -> None:
        super().__init__(name, style)
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)
        self.folder, self.files = folder, {file.stem: file for file in files}

    def stylize(self, file: Path, photograph: Images) -> Images | None:
        """See Column. Pictures are reduced to the size, never enlarged by more than 1%."""
        path = self.files.get(file.stem)
        if path is None:
            raise ImageError(f"{self.folder}: no picture named {file.stem}, as the photograph is")
        image = flatten(open_picture(path))
        height, width = photograph.shape[2:]
        if abs(image.width * height / (image.height * width) - 1) > 0.02:
            raise ImageError(f"{path}: not of the shape of {file.name} ({image.width}x{image.height} pixels)")
        if min(image.size) < 0.99 * min(height, width):
            return None
        same = image.size == (width, height)
        return to_tensor(image if same else image.resize((width, height), Image.Resampling.LANCZOS))


def columns_of(settings: Mapping[str, Any], photographs: Sequence[Path], device: torch.device) -> list[Column]:
    """Return the columns of the settings `ckpt`, `outputs`, `styles` and `style`; ConfigError if they give none."""
    columns: list[Column] = [each for name in several(settings["ckpt"]) for each in _networks(name, settings, device)]
    for name in several(settings["outputs"]):
        folder = Path(name)
        if not folder.is_dir():
            raise ConfigError(f"outputs must be a folder of stylized pictures, and {name} is none")
        if not columns and settings["style"]["image"] is None:
            raise ConfigError("style.image must be given: the painting that the pictures of outputs should look like")
        style = columns[0].style if columns else _style("painting", {}, settings["style"])
        pictures = Pictures(folder.resolve().name, style, folder)
        if not any(file.stem in pictures.files for file in photographs):
            example = f"{photographs[0].stem}.png"
            raise ConfigError(f"outputs: {name} has no picture named as a photograph is, such as {example}")
        columns.append(pictures)
    if not columns:
        raise ConfigError("ckpt or outputs must be given: add ckpt=..., a network, or outputs=..., a folder")
    names = [column.name for column in columns]
    for number, column in enumerate(columns):
        if earlier := names[:number].count(column.name):
            column.name = f"{column.name} ({earlier + 1})"
    return columns


def _networks(name: str, settings: Mapping[str, Any], device: torch.device) -> Iterator[Network]:
    stylizer = fast_style.load(name, device=device)
    sha256 = read_network_file(find(Path(name))).sha256
    for style in several(settings["styles"]) or stylizer.styles:
        if style not in stylizer.styles:
            raise ConfigError(f"styles: there is no style {style} in {name}; it has {', '.join(stylizer.styles)}")
        heading = Path(name).name.removesuffix(".safetensors")
        heading = heading if len(stylizer.styles) == 1 else f"{heading}: {style}"
        trained = _trained_style(name, style, stylizer, given=settings["style"]["image"] is not None)
        yield Network(heading, _style(style, trained, settings["style"]), stylizer, style, sha256)


def _trained_style(name: str, style: str, stylizer: Stylizer, *, given: bool) -> dict[str, Any]:
    """Return the style settings in a network's file; classes named there are never instantiated."""
    config = stylizer.metadata.config.get("style")
    found = config.get(style) if isinstance(config, dict) else None
    trained = {key: found[key] for key in STYLE_SETTINGS if key in found} if isinstance(found, dict) else {}
    if given:
        return trained
    image = trained.get("image")
    if not isinstance(image, str):
        raise CheckpointError(f"{name}: does not name the picture of {style}; give it: style.image=PATH")
    if Path(image).exists():
        return trained
    # The shipped swatch of that name: the training machine's path may differ, and shipped networks store none.
    ours = Path(image).parts[-4:-1] in ((), ("configs", "style", "images"))
    swatches = sorted((CONFIGS / "style" / "images").glob(f"{glob.escape(Path(image).stem)}.*")) if ours else []
    if not swatches:
        raise CheckpointError(f"{name}: {image}, which it was trained on, is not there; give it: style.image=PATH")
    trained["image"] = str(swatches[0])
    if swatches[0].name != Path(image).name:
        how = "by a texture synthesized from its painting, which does not ship; style.image=PATH judges it by another"
        print(f"{name}: {style} is judged {how}", file=sys.stderr)
    return trained


def _style(name: str, trained: Mapping[str, Any], given: Mapping[str, Any]) -> Style:
    chosen = {**trained, **{key: given[key] for key in STYLE_SETTINGS if given[key] is not None}}
    if type(chosen.get("size", 0)) is not int:
        raise ConfigError(f"style.size must be a whole number of pixels, not {chosen['size']!r}")
    if "layers" in chosen:
        layers = chosen["layers"]
        if not (isinstance(layers, dict) and all(isinstance(weight, int | float) for weight in layers.values())):
            raise ConfigError(f"style.layers must give layers weights, such as {{relu1_1: 1}}, not {layers!r}")
        # As floats: equal losses share one cached curve.
        chosen["layers"] = {layer: float(weight) for layer, weight in layers.items()}
    try:
        return Style(name, **{**chosen, "image": Path(str(chosen["image"]))})
    except ConfigError as error:
        raise ConfigError(f"style.{error}") from None


def several(setting: Any) -> list[str]:
    """Return a setting of one value, several or none as a list of texts."""
    return [] if setting is None else [str(one) for one in (setting if isinstance(setting, list) else [setting])]
