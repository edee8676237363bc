"""A person's choice among the styles of a network."""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from fast_style.errors import ConfigError


def style_weights(names: Sequence[str], style: str | Mapping[str, float] | None = None) -> NDArray[np.float32]:
    """Return the row of style weights, summing to 1, that a person's choice among `names` stands for.

    Args:
        names: the styles there are, in the order of the weights.
        style: one name, or weights by name (any positive numbers: they are scaled); nothing: all alike.

    Raises:
        ConfigError: if it is neither, there is no such style, a weight is no number or negative, or all are 0.
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
