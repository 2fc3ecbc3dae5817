"""Init systems behind one small interface; nothing outside this folder asks which one a host has."""

from deployer.init.state import UnitState
from deployer.init.systemd import (
    ORDERS,
    SCRIPT,
    STRANGERS,
    at_boot,
    helper_files,
    helper_mode,
    know_units,
    parse_states,
    render_unit,
    render_units,
    unit_path,
    why_not,
)

__all__ = [
    "ORDERS",
    "SCRIPT",
    "STRANGERS",
    "UnitState",
    "at_boot",
    "helper_files",
    "helper_mode",
    "know_units",
    "parse_states",
    "render_unit",
    "render_units",
    "unit_path",
    "why_not",
]
