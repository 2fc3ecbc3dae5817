"""Stage 1: read the inventory, the playbook and every file they name, and report all mistakes at once."""

from deployer.load.load import Loaded, LoadOptions, load
from deployer.load.target import ConnectionOptions

__all__ = ["ConnectionOptions", "LoadOptions", "Loaded", "load"]
