"""List the trained networks; with a photograph, save a sheet of it stylized by each: fast-style list photo.jpg."""

import sys
from pathlib import Path

from fast_style.cli import errors_in_one_line
from fast_style.errors import ConfigError
from fast_style.system.files import atomic_write
from fast_style.system.text import printable
from fast_style.zoo import NetworkList, list_networks

_HELP = """\
fast-style list: show the networks that there are: your own and those that ship.

  fast-style list
  fast-style list photo.jpg      write photo_networks.jpg: the photograph by each of them"""
# Sheet: long side of the images in pixels, images per row.
_SIZE, _COLUMNS = 480, 5


def print_networks() -> None:
    """Print the table, then a line for each damaged file."""
    found = list_networks()
    print(found, *map(printable, found.damaged), sep="\n")


def write_sheet(photo: Path, networks: NetworkList) -> Path:
    """Stylize a photograph with each single-style network; return the path of the contact sheet."""
    from fast_style.cli.sheet import labeled_sheet
    from fast_style.images.picture import flatten, open_picture
    from fast_style.stylizing.stylizer import load

    target = photo.with_name(f"{photo.stem}_networks.jpg")
    if target.exists():
        raise ConfigError(f"{target}: exists already; move it away")
    image = flatten(open_picture(photo))
    image.thumbnail((_SIZE, _SIZE))
    # A network of several styles would show their average.
    single = [network for network in networks if len(network.styles) == 1]
    images = [(["photograph"], image)]
    images += [([network.name], load(network.path, backend="torch")(image)) for network in single]
    sheet = labeled_sheet(images, image.height, _COLUMNS)
    with atomic_write(target) as file:
        sheet.save(file, "JPEG", quality=90)
    return target


def entry_point() -> None:
    """Run the command."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(_HELP)
        return
    with errors_in_one_line():
        arguments = sys.argv[1:]
        if len(arguments) > 1 or any("=" in text and not Path(text).exists() for text in arguments):
            raise ConfigError(f"{' '.join(arguments)}: list takes no settings, but a photograph if you like")
        if not arguments:
            print_networks()
            return
        print(write_sheet(Path(arguments[0]), list_networks()))
