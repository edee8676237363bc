"""PNG, TIFF and PPM writers that work strip by strip, for 8 or 16 bits and images of any size."""

import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, TiffTags

from fast_style.images.disk_image import scratch_folder
from fast_style.images.metadata import ImageMetadata


def write_png(file: IO[bytes], strips: Iterable[NDArray[Any]], size: tuple[int, int], metadata: ImageMetadata) -> None:
    """Write a PNG strip by strip.

    Args:
        file: the output.
        strips: rows from the top, (rows, width, 3) or with opacity (rows, width, 4), as np.uint8 or np.uint16.
        size: width and height in pixels.
        metadata: what to write besides.
    """
    packer = zlib.compressobj()
    above: NDArray[Any] | None = None
    for strip in strips:
        bits, channels = 8 * strip.itemsize, strip.shape[2]
        rows = np.ascontiguousarray(strip, f">u{strip.itemsize}").view(np.uint8).reshape(len(strip), -1)
        if above is None:
            file.write(b"\x89PNG\r\n\x1a\n")
            _chunk(file, b"IHDR", struct.pack(">IIBBBBB", *size, bits, 2 if channels == 3 else 6, 0, 0, 0))
            if metadata.dpi:
                _chunk(file, b"pHYs", struct.pack(">IIB", *(round(each / 0.0254) for each in metadata.dpi), 1))
            if metadata.exif:
                _chunk(file, b"eXIf", metadata.exif.removeprefix(b"Exif\x00\x00"))
            for kind, data, *_ in getattr(metadata.options("PNG").get("pnginfo"), "chunks", ()):
                _chunk(file, kind, data)
            above = np.zeros_like(rows[0])
        # Filter 2 (up): differences from the row above.
        filtered = np.full((len(rows), 1 + rows.shape[1]), 2, np.uint8)
        filtered[0, 1:], filtered[1:, 1:] = rows[0] - above, rows[1:] - rows[:-1]
        above = rows[-1].copy()
        if packed := packer.compress(filtered.data):
            _chunk(file, b"IDAT", packed)
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def write_tiff(file: IO[bytes], strips: Iterable[NDArray[Any]], size: tuple[int, int], metadata: ImageMetadata) -> int:
    """Write a TIFF as `write_png` does; all strips but the last must have the same number of rows.

    Returns:
        File position of the 4-byte link to the next page, which is appended after this one.
    """
    lengths: list[int] = []
    with tempfile.SpooledTemporaryFile(2**24, dir=scratch_folder()) as data:
        for strip in strips:
            if not lengths:
                rows, channels, bits = len(strip), strip.shape[2], 8 * strip.itemsize
            lengths.append(data.write(zlib.compress(np.ascontiguousarray(strip, f"<u{strip.itemsize}").data)))
        directory = _metadata_directory(metadata)  # libtiff writes no EXIF, so Pillow's directory is used.
        tags = TiffImagePlugin
        directory[tags.IMAGEWIDTH], directory[tags.IMAGELENGTH] = size
        directory[tags.BITSPERSAMPLE], directory[tags.SAMPLESPERPIXEL] = (bits,) * channels, channels
        directory[tags.COMPRESSION], directory[tags.PHOTOMETRIC_INTERPRETATION] = 8, 2
        directory[tags.ROWSPERSTRIP], directory[tags.STRIPBYTECOUNTS] = rows, tuple(lengths)
        # Pillow adds the end of the directory to each offset.
        directory[tags.STRIPOFFSETS] = tuple(sum(lengths[:index]) for index in range(len(lengths)))
        directory.tagtype[tags.STRIPOFFSETS] = directory.tagtype[tags.STRIPBYTECOUNTS] = TiffTags.LONG
        if channels == 4:
            directory[tags.EXTRASAMPLES] = 2
        begin = file.tell() or 8
        directory.save(file)
        data.seek(0)
        shutil.copyfileobj(data, file, 2**20)
    # The link follows the number of entries (2 bytes) and the entries (12 bytes each).
    return begin + 2 + 12 * len(directory)


def write_ppm(file: IO[bytes], strips: Iterable[NDArray[Any]], size: tuple[int, int], metadata: ImageMetadata) -> None:
    """Write a PPM as `write_png` does, without opacity and metadata."""
    for index, strip in enumerate(strips):
        if index == 0:
            file.write(b"P6\n%d %d\n%d\n" % (*size, np.iinfo(strip.dtype).max))
        file.write(np.ascontiguousarray(strip, f">u{strip.itemsize}").data)


def _metadata_directory(metadata: ImageMetadata) -> TiffImagePlugin.ImageFileDirectory_v2:
    exif = Image.Exif()
    exif.load(metadata.exif)
    directory = TiffImagePlugin.ImageFileDirectory_v2(b"II\x2a\x00\x00\x00\x00\x00")
    for tag, value in exif.items():
        directory[tag] = exif.get_ifd(tag) if tag in (0x8769, 0x8825) else value
    if metadata.xmp:
        directory[700] = metadata.xmp.encode()
        directory.tagtype[700] = TiffTags.BYTE
    if metadata.iptc:
        directory[33723] = metadata.iptc
        directory.tagtype[33723] = TiffTags.UNDEFINED
    if metadata.dpi:
        directory[TiffImagePlugin.X_RESOLUTION], directory[TiffImagePlugin.Y_RESOLUTION] = metadata.dpi
        directory[TiffImagePlugin.RESOLUTION_UNIT] = 2
    return directory


def _chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
