"""What stylize.py does with films, with animations, and with pictures that are to become one."""

import sys
from pathlib import Path
from typing import Any

from command_line import duration, find_pictures, output_paths

from fast_style.controls import Controls
from fast_style.errors import ConfigError, FastStyleError, FilmError
from fast_style.films import FILM_SUFFIXES, FilmReport, stylize_film
from fast_style.films.animations import is_animation
from fast_style.films.frames import ANIMATIONS, CONTAINERS
from fast_style.images.picture import PICTURE_SUFFIXES
from fast_style.stylizer import Stylizer

#: The settings that only films have.
SETTINGS = ("temporal", "codec", "crf", "start", "end", "fps")

Job = tuple[Path | list[Path], Path]


def film_jobs(inputs: Any, output: str | None, name: str, *, overwrite: bool) -> list[Job]:
    """Return what is to be read and written as films; nothing if pictures are to become pictures.

    Args:
        inputs: as for `find_pictures`, of films, too.
        output: as for `output_paths`; or a film or animation for all of the pictures, or 'FOLDER/*.png' for the frames
            of a film.
        name: as for `output_paths`.
        overwrite: as for `output_paths`.

    Raises:
        ConfigError: if films and pictures are mixed, an output does not fit, or would replace what it must not.
    """
    try:
        files = find_pictures(inputs, (*PICTURE_SUFFIXES, *FILM_SUFFIXES))
    except ConfigError:
        return []  # Who looks for pictures says why.
    films = [file for file in files if file.suffix.lower() in FILM_SUFFIXES]
    if films and len(films) < len(files):
        counts = f"{len(films)} films and {len(files) - len(films)} pictures"
        raise ConfigError(f"input: {counts}; take them one after the other, such as input='clips/*.mp4'")
    # Among still pictures, an animation is one as well: its first.
    films = films or (files if all(map(is_animation, files)) else [])
    folder = output is None or output.endswith("/") or Path(output).is_dir() or not Path(output).suffix
    suffix = "" if folder else Path(str(output)).suffix.lower()
    frames = not folder and "*" in Path(str(output)).name
    if not films:
        if frames or not (suffix in CONTAINERS or (suffix in (".gif", ".apng", ".webp") and len(files) > 1)):
            return []
        return _checked([(files, Path(str(output)))], overwrite)
    if folder:
        outputs = output_paths(films, output, name, overwrite=True)
        jobs: list[Job] = [(film, _writable(path)) for film, path in zip(films, outputs, strict=True)]
        # What an earlier run over the same folder made is not stylised again.
        made = [path for _, path in jobs]
        return _checked([job for job in jobs if job[0] not in made], overwrite)
    if len(films) > 1:
        raise ConfigError(f"{output}: cannot take {len(films)} films; give a folder as output")
    if suffix in PICTURE_SUFFIXES and suffix not in ANIMATIONS and not frames:
        if films[0].suffix.lower() not in FILM_SUFFIXES:
            return []
        raise ConfigError(f"{output}: one picture cannot take a film; end it in .mp4, or in /*{suffix} for its frames")
    return _checked([(films[0], Path(str(output)))], overwrite)


def stylize_films(
    stylizer: Stylizer, jobs: list[Job], controls: Controls, size: int | None, settings: dict[str, Any]
) -> None:
    """Stylise films, and say how it went; one that fails does not stop the others.

    Args:
        stylizer: what paints.
        jobs: what `film_jobs` gives.
        controls: how.
        size: the long side, in pixels; None: that of each film.
        settings: of all SETTINGS, the values.

    Raises:
        FastStyleError: if one has failed, or settings do not fit.
    """
    # Here: a single picture need not wait for it.
    from progress import Amount

    failed = 0
    for source, target in jobs:
        try:
            with Amount("frames") as amount:

                def progress(done: int, total: int, title: str = str(target), shown: Amount = amount) -> None:
                    shown.update(title, done, max(total, 1))

                options = {**settings, "size": size, "progress": progress}
                report = stylize_film(stylizer, source, target, controls=controls, **options)
        except FastStyleError as error:
            if len(jobs) == 1 or isinstance(error, ConfigError):
                raise
            failed += 1
            print(error, file=sys.stderr)
        else:
            print(target, flush=True)
            print(_pace(report), file=sys.stderr)
            if report.warning:
                print(report.warning, file=sys.stderr)
            for note in report.notes:
                print(f"{source}: {note}", file=sys.stderr)
    if failed:
        raise FilmError(f"{failed} of {len(jobs)} films failed; the others are done")


def _checked(jobs: list[Job], overwrite: bool) -> list[Job]:
    targets = [target for _, target in jobs]
    for source, target in jobs:
        sources = source if isinstance(source, list) else [source]
        if target.resolve() in [path.resolve() for path in sources]:
            raise ConfigError(f"{target}: is the input itself; give another output")
        there = [target] if target.exists() else sorted(target.parent.glob(target.name)) if "*" in target.name else []
        if there and not overwrite:
            raise ConfigError(f"{there[0]}: exists already; add overwrite=true to replace it, or give another output")
    if len(set(targets)) < len(targets):
        raise ConfigError(f"{targets[0].parent}: two of the films would have the same name; take them one at a time")
    return jobs


def _writable(path: Path) -> Path:
    """Return the name of a film, of a format that can be written."""
    return path if path.suffix.lower() in (*CONTAINERS, *ANIMATIONS) else path.with_suffix(".mp4")


def _pace(report: FilmReport) -> str:
    busy = ", ".join(f"{name} {share:.0%}" for name, share in report.busy.items())
    rate = report.frames / report.seconds
    return f"{report.frames} frames in {duration(report.seconds)}, {rate:.1f}/s; busy: {busy}"
