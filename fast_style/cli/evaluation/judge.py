"""Measurements of stylized images, and their medians and quartiles."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from fast_style.errors import ImageError
from fast_style.evaluation import visible_faults
from fast_style.evaluation.yardstick import Yardstick, cached_curve, equivalent_iterations, quartiles, structure
from fast_style.types import Images

#: Images by short side in pixels.
Sizes = Mapping[int, Images]


class Judge:
    """Measures images stylized in one style, by the loss of `yardstick` and the settings of the command evaluate."""

    def __init__(self, yardstick: Yardstick, settings: Mapping[str, Any]) -> None:
        self.yardstick = yardstick
        self._size, self._steps, self._lr = (settings["yardstick"][key] for key in ("size", "steps", "lr"))
        self._sizes = settings["sizes"]
        self._painting = yardstick.style.read()
        self._curves: dict[str, list[float]] = {}

    def __call__(
        self, name: str, photographs: Sizes, stylized: Mapping[int, Images | None], show: Callable[[int], None]
    ) -> dict[str, Any]:
        """Return all measurements of one stylized photograph; ImageError if it is too small.

        `stylized` has None at missing sizes; `show` is called with the number of finished optimizer steps.
        """
        output = stylized[self._size]
        if output is None:
            raise ImageError(f"{name}: stylized, its short side is below {self._size} pixels, where it is compared")
        photograph = photographs[self._size]
        if name not in self._curves:
            self._curves[name] = cached_curve(self.yardstick, photograph, self._steps, self._lr, show)
        curve = self._curves[name]
        terms = self.yardstick.losses(photograph, output)
        total = terms.pop("total")
        outputs = ((size, stylized[size]) for size in self._sizes)
        return {
            **{"loss": total, "terms": terms, "photograph": curve[0], "plateau": curve[-1]},
            "ratio": total / curve[-1],
            "equivalent_iterations": equivalent_iterations(curve, total),
            "sizes": {str(size): self._measured(photographs[size], each) for size, each in outputs if each is not None},
        }

    def _measured(self, photograph: Images, output: Images) -> dict[str, Any]:
        faults = {
            "grid": visible_faults.grid(output),
            "dots": visible_faults.dots(output),
            "border": visible_faults.border(output, photograph),
            "washed_out": visible_faults.washed_out(output, photograph, self._painting),
            "clipped": visible_faults.clipped(output),
        }
        distances = {**self.yardstick.distances(photograph, output), "structure": structure(photograph, output)}
        return {**distances, "faults": {name: float(fault) for name, fault in faults.items()}}


def summary(pictures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return median and quartiles over the pictures of each number, in the same nesting."""
    merged: dict[str, Any] = {}
    # Some pictures lack some sizes.
    for key in dict.fromkeys(key for picture in pictures for key in picture):
        values = [picture[key] for picture in pictures if key in picture]
        merged[key] = summary(values) if isinstance(values[0], dict) else quartiles(values)
    return merged


def finite(node: Any) -> Any:
    """Return plain values with None for infinity, which JSON lacks."""
    if isinstance(node, dict):
        return {key: finite(value) for key, value in node.items()}
    if isinstance(node, list):
        return [finite(value) for value in node]
    return None if isinstance(node, float) and math.isinf(node) else node
