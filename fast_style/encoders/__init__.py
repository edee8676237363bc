"""Loss networks, one file each: frozen, with named layers."""

from fast_style.encoders.encoder import Encoder
from fast_style.encoders.vgg import VGGEncoder

__all__ = ["Encoder", "VGGEncoder"]
