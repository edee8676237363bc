"""Starting from the trained network that is nearest."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from small_messages import assert_names, raises
from small_runs import SMALL, Train
from torch import Tensor, nn

import fast_style
from fast_style.cli.overrides import CONFIGS
from fast_style.encoders.vgg import VGGEncoder
from fast_style.errors import CheckpointError, ConfigError
from fast_style.images.tensors import to_pil
from fast_style.losses import PerceptualLoss, StyleLoss
from fast_style.losses.styles import Style
from fast_style.networks import BalancedNet, ConditionalInstanceNorm, LightNet, TransformNet
from fast_style.training import warm_start
from fast_style.training.warm_start import candidates, start, take
from fast_style.types import Images, StyleWeights
from fast_style.zoo.saving import Metadata, load_network, save_network

Ship = Callable[..., TransformNet]
LAYERS = {"relu1_1": 1.0, "relu2_1": 1.0}


class Photograph:
    """A source of one picture: noise in coarse squares."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        squares = torch.randint(0, 256, (3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return squares.repeat_interleave(8, 1).repeat_interleave(8, 2)


CONTENT = Photograph()[0, 0][None] / 255


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Ships a network of random styles under a name."""
    shipped: dict[str, Path] = {}
    monkeypatch.setattr(warm_start, "shipped_networks", lambda: shipped)

    def ship(name: str, styles: int = 1, seed: int = 0, *, width: int = 8, blocks: int = 1) -> TransformNet:
        shipped[name] = tmp_path / f"{name}.safetensors"
        save(shipped[name], random_network(styles, seed, width=width, blocks=blocks).half())
        return load_network(shipped[name])[0]

    return ship


def random_network(styles: int = 1, seed: int = 0, *, width: int = 8, blocks: int = 1) -> TransformNet:
    torch.manual_seed(seed)
    network = LightNet(styles, width, blocks)
    for module in network.modules():
        if isinstance(module, ConditionalInstanceNorm):
            nn.init.normal_(module.scale, mean=1, std=0.5)
            nn.init.normal_(module.shift)
    return network


def save(path: Path, network: TransformNet) -> None:
    save_network(path, network, Metadata({f"look{number}": {} for number in range(network.styles)}))


@torch.no_grad()
def painted(network: TransformNet, column: int = 0) -> Images:
    output: Images = network(CONTENT, torch.eye(network.styles)[[column]])
    return output


@pytest.fixture
def loss_of(tmp_path: Path, encoder: VGGEncoder) -> Callable[..., PerceptualLoss]:
    """Makes a style of each picture, and the loss that is nearly 0 for the network that has painted it."""

    def loss_of(*pictures: Images) -> PerceptualLoss:
        styles = []
        for number, picture in enumerate(pictures):
            path = tmp_path / f"style{number}.png"
            to_pil(picture)[0].save(path)
            styles.append(Style(f"style{number}", path, size=48, layers=LAYERS))
        return PerceptualLoss(encoder, {"style": StyleLoss(20.0)}, styles)

    return loss_of


def begin(network: TransformNet, loss: PerceptualLoss, init: str = "auto") -> warm_start.Start:
    return start(network, candidates(init, network), loss, Photograph(), cold=init == "auto")


def test_the_network_that_paints_the_style_is_the_nearest(ship: Ship, loss_of: Callable[..., PerceptualLoss]) -> None:
    shipped = [ship(name, seed=seed) for seed, name in enumerate(("dots", "lines", "waves"), 1)]
    network = LightNet(1, 8, 1)
    began = begin(network, loss_of(painted(shipped[1])))
    assert began.origin == {"network": "lines", "styles": ["look0"]}
    assert began.text.startswith("from lines (shipped), loss 0.00")
    assert "; from nothing it would be " in began.text
    assert torch.equal(painted(network), painted(shipped[1]))
    assert all(weight.requires_grad for weight in network.parameters())


def test_a_style_is_taken_out_of_a_network_of_several(ship: Ship, loss_of: Callable[..., PerceptualLoss]) -> None:
    ship("alone", seed=1)
    several = ship("several", styles=3, seed=2)
    network = LightNet(1, 8, 1)
    began = begin(network, loss_of(painted(several, 2)))
    assert began.origin == {"network": "several", "styles": ["look2"]}
    assert began.text.startswith("from several (shipped), its style look2, loss ")
    assert torch.equal(painted(network), painted(several, 2))


def test_several_styles_come_from_the_one_network_that_is_best_for_all(
    ship: Ship, loss_of: Callable[..., PerceptualLoss]
) -> None:
    # Either of the two is as good as can be for one of the styles, and of the third nothing is known.
    one, both = ship("one", seed=1), ship("both", styles=3, seed=2)
    network = LightNet(2, 8, 1)
    began = begin(network, loss_of(painted(both, 2), painted(both, 0)))
    assert began.origin == {"network": "both", "styles": ["look2", "look0"]}
    assert torch.equal(painted(network, 0), painted(both, 2))
    assert torch.equal(painted(network, 1), painted(both, 0))

    network = LightNet(2, 8, 1)
    began = begin(network, loss_of(painted(one), painted(one)))
    assert began.origin == {"network": "one", "styles": ["look0", "look0"]}
    assert torch.equal(painted(network, 1), painted(one))


def test_networks_of_another_kind_are_left_out(ship: Ship, loss_of: Callable[..., PerceptualLoss]) -> None:
    wider = ship("wider", width=12)
    ship("deeper", blocks=2)
    network = LightNet(1, 8, 1)
    before = painted(network)
    began = begin(network, loss_of(painted(wider)))
    assert began.origin is None
    assert_names(began.text, "nothing LightNet(width=8, blocks=1)")
    assert torch.equal(painted(network), before)
    assert candidates("auto", BalancedNet(1, 8, 1)) == {}


def test_a_network_that_is_nearer_itself_stays_as_it_is(
    ship: Ship, loss_of: Callable[..., PerceptualLoss], tmp_path: Path
) -> None:
    shipped, network = ship("far", seed=1), random_network(seed=2)
    before = painted(network)
    loss = loss_of(before)
    began = begin(network, loss)
    assert began.origin is None
    assert began.text.startswith("from nothing, loss 0.00")
    assert "; from the nearest, far (shipped), it would be " in began.text
    assert torch.equal(painted(network), before)
    # Whoever names a file gets it.
    began = begin(network, loss, str(tmp_path / "far.safetensors"))
    assert began.origin == {"network": "far", "styles": ["look0"]}
    assert torch.equal(painted(network), painted(shipped))


def test_a_network_that_gives_no_numbers_is_never_the_nearest(
    ship: Ship, loss_of: Callable[..., PerceptualLoss], tmp_path: Path
) -> None:
    broken, shipped = ship("broken", seed=1), ship("whole", seed=2)
    nn.init.constant_(next(broken.parameters()), float("nan"))
    save(tmp_path / "broken.safetensors", broken)
    network = LightNet(1, 8, 1)
    began = begin(network, loss_of(painted(shipped)))
    assert began.origin == {"network": "whole", "styles": ["look0"]}


def test_the_loss_network_looks_once_at_each_column_and_random_numbers_stay(
    ship: Ship, loss_of: Callable[..., PerceptualLoss], encoder: VGGEncoder
) -> None:
    ship("several", styles=3)
    network = LightNet(2, 8, 1)
    loss = loss_of(painted(network), painted(network))
    looks: list[object] = []
    hook = encoder.register_forward_hook(lambda *call: looks.append(call))
    state = torch.get_rng_state()
    begin(network, loss)
    hook.remove()
    # At the content, at the new network's two columns and at the three of the other.
    assert len(looks) == 1 + 2 + 3
    assert torch.equal(torch.get_rng_state(), state)


class Tinted(TransformNet):
    """Adds a color for each style, kept in columns."""

    def __init__(self, styles: int) -> None:
        super().__init__(styles=styles)
        self.colors = nn.Parameter(torch.rand(3, styles))
        self.square = nn.Parameter(torch.rand(2, 2))

    def forward(self, images: Images, style: StyleWeights) -> Images:
        return images + (style @ self.colors.T)[:, :, None, None]


def test_styles_are_taken_from_wherever_a_network_keeps_them() -> None:
    source, network = Tinted(2), Tinted(3)
    take(network, source, [1, 0, 1])
    assert torch.equal(network.colors, source.colors[:, [1, 0, 1]])
    assert torch.equal(network.square, source.square)


def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    save(path, random_network(width=12))
    with raises(
        ConfigError, f"init BalancedNet(width=8, blocks=1, dilation=2) {path} LightNet(width=12, blocks=1) init=auto"
    ):
        candidates(str(path), BalancedNet(2, 8, 1))
    with raises(CheckpointError, "nowhere file name"):
        candidates("nowhere", BalancedNet(2, 8, 1))


def test_the_experiments_of_papers_start_from_nothing() -> None:
    files = [path for path in (CONFIGS / "experiment").glob("*.yaml") if "scripts/train.py" in path.read_text()]
    assert len(files) >= 2
    assert [OmegaConf.load(path).init for path in files] == ["none"] * len(files)


def test_a_run_starts_from_a_file_and_says_so_and_one_that_goes_on_does_not(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "first.safetensors"
    save(path, random_network())
    small = [text for text in SMALL if not text.startswith("init=")]
    # No step has an effect, and nothing rounds, as averaging would: what comes out is what it began with.
    still = ("optimizer.lr=0", "callback=[checkpoint,throughput]")
    trained = train(*small, *still, "network=light", "init=first")
    assert trained.returncode == 0, trained.stderr
    (line,) = [line for line in trained.stdout.splitlines() if line.startswith("starts ")]
    assert line.startswith("starts    from first, loss ")
    result = tmp_path / "checkpoints" / "starry_night.safetensors"
    first, then = load_file(path), load_file(result)
    assert all(torch.equal(tensor, then[name]) for name, tensor in first.items())

    # The file is no longer needed, and where the network came from is not forgotten.
    path.unlink()
    result.unlink()
    went_on = train("resume=last")
    assert went_on.returncode == 0, went_on.stderr
    assert "starts " not in went_on.stdout
    origin = {"network": "first", "styles": ["look0"]}
    assert fast_style.load(result).metadata.config["started_from"] == origin
