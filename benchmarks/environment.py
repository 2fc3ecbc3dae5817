"""Each rival's own Python environment, made once from its pinned requirements."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from tests.hosts.programs import run

REPOSITORY = Path(__file__).parent.parent
REQUIREMENTS = Path(__file__).with_name("environments")
PLACE = REPOSITORY / "build/benchmarks"


def ensure(name: str) -> Path:
    """The folder of the environment that environments/<name>.txt describes.

    Raises HostsError when it cannot be installed.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = PLACE / f"{name}-{digest}"
    done = folder / "complete"
    if not done.exists():
        for old in PLACE.glob(f"{name}-*"):
            shutil.rmtree(old)
        run(sys.executable, "-m", "venv", str(folder))
        run(str(folder / "bin/pip"), "install", "--quiet", "--requirement", str(requirements))
        done.touch()
    return folder


def versions(folder: Path, *names: str) -> str:
    """`ansible-core 2.19.0, mitogen 0.3.29`: what is installed there."""
    code = (
        "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    )
    return run(str(folder / "bin/python"), "-c", code, *names).strip()
