"""Networks in Intel's OpenVINO, on the CPU."""

import threading
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from fast_style.backends.backend import Array, NumpyBackend, threads

#: Maximum number of image sizes, and of their pixels in total, that stay compiled; the latest always stays.
MAX_COMPILED = 4
MAX_COMPILED_PIXELS = 4_000_000
#: Pixels of a new size that run on the model for any size before one is compiled for that size. In large collections
#: most sizes are rare, and compiling for a small size takes longer than running it.
PIXELS_WORTH_COMPILING = 1_000_000


class OpenVinoBackend(NumpyBackend):
    """A converted network in OpenVINO.

    It is compiled for each image size, in a quarter of a second. A model for any size, used for rare sizes after the
    first, takes half as much memory again and is 25 to 67 % slower.

    Args:
        model: the ONNX file.
        precision: `fp32`, `bf16`, or `auto`: bf16 if the CPU supports it natively.

    Raises:
        Exception: any, if the model is damaged.
    """

    name = "openvino"

    def __init__(self, model: bytes, precision: str = "auto") -> None:
        self._core = openvino.Core()
        self._model = self._core.read_model(model, b"")
        if precision == "auto":
            native = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            precision = "bf16" if native else "fp32"
        self.precision = precision
        self._settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, precision),
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads():
            self._settings["INFERENCE_NUM_THREADS"] = threads()
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._dynamic: Any = None
        self._requested_pixels: Counter[tuple[int, ...]] = Counter()
        self._lock = threading.Lock()

    def metadata(self) -> dict[str, str]:
        """Return the metadata in the model. See fast_style.backends.export."""
        info: dict[str, Any] = dict(self._model.get_rt_info().items())
        return {key: str(value.value) for key, value in info.get("framework", {}).items()}

    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """See Backend."""
        request = self._for_shape(images.shape, style.shape).create_infer_request()
        return request.infer({"images": images, "style": style}, share_inputs=True)[0]

    def _for_shape(self, images: tuple[int, ...], style: tuple[int, ...]) -> Any:
        with self._lock:
            if images in self._compiled:
                self._compiled.move_to_end(images)
            elif self._compiled and self._is_rare(images):
                if self._dynamic is None:
                    self._dynamic = self._compile([-1, 3, -1, -1], [-1, style[1]])
                return self._dynamic
            else:
                # Evicted before compiling, so that memory never holds one more.
                while self._compiled and not self._fits(images):
                    # An evicted size has to become frequent again.
                    del self._requested_pixels[self._compiled.popitem(last=False)[0]]
                self._compiled[images] = self._compile(list(images), list(style))
            return self._compiled[images]

    def _compile(self, images: list[int], style: list[int]) -> Any:
        model = self._model.clone()
        model.reshape({"images": images, "style": style})
        return self._core.compile_model(model, "CPU", self._settings)

    def _is_rare(self, shape: tuple[int, ...]) -> bool:
        batch, _, height, width = shape
        self._requested_pixels[shape] += batch * height * width
        return self._requested_pixels[shape] < PIXELS_WORTH_COMPILING

    def _fits(self, shape: tuple[int, ...]) -> bool:
        pixels = sum(batch * height * width for batch, _, height, width in (*self._compiled, shape))
        return len(self._compiled) < MAX_COMPILED and pixels <= MAX_COMPILED_PIXELS
