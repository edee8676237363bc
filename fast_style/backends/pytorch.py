"""Networks in torch, plain or compiled, on any device."""

import functools
import weakref
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from fast_style.backends.backend import Backend
from fast_style.backends.tiles import TiledNetwork
from fast_style.errors import ConfigError
from fast_style.networks import TransformNet
from fast_style.system.devices import torch_computes_bfloat16, usable_device


class _LiveTensors(TorchFunctionMode):
    """Counts the storage of every tensor that an operation creates, until it is freed.

    What an operation allocates and frees itself is not counted. A TorchDispatchMode would see more, but imports
    torch's compiler: 190 MB.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._count(each)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self._now += size
            self.peak = max(self.peak, self._now)
            weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


class TorchBackend(Backend):
    """A network in torch.

    Args:
        network: the trained network, in float32; it is moved and converted in place.
        device: where to run it; by default a GPU if there is one.
        precision: `bf16` keeps weights and feature maps in bfloat16; `auto` does so if the hardware supports it.
        compile: compile for all sizes, at the first image and again at the first batch of several.

    Raises:
        ConfigError: if the device does not exist, or there is no compiler for `compile`.
    """

    def __init__(
        self,
        network: TransformNet,
        device: "str | torch.device | None" = None,
        precision: str = "auto",
        compile: bool = False,
    ) -> None:
        self.device: torch.device = usable_device(device)
        native = precision == "auto" and torch_computes_bfloat16(self.device.type)
        self.dtype = torch.bfloat16 if precision == "bf16" or native else torch.float32
        network = network.to(self.device, self.dtype).to(memory_format=torch.channels_last).eval()
        self._eager = network
        self.network: Any = network
        if compile:
            self.name = "compile"
            require_compiler(self.device)
            # Freezing packs weights for the convolutions once. Dynamic: a folder of mixed sizes compiles once.
            options: dict[str, Any] | None = {"freezing": True} if self.device.type == "cpu" else None
            self.network = torch.compile(network, dynamic=True, options=options)

    def place(self, images: NDArray[Any] | Tensor) -> Tensor:
        """See Backend. uint8 is transferred as uint8."""
        tensor = torch.from_numpy(images) if isinstance(images, np.ndarray) else images.detach()
        return tensor.to(self.device).to(torch.float32)

    def fetch(self, images: Tensor, dtype: type = np.uint8) -> NDArray[Any]:
        """See Backend."""
        # Not every device supports torch.uint16.
        whole = images.to(torch.uint8 if dtype is np.uint8 else torch.int32).cpu().numpy()
        return whole.astype(dtype, copy=False)

    def resize(self, images: Tensor, height: int, width: int) -> Tensor:
        """See Backend. torch's antialiased bicubic filter is the same as Pillow's."""
        return F.interpolate(images, (height, width), mode="bicubic", antialias=True)

    # Not inference_mode: its tensors cannot be changed in place afterwards.
    @torch.no_grad()
    def __call__(self, images: Tensor, style: NDArray[np.float32]) -> Tensor:
        """See Backend."""
        x = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        # Style weights stay in float32, so that they sum to 1.
        stylized: Tensor = self.network(x, torch.from_numpy(style).to(self.device))
        return stylized.to(torch.float32)

    def tiled(self) -> TiledNetwork:
        """See Backend. Not compiled, which would take a minute for each tile size."""
        return TiledNetwork(self._eager)

    def bytes_per_pixel(self) -> float:
        """See Backend. Measured on a small image; memory is proportional to pixels."""
        return self._bytes_per_pixel

    @functools.cached_property
    @torch.no_grad()
    def _bytes_per_pixel(self) -> float:
        images = torch.zeros(1, 3, 256, 256, device=self.device)
        style = torch.full((1, self._eager.styles), 1 / self._eager.styles, device=self.device)
        live = _LiveTensors()
        with live:
            x = images.to(self.dtype, copy=True).contiguous(memory_format=torch.channels_last)
            self._eager(x, style).to(torch.float32)
        return live.peak / images[0, 0].numel()

    def used_and_free(self) -> tuple[float, float]:
        """See Backend. On a GPU, of its memory."""
        if self.device.type != "cuda":
            return super().used_and_free()
        used, reserved = torch.cuda.memory_allocated(self.device), torch.cuda.memory_reserved(self.device)
        # torch reuses the freed memory that it keeps.
        return used, torch.cuda.mem_get_info(self.device)[0] + reserved - used

    @property
    def on_processor(self) -> bool:
        """See Backend."""
        return self.device.type == "cpu"

    @property
    def batch_pixels(self) -> int:
        """See Backend. On a CPU, batches of four images of 320x240 are a tenth faster, larger ones are not."""
        if not self.on_processor:
            return 2**22
        return 0 if self.network is not self._eager else 640 * 480


def require_compiler(device: torch.device) -> None:
    """Check that torch can compile for a device.

    Raises:
        ConfigError: if it cannot.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch.utils._triton import has_triton

    try:
        get_cpp_compiler()
    except Exception:  # Any: the type varies between torch versions.
        remedy = "install one (such as g++), or use backend=torch"
        raise ConfigError(f"backend=compile needs a C++ compiler, and finds none; {remedy}") from None
    if device.type == "cuda" and not has_triton():
        raise ConfigError("backend=compile needs Triton on a GPU; install triton, or use backend=torch")
