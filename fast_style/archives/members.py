"""What a member of an archive may be, and how messages name it."""

import re
import stat
import tarfile
import zipfile

from fast_style.system.untrusted import MAX_BYTES


def refusal(member: zipfile.ZipInfo | tarfile.TarInfo) -> str | None:
    """Return why a member of an archive is never read, or None."""
    if isinstance(member, zipfile.ZipInfo):
        name, size = member.filename, member.file_size
        kind = stat.S_IFMT(member.external_attr >> 16)  # nothing where the archive was not made on Unix
        link, other = kind == stat.S_IFLNK, kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    else:
        name, size = member.name, member.size
        link, other = member.issym() or member.islnk(), member.issparse() or not (member.isreg() or member.isdir())
    if ".." in re.split(r"[/\\]", name):
        return "its name leads out of the archive"
    if re.match(r"[/\\]|[A-Za-z]:", name):
        return "its name is an absolute path"
    if link:
        return "a link"
    if other:
        return "no regular file"
    if not 0 <= size <= MAX_BYTES:
        return f"it claims {size:,} bytes, and a picture has at most {MAX_BYTES:,}"
    if isinstance(member, zipfile.ZipInfo) and member.flag_bits & 0x1:
        return "encrypted"
    # What Python's readers of the other methods unpack at once has no bound.
    if isinstance(member, zipfile.ZipInfo) and member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "neither stored nor deflated"
    return None


def printable(text: str) -> str:
    r"""Return a text on one line that any terminal and file takes: `\n`, `\x1b`, `\udcff` for what is not printable."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def reason_of(error: Exception) -> str:
    """Return what an error says, on one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return printable(text)
