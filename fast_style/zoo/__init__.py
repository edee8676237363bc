"""Trained networks that ship with the package, in this folder, and reading and writing of network files.

`docs/zoo.py` writes them here; `docs/zoo.md` shows them.
"""

from fast_style.zoo.listing import NetworkList, NetworkRecord, list_networks
from fast_style.zoo.names import (
    CHECKPOINTS,
    ZOO,
    all_networks,
    find,
    saved_networks,
    shipped_networks,
    user_folder,
    user_networks,
    who_knows,
)

__all__ = [
    "CHECKPOINTS",
    "ZOO",
    "NetworkList",
    "NetworkRecord",
    "all_networks",
    "find",
    "list_networks",
    "saved_networks",
    "shipped_networks",
    "user_folder",
    "user_networks",
    "who_knows",
]
