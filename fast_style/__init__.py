"""Turn one painting into a real-time filter.

    stylizer = fast_style.load("checkpoints/starry_night.safetensors")
    stylizer("photo.jpg").save("stylized.jpg")

Training lives in `fast_style.training.task` and is not imported here: stylizing needs neither Lightning nor Hydra.
"""

from fast_style.errors import FastStyleError
from fast_style.stylizing.stylizer import Stylizer, load

__all__ = ["FastStyleError", "Stylizer", "load"]
__version__ = "0.1.0"
