"""The binary that is deployed, and a small upgrade of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.programs import HostsError, run

SAMPLE = Path(__file__).parent.parent / "examples/gin-api"

# One more route: everything behind it in the program moves, as it does in any upgrade.
PLACE = '\tapi.GET("/items/:id", items.show)\n'
ROUTE = '\tapi.GET("/count", items.count)\n'
HANDLER = """
func (s *store) count(c *gin.Context) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	c.JSON(http.StatusOK, gin.H{"items": len(s.items), "since": time.Now().UTC().Format(time.RFC3339)})
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build of the sample service."""

    path: Path
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Builds:
    """What is deployed first, and then."""

    old: Build
    new: Build


def build(folder: Path) -> Builds:
    """Build both, with their symbols, as a plain `go build` does.  Raises HostsError."""
    sources = folder / "sources"
    shutil.copytree(SAMPLE, sources, ignore=shutil.ignore_patterns("dist"))
    old = _build(sources, folder, "1.0.0")
    main = sources / "main.go"
    text = main.read_text()
    if text.count(PLACE) != 1:
        raise HostsError(f"{SAMPLE / 'main.go'} has no line {PLACE.strip()}: say here where the upgrade goes")
    main.write_text(text.replace(PLACE, PLACE + ROUTE) + HANDLER)
    return Builds(old=old, new=_build(sources, folder, "1.0.1"))


def _build(sources: Path, folder: Path, version: str) -> Build:
    path = folder / f"gin-api-{version}"
    run(str(sources / "build"), "--symbols", "--version", version, "-o", str(path))
    return Build(path=path, version=version)
