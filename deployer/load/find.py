"""Find the files a short command line means: `run prod` is playbooks/prod.yml with inventories/prod.yml."""

from __future__ import annotations

from pathlib import Path

from deployer.errors import LoadError, Problem, did_you_mean

_ENDINGS = ("", ".yml", ".yaml")
_INVENTORY_ENDINGS = (".yml", ".yaml", ".ini", "")


def find_playbook(name: str) -> Path:
    """`./NAME`, then `playbooks/NAME`, with or without the ending.  Raises LoadError."""
    tried = [folder / f"{name}{ending}" for ending in _ENDINGS for folder in (Path(), Path("playbooks"))]
    for path in tried:
        if path.is_file():
            return path
    found = [path for folder in (Path(), Path("playbooks")) for path in sorted(folder.glob("*.y*ml"))]
    known = [path.name if Path(name).suffix else path.stem for path in found]
    hint = did_you_mean(Path(name).name, known) or f"looked for {name} here and in playbooks/"
    raise LoadError([Problem(message=f"there is no playbook {name}", hint=hint)])


def find_inventory(playbook: Path) -> Path:
    """`inventories/<same name>`, here or beside the playbook's folder.  Raises LoadError."""
    folders = (Path("inventories"), playbook.parent / "inventories", playbook.parent.parent / "inventories")
    for folder in folders:
        for ending in _INVENTORY_ENDINGS:
            path = folder / f"{playbook.stem}{ending}"
            if path.exists():
                return path
    message = f"there is no inventory for {playbook.name}"
    hint = f"name one with -i, or make inventories/{playbook.stem}.yml"
    raise LoadError([Problem(message=message, hint=hint)])
