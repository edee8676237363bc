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
    """Random square crops of the pictures in a folder (recursive), a .zip, an uncompressed .tar or an .npz.

    A crop depends only on the seed, the epoch and the index, in any process. Its side is 0.5 to 1 times the picture's
    short side; it is enlarged only where the whole picture is smaller than a crop. Half of the crops are mirrored.

    Crops of an .npz are cut without resizing, which is many times faster: `pack` gave each picture one fixed scale,
    from the same range of scales.

    An unreadable picture is skipped in all later epochs, and the next readable one replaces it. Workers go on as long
    as any picture is readable; the training process calls `check`.

    Attributes:
        names: the pictures, as sorted paths inside the source.
        flags: 1 for each unreadable picture, in memory shared with DataLoader workers, so that no process tries it
            again. Shape (pictures,), uint8.
        bad: the pictures that this process found unreadable, with the reasons.
    """

    def __init__(self, source: str | Path, size: int = 192, seed: int = 0, max_bad: float = 0.01) -> None:
        """List the pictures and read the first good one.

        Args:
            source: the folder or the archive; hidden files and other file types are ignored. An .npz was written by
                `pack`, or holds uint8 arrays of shape (height, width, 3).
            size: side of the crops in pixels.
            seed: random seed, 0 or more.
            max_bad: fraction of the pictures that may be unreadable, from 0 to 1.

        Raises:
            DataError: if the source is missing, damaged, compressed as a whole, or has no usable picture.
            ConfigError: if the size is below 32 (too small for a network) or differs from that of the .npz, the seed
                is negative, or `max_bad` is not in [0, 1].
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
            remedy = "or pack the pictures for that"
            raise ConfigError(f"size must be {made_for}, for which {self._shown} was made, not {size}; {remedy}")
        suffixes = (".npy",) if isinstance(self._files, PixelArchive) else PICTURE_SUFFIXES
        self.names = sorted(name for name in self._files.names() if _is_picture(name, suffixes))
        if not self.names:
            refused = "".join(f"; refused: {printable(name)}, {why}" for name, why in list(self.refused.items())[:1])
            endings = ", ".join(suffixes)
            raise DataError(f"{self._shown}: no pictures in it; they are files ending in {endings}{refused}")
        # Shared, since workers find bad pictures long after they start.
        self.flags = torch.zeros(len(self.names), dtype=torch.uint8)
        self.flags.share_memory_()  # type: ignore[no-untyped-call]
        self._first_readable(0)

    @property
    def refused(self) -> Mapping[str, str]:
        """Files that the source never reads, such as links in an archive: name to reason."""
        return self._files.refused

    @property
    def skipped(self) -> list[str]:
        """Printable names of the pictures that this process or any of its workers found unreadable."""
        return [printable(self.names[index]) for index in self._unreadable()]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int]) -> UInt8[Tensor, "3 size size"]:
        """Return the crop of a picture in an epoch.

        Args:
            key: the epoch and the index of the picture.

        Returns:
            Shape (3, size, size), uint8, with channels last in memory.

        Raises:
            DataError: if no picture of the source is readable any more.
        """
        epoch, index = key
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        zoom, left, top, mirror = np.random.default_rng([self.seed, epoch, index]).random(4)
        crop = torch.from_numpy(self._first_readable(index, zoom, left, top))
        crop = crop.flip(1) if mirror < 0.5 else crop.contiguous()
        return crop.permute(2, 0, 1)

    def listing(self) -> str:
        """Return a line "name, tab, reason" for each picture of `skipped`, then for each refused file.

        Pictures that other processes found unreadable are read again to learn the reason.
        """
        reasons = [(self.names[index], self._reason(index)) for index in self._unreadable()]
        reasons += [(name, f"refused: {reason}") for name, reason in sorted(self.refused.items())]
        return "".join(f"{printable(name)}\t{printable(reason)}\n" for name, reason in reasons)

    def look_again(self, skipped: Iterable[str]) -> None:
        """Try pictures again that were in `skipped` before, such as in another run: some may have been repaired."""
        before = set(skipped)
        for index, name in enumerate(self.names if before else ()):
            if printable(name) in before:
                self._read(index)

    def check(self, listed: str = "") -> None:
        """Check that not too many pictures are unreadable.

        Args:
            listed: the file that lists them, for the message.

        Raises:
            DataError: if their fraction is above `max_bad`.
        """
        bad = self._unreadable()
        if len(bad) / len(self) > self.max_bad:
            allowed = math.floor(self.max_bad * len(self) + 1e-9)  # 0.29 * 100 is a little less than 29.
            raise DataError(
                f"{self._shown}: {len(bad)} of {len(self)} pictures cannot be read ({len(bad) / len(self):.2%}, and "
                f"{allowed} may be), for instance {printable(self.names[bad[0]])}: {self._reason(bad[0])}"
                f"{listed and f'; {listed} names them all'}; mend or remove them, or raise data.max_bad"
            )

    def _unreadable(self) -> list[int]:
        indices: list[int] = self.flags.nonzero()[:, 0].tolist()
        return indices

    @property
    def _shown(self) -> str:
        return printable(str(self.source))

    def _first_readable(self, start: int, *place: float) -> Pixels:
        for offset in range(len(self)):
            index = (start + offset) % len(self)
            # The shared flags only save time: an unflagged bad picture fails in `_read`.
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
    # Equals resizing the picture's short side to size * (1 + zoom) pixels, then cropping.
    side = min(image.size) * size / min(size * (1 + zoom), max(size, min(image.size)))
    x, y = left * (image.width - side), top * (image.height - side)
    box = (x, y, min(x + side, image.width), min(y + side, image.height))
    return np.array(image.resize((size, size), Image.Resampling.BICUBIC, box))


def _is_picture(name: str, suffixes: Sequence[str]) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts if part not in (".", ".."))
    return path.suffix.lower() in suffixes and not hidden
