"""Processes that are of no use without the one that started them."""

import os
import threading
import time


def end_with_parent(parent: int) -> None:
    """End this process when its parent is gone: alone, it might wait for it for ever.

    Args:
        parent: the number of the parent. One that asks for it here may have lost it already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        # Not sys.exit: the main thread may wait for processes that are gone.
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
