"""Stage 1: read the inventory, the playbook and every file they name, and report all mistakes at once."""

from deployer.load.options import ConnectionOptions, Loaded, LoadOptions

__all__ = ["ConnectionOptions", "LoadOptions", "Loaded"]
