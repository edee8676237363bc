"""What is measured: the checks of the settings, the cases, and the job of each candidate."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from fast_style.backends import BACKENDS
from fast_style.cli.benchmark.peers import LossNetwork, Training, johnson
from fast_style.cli.benchmark.rounds import Bench, Case, Job
from fast_style.cli.hydra_app import build, register_resolvers
from fast_style.cli.overrides import CONFIGS, explain, read_arguments
from fast_style.cli.resume import flat
from fast_style.errors import ConfigError, require_choice
from fast_style.system.devices import PRECISIONS
from fast_style.zoo.saving import Metadata, load_network, save_network

PARTS = ("step", "stylize", "startup", "loader", "quality", "scale")
#: Style layers of a training, from the shallowest: three are the first three.
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
#: Patterns of keys, the least that their numbers may be, alone or in a list, and the types of these.
LEAST: tuple[tuple[str, float, tuple[type, ...]], ...] = (
    ("*.size *.sizes", 32, (int,)),
    ("*batch *batches rounds matmul threads quality.points scale.styles scale.step.layers", 1, (int,)),
    ("warmup", 0, (int,)),
    ("min_seconds", 0, (int, float)),
    ("max_* *minutes *.seconds scale.memory scale.tried", sys.float_info.min, (int, float)),
)
_STYLIZE = "from fast_style.cli import script; script('stylize')"


def check(settings: Mapping[str, Any]) -> None:
    """Check choices and numbers; ConfigError names the setting that does not fit."""
    networks, scale = sorted(file.stem for file in CONFIGS.glob("network/*.yaml")), settings["scale"]
    for key, known in (("parts", PARTS), ("networks", networks), ("backends", BACKENDS), ("precisions", PRECISIONS)):
        if not settings[key]:
            raise ConfigError(f"{key} must name at least one of {', '.join(sorted(known))}")
        for value in settings[key]:
            require_choice(key, value, sorted(known))
    require_choice("scale.step.network", scale["step"]["network"], networks)
    for key, value in flat(settings).items():
        for patterns, least, kinds in LEAST if value is not None else ():
            for each in value if isinstance(value, list) else [value]:
                fits = type(each) in kinds and each >= least
                if not fits and any(fnmatchcase(key, pattern) for pattern in patterns.split()):
                    words = "above 0" if 0 < least < 1 else f"at least {least}"
                    raise ConfigError(f"{key} must be {words}, not {each}")
    if len(set(scale["sizes"])) < 3:
        raise ConfigError(f"scale.sizes must be three or more, to fit a line and to check it, not {scale['sizes']}")
    if max(scale["step"]["layers"], default=0) > len(LAYERS):
        raise ConfigError(f"scale.step.layers must be at most {len(LAYERS)}, not {max(scale['step']['layers'])}")


def planned(settings: Mapping[str, Any]) -> list[Case]:
    """Return the cases in the order in which they are measured, small images before large ones."""
    step, loader = settings["step"], settings["loader"]
    images = {Case("stylize", *_size(size), batch) for size, batch in product(settings["sizes"], settings["batches"])}
    cases = [
        Case("step", step["size"], step["size"], step["batch"]),
        *sorted(images, key=lambda case: (case.load, case)),
        Case("startup", 512, 512, 1),
        Case("loader", loader["size"], loader["size"], loader["batch"]),
        Case("quality", step["size"], step["size"], step["batch"]),
        Case("scale", step["size"], step["size"], 1),
    ]
    if not any(wanted := [case for case in cases if case.part in settings["parts"]]):
        raise ConfigError("sizes and batches must not be empty: there is nothing to measure")
    return wanted


def _size(size: Any) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", str(size))
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 32 <= min(width, height) <= max(width, height) <= 65_535:
        raise ConfigError(f"sizes must be such as 1280x720 or 512, from 32 to 65535 pixels, not {size}")
    return width, height


def composed(overrides: list[str]) -> DictConfig:
    """Return the configuration of train.py with these overrides."""
    register_resolvers()
    begun = GlobalHydra.instance().is_initialized()
    with nullcontext() if begun else hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            return hydra.compose("train", overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"train: {explain(error, 'train')}") from None


def typed(settings: Mapping[str, Any], without: str = "$.") -> list[str]:
    """Return the user's settings of train.py one by one, without those that match a pattern."""
    try:
        words = shlex.split(str(settings["train"]))
    except ValueError as error:
        raise ConfigError(f"train: {error}: {settings['train']}") from None
    return [text for text in read_arguments(words) if not re.match(rf"[+~]*({without})", text)]


def stylizers(bench: Bench, styles: int = 1) -> Iterator[tuple[str, Job]]:
    """Yield the name of each way to stylize, such as `light openvino bf16`, and its job."""
    for words in product(*(bench.settings[key] for key in ("networks", "backends", "precisions"))):
        job: Job = {"kind": "worker.ours_stylize", "file": f"{bench.folder}/{words[0]}_{styles}.safetensors"}
        job |= {"styles": styles, "backend": words[1], "precision": words[2], "device": bench.device}
        yield " ".join(word for word in words if word not in ("torch", "auto")), job


def yardsticks(bench: Bench) -> dict[str, Job]:
    """Return the jobs that measure the peak of the machine, by the type of the numbers."""
    size = bench.settings["matmul"] or (8192 if bench.device == "cuda" else 2048)
    job = {"kind": "worker.peak", "device": bench.device, "size": size}
    return {kind: {**job, "type": kind} for kind in ("float32", "bfloat16")}


def prepare(bench: Bench) -> None:
    """Write the files that the jobs read: untrained networks, weights of a loss network, and a photo of noise."""
    settings, folder = bench.settings, bench.folder
    styles = {1, *(settings["scale"]["styles"] if "scale" in settings["parts"] else ())}
    for name, number in product(settings["networks"], styles):
        config = composed([f"network={name}", *typed(settings)])
        torch.manual_seed(0)
        metadata = Metadata({f"none{style}": {} for style in range(number)})
        save_network(folder / f"{name}_{number}.safetensors", build(config.network, styles=number), metadata)
    if "step" in settings["parts"]:
        torch.manual_seed(0)
        save_file(vgg16(), folder / "vgg16.safetensors")
    pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).numpy()
    Image.fromarray(pixels).resize((512, 512), Image.Resampling.BICUBIC).save(folder / "photo.jpg", quality=90)


def vgg16() -> dict[str, torch.Tensor]:
    """Return VGG16 under torchvision's names: random weights up to relu4_3, and zeros beyond it."""
    tensors = LossNetwork().state_dict()
    for number in (24, 26, 28):
        tensors[f"features.{number}.weight"] = torch.zeros(512, 512, 3, 3)
        tensors[f"features.{number}.bias"] = torch.zeros(512)
    return tensors


def jobs_for(case: Case, bench: Bench) -> dict[str, Job]:
    """Return the job of each candidate, the reference first."""
    settings, folder, device = bench.settings, bench.folder, bench.device
    shape = {"device": device, "width": case.width, "height": case.height, "batch": case.batch}
    if case.part == "loader":
        return {"loader": {"kind": "worker.loader", "rounds": settings["rounds"], **settings["loader"]}}
    if case.part == "startup":
        jobs: dict[str, Job] = {"import torch": {"kind": "worker.command", "command": ["import torch"]}}
        files = [f"input={folder}/photo.jpg", f"output={folder}/stylized.jpg", "overwrite=true", f"device={device}"]
        for name, job in stylizers(bench._replace(settings={**settings, "precisions": ["auto"]})):
            program = [_STYLIZE, *files, f"ckpt={job['file']}", f"backend={job['backend']}"]
            jobs[name] = {"kind": "worker.command", "command": program}
        return jobs
    # Counted here: counting imports so much that it would change the memory of a process that is measured.
    if case.part == "stylize":
        images = torch.empty(case.batch, 3, case.height, case.width, device="meta")
        adds = multiply_adds(johnson().to("meta"), images)
        jobs = {"peers": {"kind": "worker.peers_stylize", "multiply_adds": adds, **shape}}
        for name, job in stylizers(bench):
            network, style = load_network(Path(job["file"]))[0], torch.empty(case.batch, 1, device="meta")
            jobs[name] = {**job, **shape, "multiply_adds": multiply_adds(network.to("meta"), images, style)}
        return jobs
    trainings = {name: [f"network={name}", *typed(settings)] for name in settings["networks"]}
    if case.part == "step":
        adds = multiply_adds(Training(case.batch, case.width, "meta").step)
        jobs = {"peers": {"kind": "worker.peers_step", "multiply_adds": adds, **shape}}
        trainings["residual, peers' loss"] = [
            # Choices that the experiment replaces, and their settings, would not fit.
            *typed(settings, without=r"network=|(experiment|loss|encoder)[.=]"),
            *("network=residual", "experiment=johnson2016", "loss.total_variation.weight=0"),
            # Not scaled: peers take the activations as they are, and those of a few layers here are all 0.
            *(f"encoder.weights='{folder}/vgg16.safetensors'", "encoder.normalization=imagenet", "encoder.scale=null"),
        ]
    else:
        jobs = {"peers": {"kind": "quality.peers", "overrides": typed(settings), **shape}}
    kind = {"step": "worker.ours_step", "quality": "quality.ours"}[case.part]
    for number, (name, overrides) in enumerate(trainings.items()):
        jobs[name] = {"kind": kind, "overrides": overrides, "folder": f"{folder}/{case.part}_{number}", **shape}
    return jobs


def multiply_adds(work: Callable[..., object], *tensors: torch.Tensor) -> int:
    """Return the multiply-adds of a piece of work; tensors of the device meta do."""
    with FlopCounterMode(display=False) as counter:
        work(*tensors)
    return int(counter.get_total_flops() // 2)
