"""Shapes and ranges of the tensors shared by all of the package."""

from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

#: Images: RGB, sRGB-encoded, values in [0, 1].
Images: TypeAlias = Float[Tensor, "batch 3 height width"]

#: Weight of each style for each image: every row sums to 1.
StyleWeights: TypeAlias = Float[Tensor, "batch styles"]

#: Activations of the loss network, by layer name.
Features: TypeAlias = dict[str, Float[Tensor, "batch _channels _height _width"]]
