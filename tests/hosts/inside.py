"""Find a file of a host from outside."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

MOST_LINKS = 40  # path_resolution(7)


def locate(root: Path, path: str | PurePosixPath) -> Path:
    """The place that `path` means to the host: symbolic links count from `root`, not from our own /."""
    todo = list(reversed(PurePosixPath("/", path).parts[1:]))
    found: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del found[-1:]
            continue
        here = root.joinpath(*found, part)
        if not here.is_symlink():
            found.append(part)
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(f"too many symbolic links in {path}")
        target = PurePosixPath(here.readlink())
        if target.is_absolute():
            found.clear()
        todo.extend(reversed([part for part in target.parts if part != "/"]))
    return root.joinpath(*found)
