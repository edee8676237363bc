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

import fast_style
from fast_style.errors import ConfigError

#: Instead of a network: show those there are.
LIST = "list"


def main(config: DictConfig) -> None:
    """Stylise all that `input` names; a picture or film that fails does not stop the others."""
    if config.ckpt == LIST:
        print(*network_list(), sep="\n")
        return
    machine = {name: config[name] for name in ("backend", "precision", "memory", "tiles")}
    stylizer = fast_style.load(one_network(config.ckpt), **machine)
    settings = plain(config)
    controls = checked_controls(settings, stylizer.styles)
    style, masks = settings["styles"], settings["masks"]
    name = style if isinstance(style, str) else "+".join(style or masks or stylizer.styles)
    flags = {key: settings[key] for key in ("overwrite", "resume")}
    found = find_inputs(config.input, config.output, name)
    if films := film_jobs(found, config.input, config.output, name, **flags):
        how = {key: settings[key] for key in SETTINGS}
        stylize_films(stylizer, films, controls, config.size, how, resume=config.resume, as_json=config.json)
        return
    for override in HydraConfig.get().overrides.task:
        if (key := override.partition("=")[0]) in SETTINGS:
            raise ConfigError(f"{key} is for films, and here pictures are stylised; leave it out")
    jobs = picture_jobs(found, config.output, name, **flags)
    how = {key: settings[key] for key in PICTURE_SETTINGS}
    stylize_pictures(stylizer, jobs, controls, config.size, how, as_json=config.json)


def without_input(arguments: list[str]) -> list[str]:
    """Return the command line with an `input` that is none, if it asks for a list, which needs none."""
    return ["input=null", *arguments] if {f"ckpt={LIST}", f"ckpt='{LIST}'"} & set(arguments) else arguments


if __name__ == "__main__":
    run(main, config_name="stylize", rewrite=without_input)
