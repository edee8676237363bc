"""Networks that were never trained, and yet have styles that differ."""

from torch import nn

from fast_style.networks import ConditionalInstanceNorm, TransformNet


def varied(network: TransformNet) -> TransformNet:
    """Give a new network scales and shifts as colourful as those of a trained one; torch's seed says which."""
    for module in network.modules():
        if isinstance(module, ConditionalInstanceNorm):
            nn.init.normal_(module.scale, mean=1, std=0.3)
            nn.init.normal_(module.shift, std=0.3)
    return network.eval()
