"""Networks in Intel's OpenVINO, on the processor."""

import threading
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from fast_style.backends.backend import Array, NumpyBackend, threads

#: How many sizes of pictures stay compiled, and how many pixels, together; the last always.
MAX_COMPILED = 4
MAX_COMPILED_PIXELS = 4_000_000
#: How many pixels of a size are computed by what is compiled for any size before there is something for that size.
#: Among thousands of pictures most sizes are rare, and small ones take longer to compile for than to compute.
PIXELS_WORTH_COMPILING = 1_000_000


class OpenVinoBackend(NumpyBackend):
    """A converted network in OpenVINO.

    It is compiled for each size of pictures anew, in a quarter of a second: for any size at once it takes half as much
    memory again, and is slower by a quarter or two thirds. That is for sizes which are not the first, and rare.

    Args:
        model: the network as ONNX.
        precision: `fp32`, `bf16`, or `auto`: bf16 where the processor computes in it.

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
        self._for_any: Any = None
        self._asked: Counter[tuple[int, ...]] = Counter()
        self._lock = threading.Lock()

    def metadata(self) -> dict[str, str]:
        """Return what was written into the model. See fast_style.backends.export."""
        kept: dict[str, Any] = dict(self._model.get_rt_info().items())
        return {key: str(value.value) for key, value in kept.get("framework", {}).items()}

    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """See Backend."""
        request = self._for_shape(images.shape, style.shape).create_infer_request()
        return request.infer({"images": images, "style": style}, share_inputs=True)[0]

    def _for_shape(self, images: tuple[int, ...], style: tuple[int, ...]) -> Any:
        with self._lock:
            if images in self._compiled:
                self._compiled.move_to_end(images)
            elif self._compiled and self._is_rare(images):
                if self._for_any is None:
                    self._for_any = self._compile([-1, 3, -1, -1], [-1, style[1]])
                return self._for_any
            else:
                # Before the new one is made, so that memory never holds one more.
                while self._compiled and not self._room_for(images):
                    # To come back, it has to be asked for as often as at first.
                    del self._asked[self._compiled.popitem(last=False)[0]]
                self._compiled[images] = self._compile(list(images), list(style))
            return self._compiled[images]

    def _compile(self, images: list[int], style: list[int]) -> Any:
        model = self._model.clone()
        model.reshape({"images": images, "style": style})
        return self._core.compile_model(model, "CPU", self._settings)

    def _is_rare(self, shape: tuple[int, ...]) -> bool:
        batch, _, height, width = shape
        self._asked[shape] += batch * height * width
        return self._asked[shape] < PIXELS_WORTH_COMPILING

    def _room_for(self, shape: tuple[int, ...]) -> bool:
        pixels = sum(batch * height * width for batch, _, height, width in (*self._compiled, shape))
        return len(self._compiled) < MAX_COMPILED and pixels <= MAX_COMPILED_PIXELS
