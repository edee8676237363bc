"""Trained networks that ship with the package, in this folder, and reading and writing of network files.

`docs/zoo.py` writes them here; `docs/zoo.md` shows them.
"""

from typing import TYPE_CHECKING

from fast_style.system.lazy import lazy_names

if TYPE_CHECKING:
    from fast_style.zoo.listing import NetworkList, NetworkRecord, list_networks
    from fast_style.zoo.names import OWN, ZOO, find, networks, own_networks, user_folder, user_networks, who_knows
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "listing": "NetworkList NetworkRecord list_networks",
            "names": "OWN ZOO find networks own_networks user_folder user_networks who_knows",
        },
    )

__all__ = [
    "OWN",
    "ZOO",
    "NetworkList",
    "NetworkRecord",
    "find",
    "list_networks",
    "networks",
    "own_networks",
    "user_folder",
    "user_networks",
    "who_knows",
]
