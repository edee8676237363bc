"""Grid loss: penalizes the mesh that upsampling leaves."""

from jaxtyping import Float
from torch import Tensor

from fast_style.errors import ConfigError
from fast_style.losses.loss import Loss, Stylization


class GridLoss(Loss):
    """Variance of the mean level over the positions in a lattice, within windows of the image.

    A network that upsamples can treat the pixels of each period x period square differently, and style losses,
    which compare textures, barely notice: the image then has a faint mesh. Without a mesh, the pixels at each
    position of the lattice have the same mean. The loss is measured within windows, because a mesh whose sign
    changes from dark to bright areas cancels out over the whole image.

    Args:
        weight: weight of the loss in the total.
        period: side of the lattice's square in pixels: the total upsampling factor of the network, or a multiple of it.
            8 detects lattices of 2 and 4 as well.
        window: side of a window in pixels, a multiple of the period. Texture without any mesh gives an error
            proportional to (period / window)^2. An image smaller than a window is one window.

    Example:
        >>> flat = torch.full((1, 3, 96, 96), 0.5)
        >>> mesh = flat.clone()
        >>> mesh[..., ::4, ::4] += 0.1
        >>> loss = GridLoss()
        >>> loss(Stylization(flat, flat, torch.ones(1, 1), {}, {})).item()
        0.0
        >>> loss(Stylization(flat, mesh, torch.ones(1, 1), {}, {})).item() > 1e-5
        True
    """

    def __init__(self, weight: float = 500.0, period: int = 8, window: int = 96) -> None:
        super().__init__(weight)
        if not 2 <= period <= window:
            raise ConfigError(f"period must be from 2 to the window of {window} pixels, not {period}")
        if window % period:
            raise ConfigError(f"window must be a multiple of the period of {period} pixels, not {window}")
        self.period = period
        self.window = window

    def forward(self, stylization: Stylization) -> Float[Tensor, ""]:
        """Return the mean over windows, channels and images."""
        output = stylization.output.float()
        rows, columns = (
            min(self.window, side // self.period * self.period) for side in (output.shape[2], output.shape[3])
        )
        windows = output.unfold(2, rows, rows).unfold(3, columns, columns)
        squares = windows.unfold(4, self.period, self.period).unfold(5, self.period, self.period)
        return squares.mean(dim=(4, 5)).flatten(4).var(dim=4, correction=0).mean()
