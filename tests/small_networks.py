"""Networks that were never trained, and yet have styles that differ."""

from torch import nn

from fast_style.networks import BalancedNet, ConditionalInstanceNorm, TransformNet


def varied(network: TransformNet) -> TransformNet:
    """Give a new network scales and shifts as colorful as those of a trained one; torch's seed says which."""
    for module in network.modules():
        if isinstance(module, ConditionalInstanceNorm):
            nn.init.normal_(module.scale, mean=1, std=0.3)
            nn.init.normal_(module.shift, std=0.3)
    return network.eval()


def dilated(*, styles: int, width: int, blocks: int) -> TransformNet:
    """Make a network whose middle blocks are dilated, of which there is at least one."""
    return BalancedNet(styles, width, max(3, blocks), dilation=2)
