"""Stylize pictures and videos: fast-style stylize photo.jpg ckpt=starry_night."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import fast_style
from fast_style.backends.automatic import prepare_fastest
from fast_style.cli.hydra_app import checked_controls, one_network, plain
from fast_style.cli.inputs import Found, find_inputs, is_video
from fast_style.cli.list import print_networks
from fast_style.cli.progress import ProgressBar
from fast_style.cli.standard_streams import check_streams, stylize_stream
from fast_style.cli.stylize_images import picture_jobs, stylize_picture, stylize_pictures
from fast_style.errors import ConfigError
from fast_style.images.formats import WRITABLE_SUFFIXES
from fast_style.images.opening import contents_of
from fast_style.stylizing.jobs import Job
from fast_style.zoo import find
from fast_style.zoo.network_file import read_network_file

#: `ckpt=list` prints the available networks.
LIST = "list"
#: Settings for pictures only, and for videos only.
PICTURE_SETTINGS = ("batch", "overwrite", "resume")
VIDEO_SETTINGS = ("temporal", "codec", "crf", "start", "end", "fps", "audio", "subtitles")
#: Arguments of `fast_style.load`.
MACHINE_SETTINGS = ("device", "backend", "precision", "memory", "tiles")


def main(config: DictConfig) -> None:
    """Stylize all pictures and videos of `input`; a failure does not stop the others.

    Settings, network file and inputs are checked before the network is loaded, which takes seconds.
    """
    if config.ckpt == LIST:
        print_networks()
        return
    settings = plain(config)
    streams = check_streams(settings)
    network = read_network_file(find(Path(one_network(config.ckpt))))
    controls = checked_controls(settings, list(network.metadata.styles))
    styles = settings["styles"] or settings["masks"]
    # Suffix of the results' names: the requested styles, otherwise the network.
    name = styles if isinstance(styles, str) else "+".join(styles or [network.path.stem])
    replacing = {key: settings[key] for key in ("overwrite", "resume")}
    found = {} if streams else find_inputs(config.input, config.output, name)
    one = _is_one_picture(found, config.output)
    videos: list[Job] = []
    if not (one or streams):
        # Imported lazily: slow, and only videos need it.
        from fast_style.cli.stylize_videos import video_jobs
        from fast_style.video.frames import StreamModes

        modes = StreamModes(settings["audio"], settings["subtitles"])
        options = {**replacing, "container": settings["container"], "modes": modes}
        videos = video_jobs(found, settings["input"], settings["output"], name, **options)
    for text in [] if videos else HydraConfig.get().overrides.task:
        if (key := text.partition("=")[0]) in (*VIDEO_SETTINGS, "container"):
            raise ConfigError(f"{key} is for videos, and here pictures are stylized; leave it out")
    pictures = [] if videos or streams else picture_jobs(found, config.output, name, **replacing)
    automatic = [settings[key] for key in ("device", "backend", "memory", "tiles")] == [None, "auto", None, "exact"]
    if automatic and (videos or len(pictures) > 1):
        # Converted once for the fastest backend: worth it for several pictures.
        prepare_fastest(network)
    with ProgressBar("tiles", aside=True, leave=False) as tiles:
        machine = {key: settings[key] for key in MACHINE_SETTINGS}
        stylizer = fast_style.load(network.path, **machine, progress=tiles.update_pass)
        size, as_json, resume = settings["size"], settings["json"], settings["resume"]
        if streams:
            stylize_stream(stylizer, settings, controls)
        elif videos:
            from fast_style.cli.stylize_videos import stylize_videos

            how = {key: settings[key] for key in VIDEO_SETTINGS}
            stylize_videos(stylizer, videos, controls, size, how, resume=resume, as_json=as_json)
        elif one and not resume:
            stylize_picture(stylizer, pictures[0], controls, size, settings["overwrite"], as_json=as_json)
        else:
            how = {key: settings[key] for key in PICTURE_SETTINGS}
            stylize_pictures(stylizer, pictures, controls, size, how, as_json=as_json)


def _is_one_picture(found: Found, output: str | None) -> bool:
    """Return whether one still picture becomes one picture."""
    if len(found) != 1:
        return False
    ((source, place),) = found.items()
    if not isinstance(source, Path) or is_video(place) or contents_of(source).kind == "frame":
        return False
    if output is None or output.endswith("/") or Path(output).is_dir() or not Path(output).suffix:
        return True
    return Path(output).suffix.lower() in WRITABLE_SUFFIXES and "*" not in Path(output).name


def without_input(arguments: list[str]) -> list[str]:
    """Add `input=null` to `ckpt=list`, which needs no input."""
    return ["input=null", *arguments] if {f"ckpt={LIST}", f"ckpt='{LIST}'"} & set(arguments) else arguments
