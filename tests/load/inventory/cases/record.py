"""Writes down what Ansible itself says about each case: run by hand, with ansible-core 2.19 on PATH.

    python tests/load/inventory/cases/record.py [case ...]

The tests compare our reading with the `ansible.json` this leaves, so they need no Ansible.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent
_ANSWER = re.compile(r"^(\S+) \| SUCCESS => (\{.*?^\})", re.MULTILINE | re.DOTALL)


def run(folder: str, *argv: str) -> str:
    """Ansible's answer, from an empty folder and without anyone's configuration."""
    environ = {"PATH": os.environ["PATH"], "HOME": folder, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    return done.stdout


def record(case: Path) -> dict[str, Any]:
    """Ask for variables, groups, and the hosts of every pattern."""
    asked = json.loads((case / "case.json").read_text())
    inventory = [
        word
        for source in asked["sources"]
        for word in ("-i", source if "," in source else str(case / source))
    ]
    playbook = ["--playbook-dir", str(case / asked["playbook_dir"])] if "playbook_dir" in asked else []
    with tempfile.TemporaryDirectory() as folder:

        def hosts(pattern: str, limit: str | None = None) -> list[str]:
            narrow = ["--limit", re.sub("^@", f"@{case}/", limit)] if limit else []
            lines = run(folder, "ansible", *inventory, *narrow, "--list-hosts", "--", pattern).splitlines()
            return [line.strip() for line in lines[1:]]

        def facts(pattern: str, name: str) -> dict[str, Any]:
            said = run(folder, "ansible", *inventory, pattern, "-m", "debug", "-a", f"var={name}")
            return {host: json.loads(answer)[name] for host, answer in _ANSWER.findall(said)}

        # Text that Ansible would not template, such as a bytes literal of an INI file, comes wrapped.
        listed = json.loads(
            run(folder, "ansible-inventory", *inventory, *playbook, "--list"),
            object_hook=lambda value: value.get("__ansible_unsafe", value),
        )
        everyone = hosts("all")
        # Ansible walks sets of groups: what comes out differently now and then has no order to compare.
        tries = [facts(everyone[0], "groups")[everyone[0]] for _ in range(4)]
        return {
            "vars": {host: listed["_meta"]["hostvars"].get(host, {}) for host in everyone},
            "group_names": facts("all", "group_names"),
            "groups": tries[0],
            "unordered": sorted(name for name in tries[0] if any(t[name] != tries[0][name] for t in tries)),
            "patterns": {pattern: hosts(pattern) for pattern in asked["patterns"]},
            "limits": [[*pair, hosts(*pair)] for pair in asked.get("limits", [])],
        }


def main() -> None:
    """Record the named cases, or all."""
    named = [CASES / name for name in sys.argv[1:]] or sorted(
        path.parent for path in CASES.glob("*/case.json")
    )
    with ThreadPoolExecutor() as pool:
        for case, answer in zip(named, pool.map(record, named), strict=True):
            (case / "ansible.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
