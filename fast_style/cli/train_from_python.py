"""`fast_style.train`: the command `train` from Python."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fast_style.cli.hydra_app import plain, register_resolvers
from fast_style.cli.overrides import CONFIGS, check, explain, read_arguments, style_name
from fast_style.cli.resume import resume_arguments
from fast_style.cli.run_folder import remove_failed_start
from fast_style.cli.train import train_network
from fast_style.cli.train_settings import check_settings
from fast_style.errors import ConfigError, Interrupted
from fast_style.images.formats import PICTURE_SUFFIXES

if TYPE_CHECKING:  # they import PyTorch, which takes seconds
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
    """Train a network on one style or several and save it, as `fast-style train` does.

    Works in the current folder: the network goes to checkpoints/, logs and the resume checkpoint to runs/. Uses one
    process on one device; the command can use several. Random state, signal handlers and settings of other libraries
    are restored afterwards.

    Args:
        style: name of a shipped style, path of a painting, a `Style`, or several of these for one network.
        data: `procedural`, or a folder, zip or tar of photographs.
        max_steps: number of steps (`trainer.max_steps`), 3000 by default.
        minutes: time limit; by default 30, unless `max_steps` is given.
        overrides: other settings as the command takes them, such as "loss.style.weight=25"; named arguments win.
        settings: settings without a dot, such as network="light", batch_size=4, seed=1, name="mine", logger="csv",
            init="none" or resume="last".

    Returns:
        The network's file, its losses on held-out images, the steps and the seconds.

    Raises:
        FastStyleError: with the command's one-line message.
        KeyboardInterrupt: on Ctrl-C, after saving the step; the message says how to resume.

    Example:
        >>> trained = fast_style.train(style="starry_night", max_steps=20)
        >>> fast_style.load(trained.path)("photo.jpg").save("stylized.jpg")
    """
    given = [] if settings.get("resume") else _style_overrides(style)  # a resumed run keeps its styles
    if data != "procedural":
        given += ["data=photos", *([] if data == "photos" else [f"data.source={_override_value(data)}"])]
    given += read_arguments(list(overrides))
    limits = {"trainer.max_steps": max_steps, "minutes": minutes}
    for key, value in {**settings, **{key: value for key, value in limits.items() if value is not None}}.items():
        choice = (CONFIGS / key).is_dir() and not isinstance(value, Mapping)
        given.append(f"{key}={value if choice and isinstance(value, str) else _override_value(value)}")
    if not any(text.partition("=")[0] == "trainer.devices" for text in given):
        given.append("trainer.devices=1")
    with _composed(given) as config:
        check(config, "train")
        check_settings(config)
        devices = config.trainer.devices
        number = len(devices) if isinstance(devices, ListConfig) else devices
        if config.trainer.num_nodes > 1 or number != 1:
            raise ConfigError("trainer.devices must be 1, or a list of one, in Python; use the command for several")
        # Imported after the checks: slow.
        import torch
        from lightning.pytorch.utilities.seed import isolate_rng

        from fast_style.cli.safety import safe_run

        deterministic = torch.are_deterministic_algorithms_enabled()  # trainer.deterministic changes it
        try:
            with isolate_rng(), safe_run(config, lambda folder: f'fast_style.train(resume="{folder}")') as run:
                trained = train_network(config, run, getLogger("fast_style").info)
        finally:
            torch.use_deterministic_algorithms(deterministic)
    assert trained is not None, "one process only"
    return trained


@contextmanager
def _composed(overrides: list[str]) -> Iterator[DictConfig]:
    """Compose the command's configuration as Hydra does, and restore Hydra's state afterwards."""
    register_resolvers()
    before = HydraConfig.instance().cfg
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = hydra.compose("train", resume_arguments(overrides), return_hydra_config=True)
            HydraConfig.instance().set_config(config)
            folder = Path(config.hydra.run.dir).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            with read_write(config.hydra):
                config.hydra.run.dir = config.hydra.runtime.output_dir = str(folder)
            HydraConfig.instance().set_config(config)
            with read_write(config), open_dict(config):
                del config["hydra"]
            with remove_failed_start():
                yield config
    except Interrupted as interrupted:
        if interrupted.signal == signal.SIGINT:
            raise KeyboardInterrupt(str(interrupted)) from None
        raise
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, "train")) from error
    finally:
        HydraConfig.instance().cfg = before


def _style_overrides(styles: str | Path | Style | Sequence[str | Path | Style]) -> list[str]:
    """Return the overrides of the command for these styles."""
    several = [styles] if isinstance(styles, str) or not isinstance(styles, Sequence) else styles
    names, own = [], []
    for style in several:
        if isinstance(style, str) and Path(style).suffix.lower() not in PICTURE_SUFFIXES:
            names.append(style)
            continue
        if isinstance(style, str | Path):
            settings = plain(OmegaConf.load(CONFIGS / "style" / "painting.yaml").painting)
            settings |= {"name": style_name(style), "image": style, "work": Path(style).stem}
        elif not is_dataclass(style):
            raise ConfigError(f"style must be a style's name, a painting's path or a Style, not {style!r}")
        else:
            cls = type(style)
            settings = {field.name: getattr(style, field.name) for field in fields(style)}
            settings["_target_"] = f"{cls.__module__}.{cls.__qualname__}"
        key = re.sub(r"[^A-Za-z0-9_]+", "_", str(settings["name"]))
        own.append(f"+style.{key if key[0].isalpha() else f'style_{key}'}={_override_value(settings)}")
    return [f"style=[{','.join(names)}]", *own]


def _override_value(value: Any) -> str:
    """Return a value in Hydra's override grammar."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_override_value(child)}' for key, child in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_override_value, value))}]"
    if isinstance(value, str | Path):
        return QuotedString(str(value), Quote.single).with_quotes()
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
