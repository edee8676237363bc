"""`fast_style.train`: what the command `train` does, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import ListConfig

from fast_style.cli.overrides import CONFIGS, check, read_arguments
from fast_style.cli.train import train_network
from fast_style.cli.train_settings import check_settings
from fast_style.errors import ConfigError

if TYPE_CHECKING:  # Which need PyTorch, and this module is to be imported quickly.
    from fast_style.losses.styles import Style
    from fast_style.training.run import Trained


def train(
    style: str | Path | Style | Sequence[str | Path | Style] = "starry_night",
    *,
    data: str | Path = "procedural",
    max_steps: int | None = None,
    minutes: float | None = None,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> Trained:
    """Learn one style or several, and save the network, as `fast-style train` does.

    It works in the current folder: the network goes to checkpoints/, logs and what the run goes on from to runs/. One
    process trains, on one device; several are for the command. Nothing in this process is otherwise after it than before.

    Args:
        style: the name of a style that ships, the file of a painting, a `Style`, or several of these for one network.
        data: `procedural`, or a folder, zip or tar of photographs.
        max_steps: how many steps it takes, 3000 by default: `trainer.max_steps`.
        minutes: how long it takes at most; by default 30, unless `max_steps` is given.
        overrides: other settings as the command takes them, such as "loss.style.weight=25".
        settings: those that have no dot in their names, such as network="light", batch_size=4, seed=1, name="mine",
            logger="csv", init="none" or resume="last".

    Returns:
        The network's file, its losses on held-out images, the steps and the seconds.

    Raises:
        FastStyleError: as the command would say it in one line.
        KeyboardInterrupt: if Ctrl-C stops it; the step is saved, and the message says how it goes on.

    Example:
        >>> trained = fast_style.train(style="starry_night", max_steps=20)
        >>> fast_style.load(trained.path)("photo.jpg").save("stylized.jpg")
    """
    given = [] if "resume" in settings and style == "starry_night" else _style_overrides(style)
    if data != "procedural":
        given += [f"data=photos{'' if data == 'photos' else f' data.source={_written(str(data))}'}"]
    limits = {"trainer.max_steps": max_steps, "minutes": minutes}
    for key, value in {**settings, **{key: value for key, value in limits.items() if value is not None}}.items():
        choice = (CONFIGS / key).is_dir() and not isinstance(value, Mapping)
        given.append(f"{key}={value if choice and isinstance(value, str) else _written(value)}")
    given += read_arguments(list(overrides))
    if not any(text.partition("=")[0] == "trainer.devices" for text in given):
        given.append("trainer.devices=1")
    with _composed(given) as config:
        check(config, "train")
        check_settings(config)
        devices = config.trainer.devices
        if config.trainer.num_nodes > 1 or not (
            devices == 1 or (isinstance(devices, ListConfig) and len(devices) == 1)
        ):
            raise ConfigError("trainer.devices must be 1, or a list of one, in Python; use the command for several")
        # Only now: it takes seconds to import them.
        from lightning.pytorch.utilities.seed import isolate_rng

        from fast_style.cli.safety import safe_run

        with isolate_rng(), safe_run(config, lambda folder: f'fast_style.train(resume="{folder}")') as run:
            trained = train_network(config, run, getLogger("fast_style").info)
    assert trained is not None, "there is but one process"
    return trained
