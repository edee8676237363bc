"""What is measured of how cost grows: stylizing over size, batch and styles; a training step, and over style layers."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fast_style.cli.benchmark.jobs import of_styles, stylizers, typed
from fast_style.cli.overrides import CONFIGS
from fast_style.errors import ConfigError, require_choice

Job = dict[str, Any]

#: What a curve goes through: side, batch, styles, and of a training style layers.
Shapes = list[tuple[int, ...]]

#: Of the loss network, from the shallowest: a training with three style layers has the first three.
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
#: How many a training has, unless their number is what varies.
USUAL_LAYERS = 4

#: Side in pixels of pictures that are only looked at now and then, and of styles: a peak is to be that of the steps.
ASIDE = 64


def check(settings: Mapping[str, Any]) -> None:
    """Make sure that the settings below `scale` fit.

    Raises:
        ConfigError: if one does not.
    """
    step = settings["step"]
    require_choice("scale.step.network", step["network"], sorted(file.stem for file in CONFIGS.glob("network/*.yaml")))
    lists = {"sizes": 32, "batches": 1, "styles": 1}
    checked = [(f"scale.{key}", settings[key], least) for key, least in lists.items()]
    checked += [(f"scale.step.{key}", step[key], lists.get(key, 1)) for key in ("sizes", "batches", "layers")]
    checked += [("scale.size", [settings["size"]], 32), ("scale.step.size", [step["size"]], 32)]
    checked += [("scale.step.batch", [step["batch"]], 1)]
    for key, values, least in checked:
        for value in values:
            if type(value) is not int or value < least:
                raise ConfigError(f"{key} must be at least {least}, not {value!r}")
    if len(set(settings["sizes"])) < 3:
        raise ConfigError(f"scale.sizes must be three or more, to fit a line and to check it, not {settings['sizes']}")
    if max(step["layers"], default=0) > len(LAYERS):
        raise ConfigError(f"scale.step.layers must be at most {len(LAYERS)}, not {max(step['layers'])}")
    for key in ("memory", "tried"):
        if not all(value > 0 for value in settings[key]):
            raise ConfigError(f"scale.{key} must be above 0 GB, not {settings[key]}")
    if not settings["seconds"] > 0:
        raise ConfigError(f"scale.seconds must be above 0, not {settings['seconds']}")


def scale_jobs(settings: dict[str, Any], device: str, folder: Path) -> Iterator[tuple[str, Job]]:
    """Yield the name of each measurement and what is to be done, for each candidate small before large.

    Beside what benchmark_worker has to know, a job says who `candidate` is, what it `needs` converted, and in which
    curves it is (`varies`: size, batch, styles, layers).
    """
    scale = settings["scale"]
    sides, batches, styles = (list(dict.fromkeys(scale[key])) for key in ("sizes", "batches", "styles"))
    curves: dict[str, Shapes] = {"size": [(side, 1, 1) for side in sides]}
    curves["batch"] = [(scale["size"], batch, 1) for batch in batches]
    curves["styles"] = [(scale["size"], 1, number) for number in styles]
    shapes = _together(curves)
    made = {number: dict(stylizers(settings, folder, number)) for number in {1, *styles}}
    for candidate in made[1]:
        for (side, batch, number), varies in shapes.items():
            job: Job = {"kind": "ours_stylize", "multiply_adds": None, **made[number][candidate], "device": device}
            job |= {"candidate": candidate, "varies": varies, "needs": of_styles(candidate, number), "styles": number}
            name = _name(candidate, side, batch, number)
            yield name, job | {"width": side, "height": side, "batch": batch}
    yield from _trainings(settings, device, folder)


def _name(candidate: str, side: int, batch: int, styles: int) -> str:
    return f"{candidate}, {batch} x {side}x{side}, {styles} style{'s' if styles > 1 else ''}"


def _trainings(settings: dict[str, Any], device: str, folder: Path) -> Iterator[tuple[str, Job]]:
    scale = settings["scale"]
    step = scale["step"]
    size, batch = step["size"], step["batch"]
    curves: dict[str, Shapes] = {"size": [(side, batch, 1, USUAL_LAYERS) for side in step["sizes"]]}
    curves["batch"] = [(size, number, 1, USUAL_LAYERS) for number in step["batches"]]
    curves["styles"] = [(size, batch, number, USUAL_LAYERS) for number in scale["styles"]]
    curves["layers"] = [(size, batch, 1, number) for number in step["layers"]]
    candidate = f"{step['network']} training"
    for place, ((side, batch, styles, layers), varies) in enumerate(_together(curves).items()):
        overrides = [f"network={step['network']}", *_training(settings, styles, layers)]
        name = f"{_name(candidate, side, batch, styles)}, {layers} layer{'s' if layers > 1 else ''}"
        yield (
            name,
            {
                **{"kind": "ours_step", "overrides": overrides, "folder": str(folder / f"scale_{place}")},
                **{"candidate": candidate, "varies": varies, "needs": candidate, "styles": styles, "layers": layers},
                **{"device": device, "width": side, "height": side, "batch": batch},
            },
        )


def _training(settings: dict[str, Any], styles: int, layers: int) -> list[str]:
    """Return the settings of scripts/train.py for so many styles and style layers."""
    ours = [
        f"preview.size={ASIDE}",
        f"heldout.size={ASIDE}",
        "style=[starry_night]",
        f"style.starry_night.size={ASIDE}",
    ]
    picture = CONFIGS / "style" / "images" / "starry_night.jpg"
    for number in range(2, styles + 1):
        one = f"_target_: fast_style.losses.styles.Style, name: style{number}, image: '{picture}', size: {ASIDE}"
        ours.append(f"+style.style{number}={{{one}}}")
    weights = ", ".join(f"{layer}: 1.0" for layer in LAYERS[:layers])
    contrary = re.compile(r"[+~]*(network=|(style|preview|heldout|loss\.style\.layers)[.=])")
    return [*(text for text in typed(settings) if not contrary.match(text)), *ours, f"loss.style.layers={{{weights}}}"]


def _together(curves: Mapping[str, Shapes]) -> dict[Any, list[str]]:
    """Return the curves that each point is in, by the pixels of the points."""
    found: dict[tuple[int, ...], list[str]] = {}
    for varies, points in curves.items():
        for point in dict.fromkeys(points):
            found.setdefault(point, []).append(varies)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] ** 2 * item[0][1], item[0])))
