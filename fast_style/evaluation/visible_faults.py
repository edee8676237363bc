"""Measures of visible faults in stylized images, and the thresholds of visibility.

Each measure takes a batch in [0, 1] and returns one number for each image; 0 means no fault.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fast_style.types import Images

#: Thresholds above which a fault is visible at full size. Good photographs and paintings stay below them, except that
#: upscaling by some factors leaves a faint mesh.
VISIBLE = {"grid": 1.0, "dots": 20.0, "border": 12.0, "washed_out": 0.3, "clipped": 0.1}

Numbers = Float[Tensor, " batch"]


def grid(images: Images, periods: Sequence[int] = (2, 4, 8), window: int = 64) -> Numbers:
    """Root mean square of a mesh in levels of 255: the peaks of the spectrum at the upsampling frequencies.

    Upsampling by a factor leaves a pattern of that period, whose spectrum has lines at the multiples of 1/period
    (Odena, Dumoulin & Olah 2016, https://doi.org/10.23915/distill.00003). The power around each line, which belongs to
    the texture, is subtracted from the power at the line; both are averaged over overlapping windows. The maximum over
    the periods counts: in a sum, texture around the slow lines could hide a faster mesh.

    Args:
        images: RGB, at least one window high and wide. Smaller images form one window, with only the periods that fit
            eight times.
        periods: periods of a mesh in pixels: upsampling factors of single layers and of whole networks.
        window: side of a window in pixels, a multiple of the periods.
    """
    unit = max(periods)
    side = min(window, *(length // unit * unit for length in images.shape[2:]))
    result = torch.zeros(len(images), device=images.device)
    # With fewer periods per window, lines would be among the neighbors that are subtracted.
    usable = [period for period in periods if side >= 8 * period]
    if not usable:
        return result
    taper = torch.hann_window(side, device=images.device)
    taper = taper[:, None] * taper
    windows = images.float().unfold(2, side, side // 2).unfold(3, side, side // 2)
    windows = windows - windows.mean(dim=(4, 5), keepdim=True)
    # Scaled to amplitudes: a sine of amplitude a has lines of height a / 2 at its positive and negative frequency.
    spectrum = torch.fft.fft2(windows * taper) / taper.sum()
    power = spectrum.abs().square().mean(dim=(1, 2, 3))
    excess = power - _around(power)
    # The mean is not a mesh.
    excess[:, 0, 0] = 0
    for period in usable:
        step = side // period
        result = torch.maximum(result, 255 * excess[:, ::step, ::step].sum(dim=(1, 2)).clamp_min(0).sqrt())
    return result


def _around(power: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """The mean power beside each position, along its row or its column, whichever is larger.

    Edges parallel to the sides of the image have all their power in one row or column.
    """
    # The taper spreads a line to its direct neighbors; from a distance of two on, power belongs to the texture.
    beside = [shift for distance in (2, 3, 4) for shift in (-distance, distance)]
    along = [torch.stack([power.roll(shift, axis) for shift in beside]).mean(dim=0) for axis in (1, 2)]
    return torch.maximum(*along)


def dots(images: Images, contrast: float = 0.3) -> Numbers:
    """Spots of up to eight pixels that differ from everything around them, per 100,000 pixels.

    A spot is lighter, or darker, than every pixel of a ring around it in one of the channels, by more than `contrast`
    and by more than the pixels of the ring differ among themselves. Spots up to four pixels wide are found in the
    image, up to eight in its half; the larger number counts.
    """
    result = torch.zeros(len(images), device=images.device)
    for reduced in (images, F.avg_pool2d(images, 2)):
        if min(reduced.shape[2:]) >= 11:
            result = torch.maximum(result, _spots(reduced.float(), contrast).flatten(1).sum(dim=1))
    return result * 100_000 / (images.shape[2] * images.shape[3])


def _spots(images: Images, contrast: float) -> Float[Tensor, "batch _height _width"]:
    """1 at the center of each spot, over all positions at least five pixels from the edge."""
    lightest, darkest = _ring_peak(images), -_ring_peak(-images)
    middle = images[:, :, 5:-5, 5:-5]
    excess = torch.maximum(middle - lightest, darkest - middle)
    excess = torch.where(excess > lightest - darkest, excess, 0).amax(dim=1)
    # Compared by position, not by value: only the first pixel of a uniform spot counts.
    _, highest = F.max_pool2d(excess[:, None], 7, 1, padding=3, return_indices=True)
    own = torch.arange(excess[0].numel(), device=images.device).view(excess.shape[1:])
    return ((highest[:, 0] == own) & (excess > contrast)).float()


def _ring_peak(images: Images) -> Float[Tensor, "batch 3 _height _width"]:
    """The maximum on the ring around each pixel, 4 to 5 pixels away."""
    height, width = images.shape[2] - 10, images.shape[3] - 10
    flat, tall = F.max_pool2d(images, (2, 11), 1), F.max_pool2d(images, (11, 2), 1)
    sides = (flat[:, :, :height], flat[:, :, 9 : 9 + height], tall[..., :width], tall[..., 9 : 9 + width])
    return torch.stack(sides).amax(dim=0)


def border(images: Images, content: Images, frame: int = 8) -> Numbers:
    """How much more abruptly an image changes at its edges than inside, in levels of 255.

    Concentric rings of equal width have a mean and a standard deviation of each channel. The measure is the step from
    the outermost ring to the next, minus the root mean square of the steps between the next five. It is the minimum
    for the image and for its change from `content`: the photograph's own margin is no fault, kept or removed.

    Args:
        images: RGB. Small images have fewer rings, at least three, and narrower ones.
        content: the photographs of the images, same shape.
        frame: width of the rings in pixels.
    """
    images = images.float()
    return torch.minimum(_abruptness(images, frame), _abruptness(images - content.float(), frame))


def _abruptness(images: Images, frame: int) -> Numbers:
    short_side = min(images.shape[2:])
    frame = min(frame, short_side // 6)
    count = min(7, short_side // (2 * frame))
    rings = torch.stack([_ring(images, ring * frame, frame) for ring in range(count)])
    steps = rings.diff(dim=0).square().mean(dim=2)
    return 255 * (steps[0].sqrt() - steps[1:].mean(dim=0).sqrt()).clamp_min(0)


def _ring(images: Images, depth: int, frame: int) -> Float[Tensor, "batch 6"]:
    """The mean and the standard deviation of each channel along each of the four sides, averaged over the sides."""
    inner = images[:, :, depth : images.shape[2] - depth, depth : images.shape[3] - depth]
    sides = [inner[:, :, :frame], inner[:, :, -frame:], inner[..., :frame], inner[..., -frame:]]
    means = torch.stack([side.mean(dim=(2, 3)) for side in sides]).mean(dim=0)
    spreads = torch.stack([side.std(dim=(2, 3)) for side in sides]).mean(dim=0)
    return torch.cat([means, spreads], dim=1)


def washed_out(images: Images, content: Images, painting: Float[Tensor, "1 3 _height _width"]) -> Numbers:
    """How much of the color spread is missing, from 0 to 1.

    The spread is the square root of the summed variances of the channels. The expected spread is the smaller of that of
    the photograph and that of the painting.

    Args:
        images: RGB.
        content: the photographs of the images.
        painting: the style image, a batch of one.
    """
    expected = torch.minimum(_color_spread(content), _color_spread(painting))
    return (1 - _color_spread(images) / expected.clamp_min(1e-6)).clamp_min(0)


def _color_spread(images: Images) -> Numbers:
    return images.float().flatten(2).var(dim=2).sum(dim=1).sqrt()


def clipped(images: Images) -> Numbers:
    """Fraction of the image, from 0 to 1, without detail at the end of a channel's range.

    A value counts if it and its eight neighbors are within half a level of 0, or of 255; averaged over channels.
    """
    least, greatest = -F.max_pool2d(-images.float(), 3, 1), F.max_pool2d(images.float(), 3, 1)
    flat = (greatest < 0.5 / 255) | (least > 254.5 / 255)
    return flat.float().mean(dim=(1, 2, 3))
