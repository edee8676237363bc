"""How many bytes of tensors a computation in torch has at once."""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class _Live(TorchFunctionMode):
    """Counts the storage of every tensor that an operation makes, from then until it is freed.

    Not a TorchDispatchMode, which sees more, but imports torch's compiler: 190 MB.
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


def peak_of_tensors(compute: Callable[[], object]) -> int:
    """Return the most bytes that the tensors take together that a computation makes, its result among them.

    What an operation takes for itself and gives back before it ends is not among them.
    """
    live = _Live()
    with live:
        compute()
    return live.peak
