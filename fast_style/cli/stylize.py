"""Stylize pictures and videos: python scripts/stylize.py ckpt=starry_night input=photo.jpg."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import fast_style
from fast_style.backends.automatic import prepare_fastest
from fast_style.batch.jobs import is_archive
from fast_style.cli.hydra_app import checked_controls, one_network, plain, run
from fast_style.cli.inputs import Found, find_inputs, is_video
from fast_style.cli.list import network_list
from fast_style.cli.progress import ProgressBar
from fast_style.cli.standard_streams import check_streams, stylize_stream
from fast_style.cli.stylize_images import picture_jobs, stylize_picture, stylize_pictures
from fast_style.errors import ConfigError
from fast_style.images.formats import WRITABLE_SUFFIXES
from fast_style.images.opening import contents_of
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.stylizer import Stylizer
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

#: Instead of a network: show those there are.
LIST = "list"
#: The settings that only pictures have, and only videos.
PICTURE_SETTINGS = ("batch", "overwrite", "resume")
VIDEO_SETTINGS = ("temporal", "codec", "crf", "start", "end", "fps", "audio", "subtitles")


def main(config: DictConfig) -> None:
    """Stylize all that `input` names; a picture or video that fails does not stop the others."""
    if config.ckpt == LIST:
        print(*network_list(), sep="\n")
        return
    settings = plain(config)
    streams = check_streams(settings)
    network = one_network(config.ckpt)
    if (config.backend, config.memory, config.tiles) == ("auto", None, "exact") and _is_much(settings["input"]):
        prepare_fastest(read_network_file(find(Path(network))))
    with ProgressBar("tiles", aside=True, leave=False) as tiles:
        machine = {name: config[name] for name in ("backend", "precision", "memory", "tiles")}
        stylizer = fast_style.load(network, **machine, progress=tiles.update_pass)
        controls = checked_controls(settings, stylizer.styles)
        if streams:
            _refuse_video_settings()
            stylize_stream(stylizer, settings, controls)
            return
        style, masks = settings["styles"], settings["masks"]
        name = style if isinstance(style, str) else "+".join(style or masks or stylizer.styles)
        found = find_inputs(config.input, config.output, name)
        one = _is_one_picture(found, config.output)
        if not one and _stylized_videos(stylizer, found, controls, settings, name):
            return
        _refuse_video_settings()
        jobs = picture_jobs(found, config.output, name, overwrite=config.overwrite, resume=config.resume)
        if one and not config.resume:
            stylize_picture(stylizer, jobs[0], controls, config.size, settings["overwrite"], as_json=config.json)
            return
        how = {key: settings[key] for key in PICTURE_SETTINGS}
        stylize_pictures(stylizer, jobs, controls, config.size, how, as_json=config.json)


def _is_one_picture(found: Found, output: str | None) -> bool:
    """Return whether a single still picture is to become one."""
    if len(found) != 1:
        return False
    ((source, place),) = found.items()
    if not isinstance(source, Path) or is_video(place) or contents_of(source).kind == "frame":
        return False
    if output is None or output.endswith("/") or Path(output).is_dir() or not Path(output).suffix:
        return True
    return Path(output).suffix.lower() in WRITABLE_SUFFIXES and "*" not in Path(output).name


def _stylized_videos(stylizer: Stylizer, found: Found, controls: Controls, settings: dict[str, Any], name: str) -> bool:
    """Stylize what is to be read or written as a video; False: pictures are to become pictures."""
    # Here: pictures need not wait for it.
    from fast_style.cli.stylize_videos import stylize_videos, video_jobs
    from fast_style.video.frames import StreamModes

    modes = StreamModes(settings["audio"], settings["subtitles"])
    how = {key: settings[key] for key in ("overwrite", "resume", "container")}
    videos = video_jobs(found, settings["input"], settings["output"], name, **how, modes=modes)
    if videos:
        how = {key: settings[key] for key in VIDEO_SETTINGS}
        resume, as_json = settings["resume"], settings["json"]
        stylize_videos(stylizer, videos, controls, settings["size"], how, resume=resume, as_json=as_json)
    return bool(videos)


def _is_much(inputs: Any) -> bool:
    """Return whether there is more to stylize than one picture."""
    paths = [Path(str(name)) for name in (inputs if isinstance(inputs, list) else [inputs])]
    one = paths[0]
    return len(paths) > 1 or one.is_dir() or (one.exists() and (is_archive(one) or is_video(one)))


def _refuse_video_settings() -> None:
    for override in HydraConfig.get().overrides.task:
        if (key := override.partition("=")[0]) in (*VIDEO_SETTINGS, "container"):
            raise ConfigError(f"{key} is for videos, and here pictures are stylized; leave it out")


def without_input(arguments: list[str]) -> list[str]:
    """Return the command line with an `input` that is none, if it asks for a list, which needs none."""
    return ["input=null", *arguments] if {f"ckpt={LIST}", f"ckpt='{LIST}'"} & set(arguments) else arguments


def entry_point() -> None:
    """Run the command."""
    run(main, config_name="stylize", rewrite=without_input)
