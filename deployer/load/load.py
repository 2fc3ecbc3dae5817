"""The whole stage: from the command line's words to plays that can be run, or every mistake at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.errors import LoadError, Problem
from deployer.load.extra_vars import read_extra_vars
from deployer.load.find import find_inventory, find_playbook
from deployer.load.inventory import read_inventory
from deployer.load.options import Loaded
from deployer.load.playbook import read_plays
from deployer.load.yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.load.options import LoadOptions


def load(options: LoadOptions, *, environ: Mapping[str, str]) -> Loaded:
    """Read everything the run needs from this machine; contacts no host.

    Raises:
        LoadError: with all problems of all files.

    """
    playbook = find_playbook(options.playbook)
    problems: list[Problem] = []
    inventory = document = extra_vars = None
    try:
        sources = options.inventory or (str(find_inventory(playbook)),)
        inventory = read_inventory(sources, playbook_dir=playbook.parent)
    except LoadError as error:
        problems.extend(error.problems)
    try:
        document = read_yaml(playbook)
    except LoadError as error:
        problems.extend(error.problems)
    try:
        extra_vars = read_extra_vars(options.extra_vars)
    except LoadError as error:
        problems.extend(error.problems)
    if inventory is None or document is None or extra_vars is None:
        raise LoadError(problems)
    plays = read_plays(
        document,
        inventory,
        limit=options.limit,
        extra_vars=extra_vars,
        options=options.connection,
        environ=environ,
        with_files=options.with_files,
    )
    return Loaded(playbook=playbook, plays=plays)
