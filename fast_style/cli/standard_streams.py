"""One picture from standard input or to standard output: input=- and output=-."""

import contextlib
import io
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fast_style.cli.hydra_app import is_folder, require_outputs, require_writable
from fast_style.cli.inputs import find_inputs, is_video
from fast_style.cli.overrides import STREAM
from fast_style.errors import ConfigError, ImageError
from fast_style.images.formats import ANIMATIONS, FORMATS, copy_suffix
from fast_style.images.opening import contents_of, format_of_copy, open_image
from fast_style.images.picture import require_size
from fast_style.stylizing.controls import Controls
from fast_style.stylizing.stylizer import Stylizer
from fast_style.system.input_limits import MAX_BYTES, pillow_limits
from fast_style.system.text import printable

_NO_VIDEOS = "videos and animations neither come from standard input nor go to standard output; give files"


def check_streams(settings: dict[str, Any]) -> bool:
    """Return whether standard input or output is used; ConfigError if other settings do not fit."""
    source, target = settings["input"], settings["output"]
    if isinstance(source, list) and STREAM in source:
        raise ConfigError("input=-: standard input holds one picture; leave out the other inputs")
    if STREAM not in (source, target):
        return False
    key = "output=-" if target == STREAM else "input=-"
    if settings["resume"]:
        raise ConfigError(f"{key}: there is nothing to resume; leave out resume")
    if target == STREAM and settings["json"]:
        raise ConfigError("output=-: standard output holds the picture and no JSON; leave out json, or give a file")
    if target is None or (source == STREAM and target != STREAM and is_folder(target, 1)):
        raise ConfigError("input=-: has no name to call the result by; give output=- or a file, such as output=a.png")
    if source == STREAM and sys.stdin.isatty():
        raise ConfigError("input=-: standard input is the terminal; send a picture into it, as by < photo.jpg")
    if target == STREAM and sys.stdout.isatty():
        raise ConfigError("output=-: standard output is the terminal; send it on, as by > stylized.jpg")
    return True


def stylize_stream(stylizer: Stylizer, settings: dict[str, Any], controls: Controls) -> None:
    """Stylize one picture from or to a standard stream; standard output gets the format of the input."""
    source, target = settings["input"], settings["output"]
    require_size(settings["size"])
    with TemporaryDirectory(prefix="fast_style_") as folder:
        if source == STREAM:
            file = _received(Path(folder))
        else:
            found = [*find_inputs(source, None)]
            if len(found) != 1 or not isinstance(found[0], Path):
                count = f"{source} is {len(found):,} pictures of a folder, glob or archive"
                raise ConfigError(f"output=-: {count}; give one file")
            file = found[0]
        to_stream = target == STREAM
        place = Path(folder) / f"standard_output{copy_suffix(file)}" if to_stream else Path(target)
        if not to_stream:
            require_outputs([None], [place], overwrite=settings["overwrite"])
            require_writable(place.parent, "output")
        if is_video(file) or (file.suffix.lower() in ANIMATIONS and contents_of(file).kind == "frame"):
            raise ConfigError(f"{'output' if to_stream else 'input'}=-: {_NO_VIDEOS}")
        try:
            # Keeps the output of libraries out of the picture.
            with contextlib.redirect_stdout(sys.stderr):
                report = stylizer.stylize_file(file, place, controls=controls, size=settings["size"])
        except ImageError as error:
            text = str(error).replace(str(file), "standard input") if source == STREAM else str(error)
            raise ImageError(text.replace(str(place), "standard output") if to_stream else text) from None
        for note in report.notes:
            print(printable(f"{'standard input' if source == STREAM else source}: {note}"), file=sys.stderr)
        if to_stream:
            with open(place, "rb") as made:
                shutil.copyfileobj(made, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            print(printable(str(place)), flush=True)


def _received(folder: Path) -> Path:
    """Save standard input to a file with the suffix of its format."""
    received = sys.stdin.buffer.read(int(MAX_BYTES) + 1)
    if len(received) > MAX_BYTES:
        raise ImageError(f"standard input: over {int(MAX_BYTES):,} bytes, which no picture has")
    try:
        with pillow_limits():
            format = format_of_copy(open_image(io.BytesIO(received)))
    except Exception:  # any: reading the whole file reports the error
        format = ""
    suffix = next((suffix for suffix, name in FORMATS.items() if name == format), "")
    file = folder / f"standard_input{suffix}"
    file.write_bytes(received)
    if not suffix and received:
        # Imported lazily: slow, and only videos need it.
        from fast_style.video.file_kinds import holds_video

        return file.rename(file.with_suffix(".mp4")) if holds_video(file) else file
    return file
