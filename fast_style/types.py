"""Shapes and ranges of the tensors that travel through the package, said once."""

from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

#: Pictures: RGB, sRGB-encoded, in [0, 1].
Images: TypeAlias = Float[Tensor, "batch 3 height width"]

#: How much of each style a picture gets: every row sums to 1.
StyleWeights: TypeAlias = Float[Tensor, "batch styles"]

#: Activations of the loss network by layer name.
Features: TypeAlias = dict[str, Float[Tensor, "batch _channels _height _width"]]
