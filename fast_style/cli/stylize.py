"""Stylize pictures and videos: python scripts/stylize.py ckpt=starry_night input=photo.jpg."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import fast_style
from fast_style.backends.automatic import prepare_fastest
from fast_style.batch.jobs import is_archive
from fast_style.cli.hydra_app import checked_controls, one_network, plain, run
from fast_style.cli.inputs import find_inputs, is_video
from fast_style.cli.list import network_list
from fast_style.cli.standard_streams import check_streams, stylize_stream
from fast_style.cli.stylize_images import SETTINGS as PICTURE_SETTINGS
from fast_style.cli.stylize_images import picture_jobs, stylize_pictures
from fast_style.cli.stylize_videos import SETTINGS, stylize_videos
from fast_style.cli.video_jobs import video_jobs
from fast_style.errors import ConfigError
from fast_style.video.frames import Besides
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

#: Instead of a network: show those there are.
LIST = "list"


def main(config: DictConfig) -> None:
    """Stylize all that `input` names; a picture or video that fails does not stop the others."""
    if config.ckpt == LIST:
        print(*network_list(), sep="\n")
        return
    settings = plain(config)
    streams = check_streams(settings)
    machine = {name: config[name] for name in ("backend", "precision", "memory", "tiles")}
    network = one_network(config.ckpt)
    if (config.backend, config.memory, config.tiles) == ("auto", None, "exact") and _is_much(settings["input"]):
        prepare_fastest(read_network_file(find(Path(network))))
    stylizer = fast_style.load(network, **machine)
    controls = checked_controls(settings, stylizer.styles)
    if streams:
        _refuse_video_settings()
        stylize_stream(stylizer, settings, controls)
        return
    style, masks = settings["styles"], settings["masks"]
    name = style if isinstance(style, str) else "+".join(style or masks or stylizer.styles)
    flags = {key: settings[key] for key in ("overwrite", "resume")}
    found = find_inputs(config.input, config.output, name)
    besides = Besides(settings["audio"], settings["subtitles"])
    kind = {"container": settings["container"], "besides": besides}
    if videos := video_jobs(found, config.input, config.output, name, **flags, **kind):
        how = {key: settings[key] for key in SETTINGS}
        stylize_videos(stylizer, videos, controls, config.size, how, resume=config.resume, as_json=config.json)
        return
    _refuse_video_settings()
    jobs = picture_jobs(found, config.output, name, **flags)
    how = {key: settings[key] for key in PICTURE_SETTINGS}
    stylize_pictures(stylizer, jobs, controls, config.size, how, as_json=config.json)


def _is_much(inputs: Any) -> bool:
    """Return whether there is more to stylize than one picture."""
    paths = [Path(str(name)) for name in (inputs if isinstance(inputs, list) else [inputs])]
    one = paths[0]
    return len(paths) > 1 or one.is_dir() or (one.exists() and (is_archive(one) or is_video(one)))


def _refuse_video_settings() -> None:
    for override in HydraConfig.get().overrides.task:
        if (key := override.partition("=")[0]) in (*SETTINGS, "container"):
            raise ConfigError(f"{key} is for videos, and here pictures are stylized; leave it out")


def without_input(arguments: list[str]) -> list[str]:
    """Return the command line with an `input` that is none, if it asks for a list, which needs none."""
    return ["input=null", *arguments] if {f"ckpt={LIST}", f"ckpt='{LIST}'"} & set(arguments) else arguments


def entry_point() -> None:
    """Run the command."""
    run(main, config_name="stylize", rewrite=without_input)
