"""A virtual camera that shows the stylized frames to other programs."""

import importlib
import importlib.util
from typing import Any

import numpy as np

from fast_style.errors import CameraError, ConfigError
from fast_style.live.stylizer import resized
from fast_style.system.optional_packages import how_to_install
from fast_style.video.frames import Bytes


class VirtualCamera:
    """Sends frames, resized if need be, to the virtual camera of OBS, or to v4l2loopback on Linux.

    Other programs see it as `device`. CameraError if there is none; ConfigError if pyvirtualcam is not installed.
    """

    def __init__(self, width: int, height: int, rate: float) -> None:
        if importlib.util.find_spec("pyvirtualcam") is None:
            raise ConfigError(f"virtual_camera needs pyvirtualcam: {how_to_install('virtual_camera')}")
        # Imported by name: it has no type information.
        library: Any = importlib.import_module("pyvirtualcam")
        # Even sizes: such devices share colors between two pixels.
        width, height = self._size = width - width % 2, height - height % 2
        try:
            self._camera = library.Camera(width, height, rate)
        except RuntimeError as error:
            why = " ".join(str(error).split())
            raise CameraError(
                f"virtual_camera: there is none ({why}); install OBS, or on Linux v4l2loopback, and load it"
            ) from None
        self.device: str = self._camera.device

    def send(self, pixels: Bytes) -> None:
        """Send a frame of shape (height, width, 3).

        Raises:
            CameraError: if the device is gone.
        """
        try:
            self._camera.send(np.ascontiguousarray(resized(pixels, *self._size)))
        except RuntimeError as error:
            raise CameraError(f"{self.device}: the virtual camera is gone ({error})") from None

    def close(self) -> None:
        """Close the device."""
        self._camera.close()
