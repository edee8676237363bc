"""Image transformation networks, one file each. A network file is only ever loaded into one of these classes."""

from fast_style.networks.balanced import BalancedNet
from fast_style.networks.light import LightNet
from fast_style.networks.network import TransformNet
from fast_style.networks.norms import EPSILON, ConditionalInstanceNorm
from fast_style.networks.residual import ResidualNet

__all__ = ["EPSILON", "BalancedNet", "ConditionalInstanceNorm", "LightNet", "ResidualNet", "TransformNet"]
