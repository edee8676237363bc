"""Stylise pictures and films: python scripts/stylize.py ckpt=starry_night input=photo.jpg."""

from command_line import checked_controls, one_network, plain, run
from film_jobs import film_jobs
from films import SETTINGS, stylize_films
from hydra.core.hydra_config import HydraConfig
from inputs import find_inputs
from network_list import network_list
from omegaconf import DictConfig
from pictures import SETTINGS as PICTURE_SETTINGS
from pictures import picture_jobs, stylize_pictures
from standard_streams import check_streams, stylize_stream

import fast_style
from fast_style.errors import ConfigError
from fast_style.films.frames import Besides

#: Instead of a network: show those there are.
LIST = "list"


def main(config: DictConfig) -> None:
    """Stylise all that `input` names; a picture or film that fails does not stop the others."""
    if config.ckpt == LIST:
        print(*network_list(), sep="\n")
        return
    settings = plain(config)
    streams = check_streams(settings)
    machine = {name: config[name] for name in ("backend", "precision", "memory", "tiles")}
    stylizer = fast_style.load(one_network(config.ckpt), **machine)
    controls = checked_controls(settings, stylizer.styles)
    if streams:
        _refuse_film_settings()
        stylize_stream(stylizer, settings, controls)
        return
    style, masks = settings["styles"], settings["masks"]
    name = style if isinstance(style, str) else "+".join(style or masks or stylizer.styles)
    flags = {key: settings[key] for key in ("overwrite", "resume")}
    found = find_inputs(config.input, config.output, name)
    besides = Besides(settings["audio"], settings["subtitles"])
    kind = {"container": settings["container"], "besides": besides}
    if films := film_jobs(found, config.input, config.output, name, **flags, **kind):
        how = {key: settings[key] for key in SETTINGS}
        stylize_films(stylizer, films, controls, config.size, how, resume=config.resume, as_json=config.json)
        return
    _refuse_film_settings()
    jobs = picture_jobs(found, config.output, name, **flags)
    how = {key: settings[key] for key in PICTURE_SETTINGS}
    stylize_pictures(stylizer, jobs, controls, config.size, how, as_json=config.json)


def _refuse_film_settings() -> None:
    for override in HydraConfig.get().overrides.task:
        if (key := override.partition("=")[0]) in (*SETTINGS, "container"):
            raise ConfigError(f"{key} is for films, and here pictures are stylised; leave it out")


def without_input(arguments: list[str]) -> list[str]:
    """Return the command line with an `input` that is none, if it asks for a list, which needs none."""
    return ["input=null", *arguments] if {f"ckpt={LIST}", f"ckpt='{LIST}'"} & set(arguments) else arguments


if __name__ == "__main__":
    run(main, config_name="stylize", rewrite=without_input)
