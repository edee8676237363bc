"""Contact sheets: rows of images, each below its label."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from fast_style.images.picture import contact_sheet

_LINE = 20  # height of a label's line, in pixels


def labeled_sheet(images: Sequence[tuple[Sequence[str], Image.Image]], height: int, columns: int) -> Image.Image:
    """Return a contact sheet of images scaled to `height` pixels, `columns` per row.

    Each image has the lines of its label; all labels have the same number of lines.
    """
    font, labeled = ImageFont.load_default(size=16), []
    for lines, image in images:
        width = max(160, round(image.width * height / image.height))
        tile = Image.new("RGB", (width, height + _LINE * len(lines)), "white")
        ImageDraw.Draw(tile).text((0, 0), "\n".join(lines), "black", font)
        tile.paste(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), (0, _LINE * len(lines)))
        labeled.append(tile)
    rows = [labeled[start : start + columns] for start in range(0, len(labeled), columns)]
    return contact_sheet(rows, height=labeled[0].height)
