"""Init systems behind one small interface; nothing outside this folder asks which one a host has."""

from deployer.init.state import UnitState
from deployer.init.systemd import (
    SCRIPT,
    STRANGERS,
    at_boot,
    helper_files,
    helper_mode,
    parse_states,
    render_unit,
    unit_path,
    why_not,
)

__all__ = [
    "SCRIPT",
    "STRANGERS",
    "UnitState",
    "at_boot",
    "helper_files",
    "helper_mode",
    "parse_states",
    "render_unit",
    "unit_path",
    "why_not",
]
