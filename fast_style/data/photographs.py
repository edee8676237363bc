"""Training images from photographs, read in place from a folder, a zip, a tar or an .npz of pixels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from fast_style.data.pixel_archive import PixelArchive, Pixels, open_images
from fast_style.errors import ConfigError, DataError, ImageError
from fast_style.images.picture import PICTURE_SUFFIXES, flatten, open_picture
from fast_style.system.text import printable


class Photographs(Dataset[Tensor]):
    """Random square crops of the pictures in a folder of any depth, a .zip, an uncompressed .tar or an .npz.

    A crop is a function of the seed, the epoch and the index alone, whichever process cuts it.
    Its side is between half of the picture's short side and all of it; it is enlarged only where the
    whole picture is smaller than a crop. Half of the crops are mirrored.

    Those of an .npz are cut pixel for pixel, many times as fast: its pictures come in as many scales as the crops
    of other sources have, but each picture has one for good.

    A picture that cannot be read is passed over, for good, and the next one that can stands in for it.
    No process stops the run because of it, as long as any is left: the one that trains calls `check`.

    Attributes:
        names: the pictures, as paths inside the source, in order.
        flags: 1 for each picture found unreadable, in memory that the workers of a DataLoader share:
            what one process has found no other tries again. Shape (pictures,), uint8.
        bad: the pictures that this process found unreadable, with the reasons.
    """

    def __init__(self, source: str | Path, size: int = 192, seed: int = 0, max_bad: float = 0.01) -> None:
        """List the pictures, and read the first good one.

        Args:
            source: the folder or the archive; hidden files and files that are no pictures are ignored. An .npz
                is one that `pack` has written, or holds uint8 arrays of shape (height, width, 3).
            size: the side of the crops, in pixels.
            seed: what the randomness starts from, not negative.
            max_bad: the part of the pictures that may be unreadable, from 0 to 1.

        Raises:
            DataError: if the source is missing, damaged, compressed as a whole, or has no usable picture.
            ConfigError: if the size is below 32, which is too little for a network to look at, or not the one
                that an .npz was made for, the seed is negative, or `max_bad` is no part of a whole.
        """
        if size < 32:
            raise ConfigError(f"size must be at least 32 pixels, not {size}")
        if seed < 0:
            raise ConfigError(f"seed must not be negative, not {seed}")
        if not 0 <= max_bad <= 1:
            raise ConfigError(f"max_bad must be from 0 to 1, not {max_bad}")
        self.source, self.size, self.seed, self.max_bad = Path(source), size, seed, max_bad
        self.bad: dict[str, str] = {}
        self._files = open_images(self.source)
        made_for = self._files.crop_size if isinstance(self._files, PixelArchive) else None
        if made_for not in (None, size):
            raise ConfigError(
                f"size must be {made_for}, for which {self._shown} was made, not {size}; or pack the pictures for that"
            )
        suffixes = (".npy",) if isinstance(self._files, PixelArchive) else PICTURE_SUFFIXES
        self.names = sorted(name for name in self._files.names() if _is_picture(name, suffixes))
        if not self.names:
            refused = "".join(f"; refused: {printable(name)}, {why}" for name, why in list(self.refused.items())[:1])
            raise DataError(
                f"{self._shown}: no pictures in it; they are files ending in {', '.join(suffixes)}{refused}"
            )
        # The workers find bad pictures long after they were started.
        self.flags = torch.zeros(len(self.names), dtype=torch.uint8)
        self.flags.share_memory_()  # type: ignore[no-untyped-call]
        self._first_readable(0)

    @property
    def refused(self) -> Mapping[str, str]:
        """What the source never reads, by name, with the reason: a link in an archive, for one."""
        return self._files.refused

    @property
    def skipped(self) -> list[str]:
        """The pictures that this process or any worker of it found unreadable, by names fit for printing."""
        return [printable(self.names[index]) for index in self.flags.nonzero()[:, 0].tolist()]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int]) -> UInt8[Tensor, "3 size size"]:
        """The crop of one picture in one epoch, in [0, 255], with the channels last in memory.

        Args:
            key: the epoch and the index of the picture.

        Raises:
            DataError: if no picture of the source can be read any more.
        """
        epoch, index = key
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        zoom, left, top, mirror = np.random.default_rng([self.seed, epoch, index]).random(4)
        crop = torch.from_numpy(self._first_readable(index, zoom, left, top))
        crop = crop.flip(1) if mirror < 0.5 else crop.contiguous()
        return crop.permute(2, 0, 1)

    def listing(self) -> str:
        """Return a line for each picture of `skipped`, then for all that is refused: the name, a tab, the reason.

        What other processes found unreadable is looked at again, for the reason.
        """
        reasons = [(self.names[index], self._reason(index)) for index in self.flags.nonzero()[:, 0].tolist()]
        reasons += [(name, f"refused: {reason}") for name, reason in sorted(self.refused.items())]
        return "".join(f"{printable(name)}\t{printable(reason)}\n" for name, reason in reasons)

    def look_again(self, skipped: Iterable[str]) -> None:
        """Try pictures that were in `skipped` before, such as in another run: some may have been mended."""
        before = set(skipped)
        for index, name in enumerate(self.names if before else ()):
            if printable(name) in before:
                self._read(index)

    def check(self, listed: str = "") -> None:
        """See to it that not too many pictures are unreadable.

        Args:
            listed: the file that names them all, for the message.

        Raises:
            DataError: if they are more than `max_bad` of all.
        """
        bad = self.flags.nonzero()[:, 0].tolist()
        if len(bad) / len(self) > self.max_bad:
            allowed = math.floor(self.max_bad * len(self) + 1e-9)  # 0.29 * 100 is a little less than 29.
            raise DataError(
                f"{self._shown}: {len(bad)} of {len(self)} pictures cannot be read ({len(bad) / len(self):.2%}, and "
                f"{allowed} may be), for instance {printable(self.names[bad[0]])}: {self._reason(bad[0])}"
                f"{listed and f'; {listed} names them all'}; mend or remove them, or raise data.max_bad"
            )

    @property
    def _shown(self) -> str:
        return printable(str(self.source))

    def _first_readable(self, start: int, *place: float) -> Pixels:
        for offset in range(len(self)):
            index = (start + offset) % len(self)
            # Whether another process has found it bad changes only how long this takes.
            if not self.flags[index] and (crop := self._read(index, *place)) is not None:
                return crop
        raise DataError(
            f"{self._shown}: none of its {len(self)} pictures can be used, for instance "
            f"{printable(self.names[0])}: {self._reason(0)}; download or unpack them again"
        )

    def _read(self, index: int, zoom: float = 0, left: float = 0, top: float = 0) -> Pixels | None:
        name = self.names[index]
        try:
            if isinstance(self._files, PixelArchive):
                return self._files.cut(name, self.size, left, top)
            with self._files.open(name) as file:
                image = flatten(open_picture(file, printable(name), math.ceil(self.size * (1 + zoom))))
            return _cut(image, self.size, zoom, left, top)
        except (ImageError, MemoryError) as error:
            self.bad[name] = str(error).removeprefix(f"{printable(name)}: ") or "too large for this machine's memory"
            self.flags[index] = 1
            return None

    def _reason(self, index: int) -> str:
        if self.names[index] not in self.bad:
            self._read(index)
        return self.bad.get(self.names[index], "was unreadable for a while")


def _cut(image: Image.Image, size: int, zoom: float, left: float, top: float) -> Pixels:
    # As if the short side of the picture had size * (1 + zoom) pixels.
    side = min(image.size) * size / min(size * (1 + zoom), max(size, min(image.size)))
    x, y = left * (image.width - side), top * (image.height - side)
    box = (x, y, min(x + side, image.width), min(y + side, image.height))
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box))


def _is_picture(name: str, suffixes: Sequence[str]) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts if part not in (".", ".."))
    return path.suffix.lower() in suffixes and not hidden
