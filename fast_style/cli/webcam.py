"""Stylize a camera live: fast-style webcam ckpt=starry_night."""

import contextlib
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

import fast_style
from fast_style.backends.automatic import prepare_fastest
from fast_style.cli.hydra_app import plain, require_writable
from fast_style.errors import ConfigError
from fast_style.stylizing.controls import Controls
from fast_style.system.optional_packages import how_to_install
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

#: Longest side with size=auto, in pixels: more does not make strokes finer.
LARGEST = 960


def main(config: DictConfig) -> None:
    """Show, record or send the stylized camera images until the user quits."""
    settings = plain(config)
    _check(settings)
    # Imported after _check, which reports missing packages.
    from fast_style.live.camera import open_camera
    from fast_style.live.recorder import check_recording
    from fast_style.live.session import Session
    from fast_style.live.stylizer import AdaptiveSize, LiveStylizer, Look
    from fast_style.live.virtual_camera import VirtualCamera

    names = ("brush", "sharpen", "grain", "strength", "preserve_color", "seed")
    controls = Controls(**{name: settings[name] for name in names})
    record = None if settings["record"] is None else Path(settings["record"])
    if record is not None:
        check_recording(record, settings["overwrite"])
    size = None if settings["size"] == "auto" else settings["size"]
    with contextlib.ExitStack() as stack:
        camera = open_camera(settings["camera"], size, LARGEST, settings["fps"])
        sinks = []
        if settings["virtual_camera"]:
            sinks.append(virtual := VirtualCamera(camera.width, camera.height, camera.rate))
            stack.callback(virtual.close)
            print(f"to be seen as {virtual.device}", file=sys.stderr)
        if settings["window"]:
            from fast_style.live.window import Window, require_screen

            require_screen()
        stylizer = LiveStylizer(_load(settings), controls, settings["temporal"])
        look = Look(stylizer.find(settings["first"]), controls.strength, controls.preserve_color)
        pace = AdaptiveSize(max(camera.width, camera.height), camera.rate if size is None else 0.0)
        screen = None
        if settings["window"]:
            # Opened after loading: until then it would stay black and not react.
            screen = Window(camera.width, camera.height, settings["mirror"])
            stack.callback(screen.close)
        say = partial(print, flush=True)
        session = Session(camera, stylizer, look, pace, screen, sinks, Path(settings["folder"]), say=say)
        if record is not None:
            session.record(record)
        print(session.run(settings["seconds"]), file=sys.stderr)


def _check(settings: dict[str, Any]) -> None:
    for key, low, high in (("fps", 1, 1000), ("seconds", 0, 1e9)):
        value = settings[key]
        if not (value is None or (type(value) in (int, float) and low <= value <= high)):
            raise ConfigError(f"{key} must be a number from {low} to {high:g}, such as 30, not {value!r}")
    size = settings["size"]
    if size != "auto" and (type(size) is not int or not 64 <= size <= 4096):
        raise ConfigError(f"size must be auto, or from 64 to 4096 pixels, not {size!r}")
    if not (settings["window"] or settings["virtual_camera"] or settings["record"]):
        raise ConfigError("window=false shows nothing: add record=out.mp4 or virtual_camera=true")
    require_writable(Path(settings["folder"]), "folder")
    if settings["record"]:
        require_writable(Path(settings["record"]).parent, "record")
    for package in ("av", "pygame"):
        if (package == "av" or settings["window"]) and find_spec(package) is None:
            raise ConfigError(f"cameras need {package}: {how_to_install('camera')}")


def _load(settings: dict[str, Any]) -> dict[str, fast_style.Stylizer]:
    ckpt = settings["ckpt"]
    networks = [str(name) for name in (ckpt if isinstance(ckpt, list) else [ckpt])]
    if not networks:
        raise ConfigError("ckpt names no network; such as ckpt=starry_night")
    loaded: dict[str, fast_style.Stylizer] = {}
    for name in networks:
        stem = Path(name).name.removesuffix(".safetensors")
        names = (stem, *(f"{stem} ({number})" for number in range(2, len(networks) + 1)))
        unique = next(each for each in names if each not in loaded)
        if settings["backend"] == "auto":
            prepare_fastest(read_network_file(find(Path(name))))
        loaded[unique] = fast_style.load(name, backend=settings["backend"], precision=settings["precision"])
    return loaded
