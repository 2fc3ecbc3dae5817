"""Builds of the sample service for tests, kept between runs."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "examples" / "gin-api"
BINARY = "gin-api-template"


def build_sample(directory: Path, *, version: str, fault: str = "") -> Path:
    """Put the sample service at `version` into `directory` and return the binary's path.

    `fault` is one that the build script knows: never-healthy, flapping or crash-after-2s. A build is made
    once per machine, under ${DEPLOYER_TEST_CACHE:-/var/cache/deployer-tests}/sample. Raises
    subprocess.CalledProcessError when the build fails; its words are on stderr.
    """
    arguments = ["--version", version, *(["--fault", fault] if fault else [])]
    cache = Path(os.environ.get("DEPLOYER_TEST_CACHE") or "/var/cache/deployer-tests") / "sample"
    cache.mkdir(parents=True, exist_ok=True)
    built = cache / _key(arguments)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first build takes both cores: others wait for it
        if not built.exists():
            subprocess.run([SOURCES / "build", *arguments, "-o", built], check=True)

    directory.mkdir(parents=True, exist_ok=True)
    binary = directory / BINARY
    unfinished = directory / f".{BINARY}.{os.getpid()}"
    shutil.copy(built, unfinished)
    unfinished.replace(binary)  # a rename: the old file may be running
    return binary


def _key(arguments: list[str]) -> str:
    """Digest of all that decides the bytes of a build: the sources, the arguments and the toolchain."""
    toolchain = subprocess.run(["go", "version"], check=True, capture_output=True).stdout
    digest = hashlib.sha256(toolchain)
    for path in (SOURCES / "build", *sorted(SOURCES.glob("*.go"))):
        digest.update(b"%s\0%d\0" % (path.name.encode(), path.stat().st_size) + path.read_bytes())
    digest.update("\0".join(arguments).encode())
    return digest.hexdigest()
