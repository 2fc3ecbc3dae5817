"""Where a program keeps what is its user's: the XDG Base Directory Specification."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def xdg_folder(environ: Mapping[str, str], variable: str, usual: str) -> Path:
    """Our folder below the one that `variable` names, or below `usual` in the home directory.

    Raises:
        FileNotFoundError: there is no home directory.

    """
    named = Path(environ.get(variable, ""))
    if named.is_absolute():  # "All paths must be absolute", and others are to be ignored
        return named / "deployer"
    try:
        return Path("~", usual, "deployer").expanduser()
    except RuntimeError:
        raise FileNotFoundError(2, f"there is no home directory; set {variable}") from None
