"""Lookup of a network class by name: in this package, registered, in a plugin, or an entry point."""

from importlib.metadata import entry_points
from typing import TypeGuard

from fast_style import networks
from fast_style.errors import ConfigError
from fast_style.networks.network import TransformNet
from fast_style.system import plugins

_registered: dict[str, type[TransformNet]] = {}


def register(cls: type[TransformNet]) -> type[TransformNet]:
    """Allow network files to be loaded into a class of your own, in this process. Also a decorator.

    Args:
        cls: the class; files refer to it by `__name__`, which must differ from the names in this package.

    Returns:
        The class.

    Raises:
        ConfigError: if it is not a subclass of TransformNet, or its name is taken by this package.

    Example:
        >>> @register
        ... class Mine(LightNet):
        ...     pass
    """
    if not is_network(cls):
        raise ConfigError(f"network must be a subclass of fast_style.networks.TransformNet, not {cls!r}")
    if cls.__name__ in known_networks() and network_class(cls.__name__) is not cls:
        raise ConfigError(f"network must not be called {cls.__name__}, as one of fast_style.networks is")
    _registered[cls.__name__] = cls
    plugins.add(cls.__module__)
    return cls


def network_class(name: str) -> type[TransformNet] | None:
    """Return the network class of a name; None if there is none.

    Names are looked up in fast_style.networks, among registered classes, in the modules of FAST_STYLE_PLUGINS, and
    among the entry points of installed packages. A file never decides what else is imported.

    Raises:
        ConfigError: if a module cannot be imported.
    """
    if name in known_networks():
        return getattr(networks, name)  # type: ignore[no-any-return]
    if name in _registered:
        return _registered[name]
    for module in plugins.modules():
        if is_network(cls := getattr(module, name, None)):
            return cls
    for entry in entry_points(group=plugins.NETWORKS, name=name):
        try:
            cls = entry.load()
        except Exception as error:  # Any: the entry point is foreign code.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"the entry point {name} = {entry.value} cannot be imported ({reason})") from None
        if is_network(cls):
            return cls
    return None


def known_networks() -> list[str]:
    """Return the names of the networks in this package."""
    return [name for name in networks.__all__ if is_network(getattr(networks, name))]


def is_network(cls: object) -> TypeGuard[type[TransformNet]]:
    """Whether an object is a concrete network class."""
    return isinstance(cls, type) and issubclass(cls, TransformNet) and cls is not TransformNet
