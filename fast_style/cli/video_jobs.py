"""What there is to do with videos, with animations, and with pictures that are to become one."""

import glob
import importlib.util
import os
from pathlib import Path
from typing import Any, TypeAlias

from fast_style.batch import Member
from fast_style.cli.hydra_app import find_pictures, require_writable
from fast_style.cli.inputs import Found, is_video, results
from fast_style.errors import ConfigError
from fast_style.images.formats import PICTURE_SUFFIXES
from fast_style.system.files import natural_sort_key
from fast_style.video.animations import is_animation
from fast_style.video.frames import ANIMATIONS, AS_USUAL, CONTAINERS, Besides
from fast_style.video.stylize import part_of

#: What is read, be it a video, pictures or a folder that must not be read, and what is written.
Job: TypeAlias = tuple[Path | Member | list[Path], Path]


def video_jobs(
    found: Found,
    inputs: Any,
    output: str | None,
    name: str,
    *,
    overwrite: bool,
    resume: bool,
    container: str | None = None,
    besides: Besides = AS_USUAL,
) -> list[Job]:
    """Return what is to be read and written as videos; nothing if pictures are to become pictures.

    Args:
        found: what `find_inputs` has found.
        inputs: in what.
        output: as for `picture_jobs`; or a video or animation for all of the pictures, or 'FOLDER/*.png' for the frames
            of a video.
        name: as for `picture_jobs`.
        overwrite: likewise.
        resume: likewise.
        container: the kind of video to make, such as mkv, where `output` names none; None: what holds sound and
            subtitles.
        besides: what becomes of those.

    Raises:
        ConfigError: if videos and pictures are mixed, an output does not fit, or would replace what it must not.
    """
    # What is in an archive is for who takes pictures; what is closed, such as a folder that must not be read, is told.
    members = {source: place for source, place in found.items() if isinstance(source, Member)}
    closed: Found = {source: place for source, place in members.items() if source.refused and source.path.is_dir()}
    archives = [source.path for source in members if source not in closed]
    videos: Found = {source: place for source, place in found.items() if isinstance(source, Path) and is_video(place)}
    pictures = [source for source in found if isinstance(source, Path) and source not in videos]
    if videos and (pictures or archives):
        counts = f"{len(videos)} videos and {len(found) - len(videos) - len(closed)} pictures"
        raise ConfigError(f"input: {counts}; take them one after the other, such as input='clips/**/*.mp4'")
    # Among still pictures, an animation is one as well: its first.
    if pictures and not archives and all(map(is_animation, pictures)):
        videos = {source: found[source] for source in pictures}
    folder = output is None or output.endswith("/") or Path(output).is_dir() or not Path(output).suffix
    target = Path(str(output))
    suffix = "" if folder else target.suffix.lower()
    frames = not folder and "*" in target.name
    wanted = _suffix(container)
    if wanted and not folder and wanted != suffix:
        raise ConfigError(f"container={container}: and {output} is another kind of video; leave one of them out")
    if not videos:
        if frames and not archives:
            raise ConfigError(f"{output}: is for the frames of a video, and input has none; give {target.parent}/")
        # One .png is a picture, whatever it is made of.
        if not (suffix in CONTAINERS or (suffix in ANIMATIONS and suffix != ".png" and len(pictures) > 1)):
            return []
        if archives:
            raise ConfigError(f"{archives[0]}: a video is made of pictures in a folder; unpack it, and give that")
        # Of a folder, those that lie in it: what is below may be another video.
        return _checked([(find_pictures(inputs), target)], overwrite, resume)
    if folder:

        def rename(source: Path | Member, path: Path) -> Path:
            if wanted:
                return path.with_suffix(wanted)
            if isinstance(source, Path) and is_video(videos[source]):
                return path.with_suffix(_fitting(source, besides))
            return path if path.suffix.lower() in (*CONTAINERS, *ANIMATIONS) else path.with_suffix(".mp4")

        made = results(videos | closed, output, name, rename)
        # Nor is that a video which an earlier run has left unfinished.
        parts = {part_of(job.target) for job in made} if output is None else set()
        jobs: list[Job] = [(job.source, job.target) for job in made if job.source not in parts]
        _checked(jobs, overwrite, resume)
        if output is not None:
            # Now, and not once for each video, if that is not allowed.
            require_writable(target, "output")
        return jobs
    if len(videos) > 1:
        raise ConfigError(f"{output}: cannot take {len(videos)} videos; give a folder as output")
    (film,) = videos
    if suffix in PICTURE_SUFFIXES and suffix not in ANIMATIONS and not frames:
        if not is_video(videos[film]):
            return []
        raise ConfigError(f"{output}: one picture cannot take a video; end it in .mp4, or in /*{suffix} for its frames")
    return _checked([(film, target)], overwrite, resume)


def _checked(jobs: list[Job], overwrite: bool, resume: bool) -> list[Job]:
    if overwrite and resume:
        raise ConfigError("resume keeps the videos that are there, and overwrite replaces them: give one of them")
    several = "resume=true to make only what is missing, " if len(jobs) > 1 else ""
    sources = [each for source, _ in jobs for each in (source if isinstance(source, list) else [source])]
    inputs = {path.resolve() for path in sources if isinstance(path, Path)}
    seen: set[Path] = set()
    for source, target in jobs:
        if isinstance(source, Member):
            continue
        if target in seen:
            raise ConfigError(f"{target}: two of the videos would have this name; take them one at a time")
        seen.add(target)
        if target.resolve() in inputs:
            name = "the input itself" if len(inputs) == 1 else "one of the inputs"
            raise ConfigError(f"{target}: is {name}; give another output")
        if "*" in target.name:
            if (
                there := sorted(target.parent.glob(glob.escape(target.name).replace("[*]", "*")), key=natural_sort_key)
            ) and not overwrite:
                unsure = ", since nobody can tell whether all frames are there" if resume else ""
                again = f"add overwrite=true to replace it{unsure}, or give another output"
                raise ConfigError(f"{there[0]}: exists already; {again}")
        # A link that leads nowhere is a name that exists, too.
        elif os.path.lexists(target) and not (overwrite or (resume and target.exists())):
            otherwise = f"{several}or give another output"
            raise ConfigError(f"{target}: exists already; add overwrite=true to replace it, {otherwise}")
    return jobs


def _suffix(container: str | None) -> str | None:
    """Return how the names of videos of a kind end."""
    if container is None:
        return None
    suffix = f".{str(container).lower().removeprefix('.')}"
    if suffix not in CONTAINERS:
        kinds = ", ".join(each.removeprefix(".") for each in CONTAINERS)
        raise ConfigError(f"container must be one of {kinds}, not {container!r}")
    return suffix


def _fitting(source: Path, besides: Besides) -> str:
    if importlib.util.find_spec("av") is None:
        return ".mp4"  # What is missing is said when it is read.
    # Here: pictures need not wait for it.
    from fast_style.video.extras import fitting_suffix

    return fitting_suffix(source, besides)
