"""Style weights from the styles that a user chooses."""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import ConfigError


def style_weights(names: Sequence[str], style: str | Mapping[str, float] | None = None) -> NDArray[np.float32]:
    """Convert a choice of styles to a row of style weights that sum to 1.

    Args:
        names: the network's styles, in the order of the weights.
        style: one name, or nonnegative weights by name, which are normalized; by default all styles equally.

    Raises:
        ConfigError: if a style is unknown, a weight is negative or not a number, or all are 0.
    """
    if style is None:
        style = dict.fromkeys(names, 1.0)
    elif isinstance(style, str):
        style = {style: 1.0}
    if not isinstance(style, Mapping) or not all(isinstance(weight, Real) for weight in style.values()):
        example = f"{{{names[0]}: 1}}"
        raise ConfigError(f"styles must be one name, or a number for each, such as {example}, not {style!r}")
    unknown = [name for name in style if name not in names]
    if unknown:
        raise ConfigError(f"there is no style {unknown[0]} in this network; it has {', '.join(names)}")
    row = np.array([float(style.get(name, 0.0)) for name in names])
    if not (row >= 0).all() or not 0 < row.sum() < float("inf"):
        raise ConfigError(f"style weights must not be negative, and their sum must be above 0: {dict(style)}")
    weights: NDArray[np.float32] = (row / row.sum()).astype(np.float32)
    return weights
