"""Loss networks: frozen, with named layers; one file each."""

from fast_style.encoders.encoder import Encoder
from fast_style.encoders.vgg import VGGEncoder

__all__ = ["Encoder", "VGGEncoder"]
