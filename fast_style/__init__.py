"""Turn one painting into a real-time filter.

    stylizer = fast_style.load("starry_night")
    stylizer("photo.jpg").save("stylized.jpg")

Public names are imported on first use: `import fast_style` is fast, and stylizing needs neither Lightning nor Hydra.
"""

from typing import TYPE_CHECKING

from fast_style.system.lazy import lazy_names

if TYPE_CHECKING:
    from fast_style.batch.folder_work import stylize_files
    from fast_style.cli.train_from_python import train
    from fast_style.encoders import VGGEncoder
    from fast_style.errors import (
        ArrayError,
        CameraError,
        CheckpointError,
        ConfigError,
        DataError,
        FastStyleError,
        ImageError,
        TrainingError,
        VideoError,
        WeightsError,
    )
    from fast_style.losses import (
        ContentLoss,
        GridLoss,
        HatchLoss,
        Loss,
        PerceptualLoss,
        StyleLoss,
        Stylization,
        TemporalLoss,
        TotalVariationLoss,
    )
    from fast_style.losses.styles import Style
    from fast_style.networks import BalancedNet, LightNet, ResidualNet, TransformNet
    from fast_style.stylizing.controls import Controls
    from fast_style.stylizing.stylizer import Stylizer, load
    from fast_style.video.stylize import stylize_video
    from fast_style.zoo.listing import list_networks as list
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "batch.folder_work": "stylize_files",
            "cli.train_from_python": "train",
            "encoders": "VGGEncoder",
            "errors": "ArrayError CameraError CheckpointError ConfigError DataError FastStyleError ImageError "
            "TrainingError VideoError WeightsError",
            "losses": "ContentLoss GridLoss HatchLoss Loss PerceptualLoss StyleLoss Stylization TemporalLoss "
            "TotalVariationLoss",
            "losses.styles": "Style",
            "networks": "BalancedNet LightNet ResidualNet TransformNet",
            "stylizing.controls": "Controls",
            "stylizing.stylizer": "Stylizer load",
            "video.stylize": "stylize_video",
            "zoo.listing": "list",
        },
        {"list": "list_networks"},
    )

__version__ = "0.1.0"
__all__ = [
    "ArrayError",
    "BalancedNet",
    "CameraError",
    "CheckpointError",
    "ConfigError",
    "ContentLoss",
    "Controls",
    "DataError",
    "FastStyleError",
    "GridLoss",
    "HatchLoss",
    "ImageError",
    "LightNet",
    "Loss",
    "PerceptualLoss",
    "ResidualNet",
    "Style",
    "StyleLoss",
    "Stylization",
    "Stylizer",
    "TemporalLoss",
    "TotalVariationLoss",
    "TrainingError",
    "TransformNet",
    "VGGEncoder",
    "VideoError",
    "WeightsError",
    "__version__",
    "list",
    "load",
    "stylize_files",
    "stylize_video",
    "train",
]
