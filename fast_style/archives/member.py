"""A picture in an archive, or a part of a folder that cannot be read."""

from dataclasses import dataclass
from pathlib import Path

from fast_style.archives import Source
from fast_style.errors import ImageError
from fast_style.system.files import BinaryFile
from fast_style.system.text import printable


@dataclass(frozen=True)
class Member:
    """A picture in an archive, or a part of a folder that cannot be read.

    Attributes:
        path: the archive or folder.
        source: what reads it.
        name: the picture's name there.
    """

    path: Path
    source: Archive
    name: str

    def __str__(self) -> str:
        return printable(f"{self.path}/{self.name}")

    @property
    def refused(self) -> str | None:
        """Why it is never read; None: it is."""
        return self.source.refused.get(self.name)

    def open(self) -> BinaryFile:
        """Take it out, into memory.

        Raises:
            ImageError: if it is refused, damaged, or the archive is gone.
        """
        if self.refused:
            raise ImageError(f"{self}: {self.refused}")
        try:
            return self.source.open(self.name)
        except ImageError as error:
            raise ImageError(f"{self.path}/{error}") from None
