"""A value that never shows itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that `str`, `repr` and `format` render as `***`; deliberately not a `str`."""

    _value: str

    def reveal(self) -> str:
        """The value itself; every use of this can be found by searching for the word."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"
