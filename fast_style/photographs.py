"""Content pictures for training, read in place from a folder, a zip or a tar."""

import io
import math
import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from fast_style.errors import ConfigError, DataError, ImageError
from fast_style.images import PICTURE_SUFFIXES, BinaryFile, Picture, flatten, open_picture


class Photographs(Dataset[Tensor]):
    """Random square crops of the pictures in a folder of any depth, a .zip or an uncompressed .tar.

    A crop is a function of the seed, the epoch and the index alone, whichever process cuts it.
    Its side is between half of the picture's short side and all of it; it is enlarged only where the
    whole picture is smaller than a crop. Half of the crops are mirrored.

    A picture that cannot be read is passed over for the next one that can.

    Attributes:
        names: the pictures, as paths inside the source, in order.
        bad: the pictures that this process found unreadable, with the reasons.

    The workers of a DataLoader are processes of their own; `skipped` tells what all of them found.
    """

    def __init__(self, source: str | Path, size: int, seed: int = 0) -> None:
        """List the pictures, and read the first good one.

        Args:
            source: the folder or the archive; hidden files and files that are no pictures are ignored.
            size: the side of the crops, in pixels.
            seed: what the randomness starts from, not negative.

        Raises:
            DataError: if the source is missing, damaged, compressed as a whole, or has no usable picture.
            ConfigError: if the size is below 32, which is too little for a network to look at.
        """
        if size < 32:
            raise ConfigError(f"size must be at least 32 pixels, not {size}")
        self.source, self.size, self.seed = Path(source), size, seed
        self.bad: dict[str, str] = {}
        self._files = _open_source(self.source)
        self.names = sorted(filter(_is_picture, self._files.names()))
        if not self.names:
            raise DataError(f"{source}: no pictures in it; they are files ending in {', '.join(PICTURE_SUFFIXES)}")
        # Shared with the workers, which find bad pictures long after they were started.
        self._skipped = torch.zeros(len(self.names), dtype=torch.bool)
        self._skipped.share_memory_()  # type: ignore[no-untyped-call]
        self._first_readable(0, size)

    @property
    def skipped(self) -> list[str]:
        """The pictures that this process or any worker of it found unreadable."""
        return [name for name, skipped in zip(self.names, self._skipped.tolist(), strict=True) if skipped]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: tuple[int, int]) -> UInt8[Tensor, "3 size size"]:
        """The crop of one picture in one epoch, in [0, 255].

        Args:
            key: the epoch and the index of the picture.

        Raises:
            DataError: if no picture of the source can be read any more.
        """
        epoch, index = key
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        zoom, left, top, mirror = np.random.default_rng([self.seed, epoch, index]).random(4)
        # The crop is cut from the picture as if its short side had this many pixels.
        short_side = self.size * (1 + zoom)
        image = flatten(self._first_readable(index, math.ceil(short_side)))
        side = min(image.size) * self.size / min(short_side, max(self.size, min(image.size)))
        x, y = left * (image.width - side), top * (image.height - side)
        box = (x, y, min(x + side, image.width), min(y + side, image.height))
        crop = image.resize((self.size, self.size), Image.Resampling.BICUBIC, box)
        if mirror < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(crop)).permute(2, 0, 1).contiguous()

    def _first_readable(self, start: int, short_side: int) -> Picture:
        for offset in range(len(self)):
            index = (start + offset) % len(self)
            name = self.names[index]
            if name in self.bad:
                continue
            try:
                with self._files.open(name) as file:
                    return open_picture(file, name, short_side)
            except (ImageError, OSError, RuntimeError, zipfile.BadZipFile) as error:
                self.bad[name] = str(error).removeprefix(f"{name}: ")
                self._skipped[index] = True
        name, reason = next(iter(self.bad.items()))
        raise DataError(
            f"{self.source}: none of its {len(self)} pictures can be used, for instance {name}: {reason}; "
            "download or unpack them again"
        )


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Iterable[str]:
        seen = set()
        for folder, subfolders, files in os.walk(self.path, followlinks=True):
            # A link may lead back to a folder above it.
            if (real := os.path.realpath(folder)) in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders.sort()
            yield from (Path(folder, file).relative_to(self.path).as_posix() for file in files)

    def open(self, name: str) -> BinaryFile:
        return open(self.path / name, "rb")


class _Zip:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def names(self) -> Iterable[str]:
        # An archive may hold several versions of a file.
        return {member.filename for member in self._archive().infolist() if not member.is_dir()}

    def open(self, name: str) -> BinaryFile:
        return io.BytesIO(self._archive().read(name))  # All of it, so that its checksum is compared.

    def _archive(self) -> zipfile.ZipFile:
        # Processes that share an open file share its position too: each opens its own.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.path)
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class _Tar:
    def __init__(self, path: Path) -> None:
        self.path = path
        with tarfile.open(path, "r:") as archive:
            self._places = {
                member.name: (member.offset_data, member.size)
                for member in archive
                if member.isreg() and not member.issparse()
            }

    def names(self) -> Iterable[str]:
        return self._places

    def open(self, name: str) -> BinaryFile:
        offset, length = self._places[name]
        with open(self.path, "rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(length))


def _open_source(path: Path) -> _Folder | _Zip | _Tar:
    if path.is_dir():
        return _Folder(path)
    try:
        with open(path, "rb") as file:
            magic = file.read(6)
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            files = _Zip(path)
            files.names()
            return files
        # gzip, bzip2, xz, Zstandard
        if magic.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")):
            raise DataError(f"{path}: pictures cannot be read in place from a compressed tar; uncompress it first")
        return _Tar(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such folder or archive; check the path") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(f"{path}: neither a folder nor a whole .zip or .tar ({error}); download it again") from error


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts if part not in (".", ".."))
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden
