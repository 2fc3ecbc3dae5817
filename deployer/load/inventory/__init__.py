"""Ansible inventories, read so that they mean the same hosts, groups and variables as in Ansible 2.19."""

from deployer.load.inventory.model import Host, Inventory
from deployer.load.inventory.patterns import OutsideLimitError, select, split_pattern
from deployer.load.inventory.sources import read_inventory

__all__ = ["Host", "Inventory", "OutsideLimitError", "read_inventory", "select", "split_pattern"]
