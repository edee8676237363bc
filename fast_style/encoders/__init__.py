"""Loss networks: frozen, all named layers in one pass, one file each."""

from fast_style.encoders.vgg import VGGEncoder

__all__ = ["VGGEncoder"]
