"""What each candidate of a benchmark has to do, and the files that it needs."""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fast_style.cli.benchmark.cases import Case
from fast_style.cli.benchmark.peers import LossNetwork, Training, johnson
from fast_style.cli.benchmark.processes import Worker, WorkerError
from fast_style.cli.hydra_app import build
from fast_style.cli.overrides import explain, read_arguments
from fast_style.errors import ConfigError
from fast_style.networks import TransformNet
from fast_style.zoo.saving import Metadata, load_network, save_network

#: Backends that are converted to, and that compute on processors only.
WITHOUT_TORCH = ("onnx", "openvino")

#: A program whose start is measured.
_STYLIZE = "from fast_style.cli.stylize import entry_point; entry_point()"


def prepare(settings: dict[str, Any], folder: Path) -> None:
    """Make what the processes read: an untrained network of each kind, weights, a photograph's worth of pixels."""
    styles = {1, *(settings["scale"]["styles"] if "scale" in settings["parts"] else ())}
    for name, number in product(settings["networks"], styles):
        trained = composed([f"network={name}", *typed(settings)])
        torch.manual_seed(0)
        metadata = Metadata({f"none{style}": {} for style in range(number)})
        save_network(folder / _file(name, number), build(trained.network, styles=number), metadata)
    if "step" in settings["parts"]:
        torch.manual_seed(0)
        save_file(vgg16(), folder / "vgg16.safetensors")
    pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).numpy()
    Image.fromarray(pixels).resize((512, 512), Image.Resampling.BICUBIC).save(folder / "photo.jpg", quality=90)


def convert(settings: dict[str, Any], device: str, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Convert the networks for the backends that want it, so that nobody who is measured has to.

    Returns:
        Why a candidate is left out, by its name.
    """
    reasons: dict[str, str] = {}
    if not {"stylize", "startup", "scale"}.intersection(settings["parts"]):
        return reasons
    precisions = dict.fromkeys([*settings["precisions"], *(["auto"] if "startup" in settings["parts"] else [])])
    wanted = list(stylizers({**settings, "precisions": precisions}, folder))
    if "scale" in settings["parts"]:
        for number in sorted({*settings["scale"]["styles"]} - {1}):
            wanted += [(of_styles(name, number), job) for name, job in stylizers(settings, folder, number)]
    for name, job in wanted:
        if job["backend"] not in WITHOUT_TORCH:
            continue
        if device.startswith("cuda"):
            reasons[name] = f"backend={job['backend']} computes on processors only; add device=cpu"
            continue
        try:
            with Worker({"kind": "convert", **job}, environment) as worker:
                worker.begin()
        except WorkerError as error:
            reasons[name] = str(error)
    return reasons


def composed(overrides: list[str]) -> DictConfig:
    """Return the configuration of scripts/train.py with these overrides. To be called where Hydra has begun.

    Raises:
        ConfigError: if one of them does not fit.
    """
    try:
        return hydra.compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"train: {explain(error, 'train')}") from None


def typed(settings: dict[str, Any]) -> list[str]:
    """Return the settings for scripts/train.py one by one."""
    try:
        words = shlex.split(str(settings["train"]))
    except ValueError as error:
        raise ConfigError(f"train: {error}: {settings['train']}") from None
    return read_arguments(words)


def stylizers(settings: dict[str, Any], folder: Path, styles: int = 1) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of each way to stylize, such as `light openvino bf16`, and what fast_style.load has to know."""
    for network in settings["networks"]:
        for backend in settings["backends"]:
            for precision in settings["precisions"]:
                words = (network, *((backend,) if backend != "torch" else ()))
                words += (precision,) if precision != "auto" else ()
                file = str(folder / _file(network, styles))
                yield " ".join(words), {"file": file, "backend": backend, "precision": precision}


def of_styles(name: str, styles: int) -> str:
    """Return the name of a way to stylize with a network of so many styles."""
    return name if styles == 1 else f"{name}, {styles} styles"


def _file(network: str, styles: int) -> str:
    return f"{network}.safetensors" if styles == 1 else f"{network}_{styles}.safetensors"


def jobs_for(case: Case, settings: dict[str, Any], device: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return what each candidate has to do, the reference first. See benchmark_worker."""
    shape = {"device": device, "width": case.width, "height": case.height, "batch": case.batch}
    if case.part == "stylize":
        jobs = {"peers": {"kind": "peers_stylize", "multiply_adds": _of_stylizing(johnson(), case), **shape}}
        for name, job in stylizers(settings, folder):
            adds = _of_stylizing(load_network(Path(job["file"]))[0], case)
            jobs[name] = {"kind": "ours_stylize", "multiply_adds": adds, **job, **shape}
        return jobs
    if case.part == "startup":
        return {name: {"kind": "command", "command": program} for name, program in _programs(settings, folder).items()}
    if case.part == "loader":
        return {"loader": {"kind": "loader", "rounds": settings["rounds"], **settings["loader"]}}
    trainings = {name: [f"network={name}", *typed(settings)] for name in settings["networks"]}
    if case.part == "step":
        jobs = {"peers": {"kind": "peers_step", "multiply_adds": _of_training(case), **shape}}
        trainings["residual, peers' loss"] = _as_peers(typed(settings), folder / "vgg16.safetensors")
    else:
        jobs = {"peers": {"kind": "peers_quality", "overrides": typed(settings), "folder": str(folder), **shape}}
    for number, (name, overrides) in enumerate(trainings.items()):
        place = folder / f"{case.part}_{number}"
        jobs[name] = {"kind": f"ours_{case.part}", "overrides": overrides, "folder": str(place), **shape}
    return jobs


def vgg16() -> dict[str, torch.Tensor]:
    """Return VGG16 under torchvision's names: up to relu4_3 as peers draw it at random, beyond it nothing."""
    tensors: dict[str, torch.Tensor] = {}
    number = 0
    for stage in LossNetwork().stages:
        for module in stage.children():
            if isinstance(module, nn.Conv2d):
                tensors |= {f"features.{number}.{name}": value.detach() for name, value in module.named_parameters()}
            number += 1
    for number in (24, 26, 28):
        tensors[f"features.{number}.weight"] = torch.zeros(512, 512, 3, 3)
        tensors[f"features.{number}.bias"] = torch.zeros(512)
    return tensors


def _as_peers(overrides: list[str], weights: Path) -> list[str]:
    """Return the settings of a training of the peers' network with the peers' loss."""
    ours = ["network=residual", "experiment=johnson2016", "loss.total_variation.weight=0"]
    # Not scaled: peers take the activations as the weights make them, and those of a few layers here are all 0.
    ours += [f"encoder.weights='{weights}'", "encoder.normalization=imagenet", "encoder.scale=null"]
    # Whatever else was chosen instead, and its settings, would not fit.
    contrary = re.compile(r"[+~]*(network=|(experiment|loss|encoder)[.=])")
    return [*(text for text in overrides if not contrary.match(text)), *ours]


def _of_stylizing(network: nn.Module, case: Case) -> int:
    """Return the multiply-adds of a network's definition, whatever a backend makes of it."""
    # Here, where nothing is measured: counting imports so much that the memory of who counts is no longer his own.
    images = torch.empty(case.batch, 3, case.height, case.width, device="meta")
    styles = [torch.empty(case.batch, 1, device="meta")] if isinstance(network, TransformNet) else []
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta")(images, *styles)
    return int(counter.get_total_flops() // 2)


def _of_training(case: Case) -> int:
    training = Training(case.batch, case.width, "meta")
    with FlopCounterMode(display=False) as counter:
        training.step()
    return int(counter.get_total_flops() // 2)


def _programs(settings: dict[str, Any], folder: Path) -> dict[str, list[str]]:
    """Return the programs whose start is measured."""
    stylize = [sys.executable, "-c", _STYLIZE, f"input={folder}/photo.jpg"]
    stylize += [f"output={folder}/stylized.jpg", "overwrite=true"]
    programs = {"import torch": [sys.executable, "-c", "import torch"]}
    for name, job in stylizers({**settings, "precisions": ["auto"]}, folder):
        programs[name] = [*stylize, f"ckpt={job['file']}", f"backend={job['backend']}"]
    return programs
