"""Slow style transfer and texture synthesis: fast-style optimize photo.jpg style=starry_night."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch.utils.tensorboard import SummaryWriter

from fast_style.cli.earlier_results import OPTIMIZED, earlier_results
from fast_style.cli.hydra_app import build, duration, find_pictures, output_paths, plain
from fast_style.cli.loss_network import loss_network
from fast_style.cli.progress import ProgressBar
from fast_style.cli.run_folder import note_progress
from fast_style.errors import ConfigError
from fast_style.images.picture import write_image
from fast_style.images.tensors import read_image, to_pil
from fast_style.optimize import OnStep, optimize
from fast_style.stylizing.blends import style_weights
from fast_style.types import Images


def main(config: DictConfig) -> None:
    """Optimize the pictures of `content`, or a texture, and save the results."""
    started = time.monotonic()
    settings = plain(config)
    if config.size < 16:
        raise ConfigError(f"size must be at least 16 pixels, not {config.size}")
    if config.preview_every_n_steps < 0:
        raise ConfigError(f"preview_every_n_steps must be 0, for none, or more, not {config.preview_every_n_steps}")
    if config.content:
        files, target = find_pictures(config.content), config.output
        named = {Path(name) for name in ([config.content] if isinstance(config.content, str) else config.content)}
        ours = earlier_results(files) - named if named != set(files) else set()
        files = [file for file in files if file not in ours]
    else:
        # Placeholder: a texture has no input file.
        files, target = [Path("noise")], config.output or f"texture_{config.name}.png"
        if not Path(target).suffix:
            raise ConfigError(
                f"output must be a file, such as texture.png, not {target}: there is no content to name it"
            )
    outputs = output_paths(files, target, f"{config.name}{OPTIMIZED}", overwrite=config.overwrite)
    # Pictures of one shape form a batch, except for L-BFGS, whose line search is shared by the batch. A texture depends
    # on the shape alone.
    batches: dict[tuple[int, int, Path | None], list[tuple[Path, Images]]] = defaultdict(list)
    for file, output in zip(files, outputs, strict=True):
        image = read_image(file, size=config.size) if config.content else torch.zeros(1, 3, config.size, config.size)
        alone = output if config.algorithm == "lbfgs" else None
        batches[image.shape[2], image.shape[3], alone].append((output, image))

    encoder, device = loss_network(config)
    styles = list(build(config.style).values())
    row = torch.from_numpy(style_weights([style.name for style in styles], settings["styles"]))
    keys = ("init", "scales", "steps", "algorithm", "lr", "patience", "min_delta", "seed")
    arguments = {key: settings[key] for key in keys}
    steps = settings["steps"] if isinstance(settings["steps"], list) else [settings["steps"]]
    total = sum(steps) * (len(config.scales) if len(steps) == 1 else 1)

    folder = Path(HydraConfig.get().runtime.output_dir)
    for (height, width, alone), batch in batches.items():
        content = torch.cat([image for _, image in batch]).to(device)
        style = row.to(device).expand(len(content), -1)
        place = folder / (f"{width}x{height}" if alone is None else alone.stem)
        with _progress(place, total, config.preview_every_n_steps) as on_step:
            result = optimize(content, build(config.loss), encoder, styles, style, **arguments, on_step=on_step)
        for (output, _), picture in zip(batch, to_pil(result), strict=True):
            write_image(picture, output)
            print(output, flush=True)
    print(f"{duration(time.monotonic() - started)}; losses and previews: tensorboard --logdir {folder}")


@contextmanager
def _progress(folder: Path, total: int, every_n_steps: int) -> Iterator[OnStep]:
    """Show the steps of one optimization: a progress bar, and loss and previews in TensorBoard."""
    with SummaryWriter(folder) as writer, ProgressBar("steps", aside=True) as bar:

        def on_step(step: int, loss: float, images: Images) -> None:
            note_progress()
            bar.update(folder.name, step, total, note=f"loss {loss:.4g}")
            writer.add_scalar("loss", loss, step)
            if every_n_steps and step % every_n_steps == 0:
                writer.add_images("preview", images.cpu(), step)

        yield on_step
