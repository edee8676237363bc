"""Films, animated pictures and folders of frames: read, stylised one frame after the other, and written."""

from fast_style.films.kinds import FILM_SUFFIXES
from fast_style.films.stylize import stylize_film
from fast_style.films.work import FilmReport

__all__ = ["FILM_SUFFIXES", "FilmReport", "stylize_film"]
