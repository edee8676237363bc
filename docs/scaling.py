"""Prints the tables of scaling.md: what a training step computes and sends, and what that leaves of many GPUs."""

from collections.abc import Iterator
from itertools import product
from math import ceil, log2
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fast_style.encoders.vgg import VGGEncoder
from fast_style.losses import ContentLoss, GridLoss, PerceptualLoss, StyleLoss, TotalVariationLoss
from fast_style.losses.styles import Style
from fast_style.networks import BalancedNet, ResidualNet, TransformNet

LAYERS = {f"relu{block}_1": 1.0 for block in range(1, 5)}
PICTURE = Path(__file__).parent.parent / "configs/style/images/starry_night.jpg"
BATCH, NODE = 32, 8  # pictures a step of each GPU, 256 pixels square; GPUs of a machine
BF16 = 989e12  # FLOP/s of an H100 SXM, without sparsity
SHARES = (0.7, 0.35)  # of that rate: assumed. The faster the step, the more its exchanges weigh.
NVLINK = 450e9  # bytes/s of a GPU, each way
#: Bytes/s of a machine, each way, and the microseconds that a hop takes beyond InfiniBand's (the 30 are assumed).
FABRICS = {"InfiniBand": (8 * 50e9, 0.0), "Ethernet": (25e9 / 8, 30.0)}
#: NCCL's own estimates in microseconds, of protocol LL for small sizes and of LL128 for large ones: the start, a hop
#: over NVLink, a hop over InfiniBand (its src/graph/tuning.cc).
LATENCY = {"tree": ((6.8, 0.6, 5.0), (14.0, 1.25, 8.5)), "ring": ((6.6, 0.6, 2.7), (14.0, 1.9, 4.0))}
BROADCASTS, SMALL_REDUCTIONS = 1, 2.2  # of a few bytes, which a step waits for: see "What a step sends"
#: Steps, pictures a step, network, pixels.
RECIPES = {"default": (3_000, 2, "balanced", 192), "johnson2016": (40_000, 4, "residual", 256)}
#: Pictures of 256 pixels a second that one core makes ready, measured; of photographs, crops of 640x480 JPEG.
CORE = {
    "procedural": 70,
    "JPEG": 166,
    "JPEG, reduced decode": 330,
    "JPEG of training size": 1_776,
    "packed pixels": 8_000,
}


def count(network: TransformNet, encoder: VGGEncoder, size: int) -> list[int]:
    """Count the multiply-adds of one picture's training step with the default losses, and a style of four layers.

    Of the network forward, the loss forward, the loss backward, the network backward and, within the loss's, Gram.
    """
    losses = (ContentLoss(), StyleLoss(), TotalVariationLoss(), GridLoss())
    style = Style("any", PICTURE, size=32, layers=LAYERS)
    loss = PerceptualLoss(encoder, {type(each).__name__: each for each in losses}, [style])
    parts = [FlopCounterMode(display=False) for _ in range(4)]
    # Of a small picture: but for a handful, they grow as its area does.
    content, weights = torch.rand(1, 3, 64, 64), torch.ones(1, 1)
    with parts[0]:
        output = network(content, weights)
    with parts[1]:
        total = loss.total(loss(content, output, weights))
    with parts[2]:
        (gradient,) = torch.autograd.grad(total, output)
    with parts[3]:
        output.backward(gradient)
    gram = sum(part.get_flop_counts()["Global"].get(torch.ops.aten.bmm, 0) for part in parts)
    return [flops // 2 * size**2 // 64**2 for flops in (*(part.get_total_flops() for part in parts), gram)]


def pieces(network: TransformNet) -> list[int]:
    """Return the bytes of the pieces in which DDP sends the gradients, float32 as the weights are, in their order."""
    sizes = [0]
    for weight in reversed(list(network.parameters())):
        sizes[-1] += 4 * weight.numel()
        # DDP's default limits: a small first piece, so that sending begins early.
        if sizes[-1] >= (25 if len(sizes) > 1 else 1) * 2**20:
            sizes.append(0)
    return [size for size in sizes if size]


def latency(shape: str, size: int, near: int, far: float, fabric: str) -> float:
    """Return the seconds from start to end of so many hops over NVLink and between machines."""
    start, near_hop, far_hop = LATENCY[shape][size > 2**16]
    return 1e-6 * (start + near * near_hop + far * (far_hop + FABRICS[fabric][1]))


def all_reduce(size: int, gpus: int, fabric: str) -> float:
    """Return the seconds in which `size` bytes become their mean on all GPUs, by the better of tree and ring."""
    machines = ceil(gpus / NODE)
    tree = latency("tree", size, 2 * (gpus // machines - 1), 2 * log2(machines), fabric)
    ring = latency("ring", size, 2 * (gpus - machines), 2 * (machines - 1), fabric)
    sent = 2 * (gpus - 1) / gpus * size / NVLINK, 2 * (machines - 1) / machines * size / FABRICS[fabric][0]
    return min(tree, ring) + max(sent)


def tables(encoder: VGGEncoder) -> Iterator[list[str]]:
    """Yield the rows of the page's tables, in its order."""
    networks: dict[str, TransformNet] = {"balanced": BalancedNet(), "residual": ResidualNet()}
    seconds = {}  # a picture's, at the greater share and at the smaller
    for name, size in product(networks, (192, 256)):
        *work, gram = count(networks[name], encoder, size)
        seconds[name, size] = [2 * sum(work) / BF16 / share for share in SHARES]
        yield [name, f"{size}x{size}", *(f"{each / 1e9:.2f}" for each in (sum(work), *work, gram))]

    for name, network in networks.items():
        sent = (2 * (gpus - 1) / gpus * sum(pieces(network)) for gpus in (8, 1024))
        megabytes = [f"{size / 1e6:.2f}" for size in (*pieces(network), sum(pieces(network)), *sent)]
        yield [name, f"{sum(pieces(network)) // 4:,}", " + ".join(megabytes[:-3]), *megabytes[-3:]]

    for name, (gpus, fabric) in product(networks, [(8, "InfiniBand"), *product((64, 1024), FABRICS)]):
        fast, slow = (BATCH * each for each in seconds[name, 256])
        *first, last = (all_reduce(size, gpus, fabric) for size in pieces(networks[name]))
        machines = ceil(gpus / NODE)
        small = BROADCASTS * latency("ring", 8, gpus - machines, machines - 1, fabric)  # NCCL knows no other way
        small += SMALL_REDUCTIONS * all_reduce(8, gpus, fabric)
        # At best all but the last piece is hidden behind the computing; at worst nothing is.
        worst, best = fast / (fast + sum(first) + last + small), slow / (slow + last + small)
        times = f"{1e3 * fast:.1f} to {1e3 * slow:.1f}", f"{1e3 * (sum(first) + last):.2f}", f"{1e3 * small:.2f}"
        joined = fabric if machines > 1 else "NVLink"
        yield [name, f"{gpus:,}", joined, *times, f"{100 * worst:.0f} to {100 * best:.0f}"]

    for name, (steps, batch, network_name, size) in RECIPES.items():
        duration = (f"{steps * batch * each:.0f}" for each in seconds[network_name, size])
        left = (f"{ceil(steps * batch / BATCH / gpus):,}" for gpus in (1, 8, 64, 1024))
        yield [name, f"{steps * batch:,}", " to ".join(duration), *left]

    for name in networks:
        fast, slow = seconds[name, 256]
        cores = (f"{1 / slow / rate:.1f} to {1 / fast / rate:.1f}" for rate in CORE.values())
        yield [name, f"{1 / slow:,.0f} to {1 / fast:,.0f}", *cores]


if __name__ == "__main__":
    for row in tables(VGGEncoder()):
        print(f"| {' | '.join(row)} |")
