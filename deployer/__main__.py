"""`python -m deployer`."""

from deployer.cli import command

command()
