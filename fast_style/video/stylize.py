"""Stylizes a video, an animation or a sequence of pictures, frame by frame."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fast_style.errors import ConfigError, VideoError
from fast_style.images.formats import ANIMATIONS, PICTURE_SUFFIXES
from fast_style.stylizing.controls import Controls, Settings, StyleChoice, chosen_controls
from fast_style.stylizing.jobs import Job, Report
from fast_style.system.file_locks import locked_part_file
from fast_style.system.files import append_to_name, replace_file
from fast_style.system.optional_packages import how_to_install
from fast_style.video.animations import AnimationReader, AnimationWriter
from fast_style.video.file_kinds import holds_video, is_moving_picture
from fast_style.video.frames import CONTAINERS, Reader, StreamModes, Writer
from fast_style.video.stills import PicturesReader, PicturesWriter
from fast_style.video.temporal import make_smoother
from fast_style.video.work import VideoWork, painter

if TYPE_CHECKING:
    from fast_style.stylizing.stylizer import Stylizer


def stylize_video(
    stylizer: "Stylizer",
    source: str | Path | Sequence[str | Path],
    target: str | Path,
    style: StyleChoice | None = None,
    *,
    size: int | None = None,
    temporal: float | None = None,
    codec: str | None = None,
    crf: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    fps: float | None = None,
    audio: str = "auto",
    subtitles: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    controls: Controls | None = None,
    **settings: Unpack[Settings],
) -> Report:
    """Stylize a video, an animated GIF, WebP, AVIF or PNG, or a sequence of pictures, into any of these.

    Decoding, the network, smoothing and encoding run in parallel. The output is NAME.part.SUFFIX until it is complete;
    if the work is stopped, that file remains and can be played. An existing `target` is replaced only at the end.

    Args:
        stylizer: stylizes the frames.
        source: a video or an animation; or the pictures, in order.
        target: a video (.mp4, .m4v, .mov, .mkv, .webm), an animation (.gif, .webp, .apng), or pictures: a path with
            one * for their numbers. An existing file is replaced. From video to video, sound, subtitles and other
            streams are copied; the notes of the report list what the format cannot hold.
        style: as for a call of `stylizer`.
        size: long side of the output in pixels; None: that of the input.
        temporal: reduction of flicker, from 0 to 1 (`Smoother`); None: 0.5 where OpenCV is installed.
        codec: `h264`, `hevc`, `av1`, `vp9`, `ffv1` or any FFmpeg encoder; None: the default for the suffix.
        crf: quality, lower is better; None: a default at which strokes stay crisp.
        start: where to begin, in seconds.
        end: where to end, in seconds; None: with the video.
        fps: frames per second, only for pictures; None: 25.
        audio: for videos: `copy`, `convert` (to AAC, or to Opus in a .webm), `none`, or `auto`: copied where the format
            can hold it, else converted.
        subtitles: likewise; text is converted to MP4's text or to WebVTT.
        progress: called now and then with the frames done and the approximate total; 0: unknown.
        controls: as for a call of `stylizer`. Each frame gets its own grain.
        settings: as for a call of `stylizer`.

    Returns:
        What was done, with warnings and notes.

    Raises:
        VideoError: if a video cannot be read or written.
        ImageError: if a picture cannot be read or written.
        ConfigError: if a setting is wrong, or needs a package that is not installed.
        KeyboardInterrupt: if stopped; the message names the part that remains (for SystemExit, a note does).

    Example:
        >>> frames = ["photos/a.jpg", "photo.jpg"]
        >>> report = stylize_video(load("great_wave", device="cpu"), frames, "painted.gif", fps=2, temporal=0)
        >>> report.frames, report.size
        (2, (64, 48))
    """
    place = Path(target)
    frames = Path(source) if isinstance(source, str | Path) else [Path(each) for each in source]
    part = part_of(place)
    _check_settings(frames, place, size, start, end, fps)
    _check_places([frames] if isinstance(frames, Path) else frames, place, part)
    chosen = chosen_controls(style, controls, settings)
    chosen.rows(stylizer.styles)
    modes = StreamModes(audio, subtitles)
    smoother = make_smoother(temporal)

    with contextlib.ExitStack() as held:
        reader = _open_reader(frames, start, end, fps, size)
        held.callback(reader.close)
        held.enter_context(_locked(place))
        work, had_part = None, part.exists()
        try:
            writer = _open_writer(place, part, reader, codec, crf, modes)
            work = VideoWork(Job(frames, place), reader, painter(stylizer, chosen), smoother, writer)
            report = work.run(progress)
            if part != place:
                replace_file(part, place)
        except VideoError as error:
            raise VideoError(f"{error}{_remains(part, work, reader)}") from None
        except OSError as error:
            remains = _remains(part, work, reader)
            raise VideoError(f"{place}: cannot be written ({error.strerror or error}){remains}") from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted{_remains(part, work, reader)}") from None
        except SystemExit as stopped:  # Such as a handler of SIGTERM raises.
            if remains := _remains(part, work, reader):
                stopped.add_note(remains.removeprefix("; "))
            raise
        finally:
            # Keep the part of an earlier run if this one failed before it began to write.
            if part != place and not (work and work.frames) and (work or not had_part):
                part.unlink(missing_ok=True)
    return report


def part_of(target: Path) -> Path:
    """Return the path of a video until it is complete; for pictures, which are written one by one, the target."""
    # The suffix stays: players go by it.
    return target if "*" in target.name else target.with_name(append_to_name(target.stem, f".part{target.suffix}"))


def _check_settings(
    source: Path | Sequence[Path], target: Path, size: int | None, start: float, end: float | None, fps: float | None
) -> None:
    for name, value in (("start", start), ("end", end), ("fps", fps)):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value < 1e9):
            raise ConfigError(f"{name} must be a number, 0 or more, such as 12.5, not {value!r}")
    if end is not None and end <= start:
        raise ConfigError(f"end must be behind start, which is {start:g}, not {end:g}")
    if fps is not None and (isinstance(source, Path) or not fps):
        raise ConfigError("fps is for pictures, and above 0; videos and animations bring along their times")
    if not isinstance(source, Path) and (start or end is not None):
        raise ConfigError("start and end are for videos and animations; of pictures, name those that are wanted")
    if size is not None and (type(size) is not int or not 16 <= size <= 16_384):
        raise ConfigError(f"size must be from 16 to 16384 pixels for videos, not {size!r}")
    suffix = target.suffix.lower()
    if "*" in target.name:
        if suffix not in PICTURE_SUFFIXES or target.name.count("*") > 1:
            raise ConfigError(f"{target}: pictures are written as in 'frames/*.png', with one * for their numbers")
    elif suffix not in CONTAINERS and suffix not in ANIMATIONS:
        remedy = f"end it in one of {', '.join((*CONTAINERS, *ANIMATIONS))}, or in /*.png for pictures"
        raise ConfigError(f"{target}: cannot be written as a video; {remedy}")


def _check_places(sources: Sequence[Path], target: Path, part: Path) -> None:
    """Raise ConfigError if the output would overwrite the input, under whatever name."""
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder; give the name of a file")
    before, star, behind = target.name.partition("*")
    for source in sources:
        number = source.name.removeprefix(before).removesuffix(behind)
        if star and number.isdecimal() and f"{before}{number}{behind}" == source.name:
            if _same_file(source.parent, target.parent):
                raise ConfigError(f"{target}: would replace {source} while it is read; give another output")
        elif same := next((place for place in (target, part) if _same_file(source, place)), None):
            raise ConfigError(f"{same}: is the input itself; give another output")


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _open_reader(
    source: Path | Sequence[Path], start: float, end: float | None, fps: float | None, size: int | None
) -> Reader:
    if not isinstance(source, Path):
        return PicturesReader(source, None if fps is None else Fraction(fps).limit_denominator(1001), size)
    if is_moving_picture(source) or (source.suffix.lower() in ANIMATIONS and not holds_video(source)):
        return AnimationReader(source, start, end, size)
    _require_av()
    from fast_style.video.reader import VideoReader

    return VideoReader(source, start, end, size)


def _open_writer(
    target: Path, part: Path, reader: Reader, codec: str | None, crf: int | None, modes: StreamModes
) -> Writer:
    suffix = target.suffix.lower()
    if suffix in CONTAINERS:
        _require_av()
        from fast_style.video.reader import VideoReader
        from fast_style.video.writer import VideoWriter

        source = reader if isinstance(reader, VideoReader) else None
        return VideoWriter(target, part, reader.shape, codec, crf, source, modes=modes)
    unusual = [(name, value) for name, value in vars(modes).items() if value not in ("auto", "none")]
    for name, value in (("codec", codec), ("crf", crf), *unusual):
        if value is not None:
            raise ConfigError(f"{name} is for videos, and {target} is none; leave it out")
    return PicturesWriter(target) if "*" in target.name else AnimationWriter(target, part, reader.shape.loop)


def _require_av() -> None:
    if importlib.util.find_spec("av") is None:
        raise ConfigError(f"videos need av: {how_to_install('video')}")


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Pictures are locked one by one when they are written.
        with contextlib.nullcontext() if "*" in target.name else locked_part_file(target):
            yield
    except OSError as error:
        raise VideoError(f"{target}: cannot be written ({error.strerror or error})") from None


def _remains(part: Path, work: VideoWork | None, reader: Reader) -> str:
    # Animations are written all at once at the end, so there may be no file yet.
    if work is None or not work.frames or not ("*" in part.name or part.exists()):
        return ""
    total = f" of {reader.shape.count}" if reader.shape.count else ""
    return f"; {part} holds the first {work.frames}{total} frames, {float(work.length):.1f} s"
