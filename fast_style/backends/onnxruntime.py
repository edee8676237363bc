"""Networks in Microsoft's ONNX Runtime, on the CPU."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fast_style.backends.backend import Array, NumpyBackend, threads


class OnnxRuntimeBackend(NumpyBackend):
    """A converted network in ONNX Runtime, in float32.

    Args:
        model: the ONNX file.

    Raises:
        Exception: any, if it is damaged.
    """

    name = "onnx"

    def __init__(self, model: bytes) -> None:
        # Off, because users have not opted in.
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3
        # The arena would keep the largest buffers of every size seen.
        options.enable_cpu_mem_arena = False
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def metadata(self) -> dict[str, str]:
        """Return the metadata in the model. See fast_style.backends.export."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def __call__(self, images: Array, style: NDArray[np.float32]) -> Array:
        """See Backend."""
        return self.session.run(None, {"images": images, "style": style})[0]
