"""Stylise pictures: python scripts/stylize.py ckpt=checkpoints/starry_night.safetensors input=photo.jpg."""

import sys
from pathlib import Path

from command_line import find_pictures, run
from omegaconf import DictConfig, OmegaConf

import fast_style
from fast_style.errors import ConfigError, ImageError


def main(config: DictConfig) -> None:
    """Stylise each picture that `input` names; one that fails does not stop the others."""
    stylizer = fast_style.load(config.ckpt)
    files = find_pictures(config.input)
    weights = OmegaConf.to_container(config.styles) if isinstance(config.styles, DictConfig) else config.styles
    name = "+".join(weights) if isinstance(weights, dict) else weights or "+".join(stylizer.styles)
    outputs = output_paths(files, config.output, name)
    # Before the first picture is made, not after an hour of them.
    for file, output in zip(files, outputs, strict=True):
        if output.resolve() == file.resolve():
            raise ConfigError(f"{output}: is the input itself; give another output")
        if output.exists() and not config.overwrite:
            raise ConfigError(f"{output}: exists already; add overwrite=true to replace it, or give another output")
    failed = 0
    for file, output in zip(files, outputs, strict=True):
        try:
            stylizer.stylize_file(file, output, style=weights, strength=config.strength, size=config.size)
            print(output, flush=True)
        except ImageError as error:
            failed += 1
            print(error, file=sys.stderr)
    if failed:
        raise ImageError(f"{failed} of {len(files)} pictures failed; the others are done")


def output_paths(files: list[Path], output: str | None, name: str) -> list[Path]:
    """Return where each stylised picture goes: beside it, into a folder, or, for one picture, to a file."""
    if output is None:
        return [file.with_stem(f"{file.stem}_{name}") for file in files]
    path = Path(output)
    if len(files) == 1 and path.suffix and not path.is_dir():
        return [path]
    if path.suffix and not path.is_dir():
        raise ConfigError(f"{path}: one file cannot take {len(files)} pictures; give a folder as output")
    paths = [path / file.name for file in files]
    if len(set(paths)) < len(paths):
        raise ConfigError(f"{path}: two of the pictures have the same name; stylise their folders one at a time")
    return paths


if __name__ == "__main__":
    run(main, config_name="stylize")
