"""Build and cache the root folders that hosts are overlays of."""

from __future__ import annotations

import os
import platform
import shutil
from typing import TYPE_CHECKING

from tests.hosts import places, recipe
from tests.hosts.programs import HostsError, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hosts.recipe import Flavour


def ensure(flavour: Flavour) -> Path:
    """Return the flavour's root folder, built now if need be; whoever else wants it at that moment waits."""
    folder = places.cache() / "roots"
    root = folder / f"{flavour.name}-{flavour.digest}"
    if root.is_dir():
        return root
    with places.locked(folder / f"{flavour.name}.lock") as lock:
        if root.is_dir():
            return root
        for abandoned in folder.glob(f".{flavour.name}-*"):
            shutil.rmtree(abandoned)
        partial = folder / f".{flavour.name}-{os.getpid()}"
        partial.mkdir(parents=True)
        try:
            _build(flavour, partial, lock=lock)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        # Whatever dies before this line leaves a dot-folder to clear, never half a root folder.
        partial.rename(root)
    return root


def _build(flavour: Flavour, root: Path, *, lock: int) -> None:
    run(
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(flavour.packages)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.UNPACKED_NOT),
        *_apt_options(),
        flavour.suite,
        str(root),
        _mirror(),
        # It outlives us if we are killed, and nobody may clear the folder before it is done.
        keep=(lock,),
    )
    root.chmod(0o755)
    for name, uid in recipe.USERS.items():
        run("chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "--uid", str(uid), name)
        # "*" is no password; useradd's "!" is a locked account, which sshd may refuse altogether.
        run("chroot", str(root), "usermod", "--password", "*", name)
    for path, (mode, text) in recipe.FILES.items():
        file = root / path
        file.write_text(text)
        file.chmod(mode)
    for unit in recipe.MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # each host gets its own
    (root / "etc/machine-id").write_text("")
    _check(flavour, root)


def _check(flavour: Flavour, root: Path) -> None:
    search = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin")
    found = [
        f"/{place}/{name}"
        for place in search
        for name in flavour.forbidden
        if any((root / place).glob(f"{name}*"))
    ]
    if found:
        raise HostsError(f"{flavour.name}: a test host must not have {', '.join(found)}")
    version = run("chroot", str(root), "systemctl", "--version").split()[1]
    if version != str(flavour.systemd):
        raise HostsError(f"{flavour.name}: systemd {flavour.systemd} was expected, {version} was installed")


def _mirror() -> str:
    """The archive this machine's apt installs Debian from."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    targets = run(
        *("apt-get", "indextargets", "--no-release-info"),
        *("--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"),
    )
    for line in targets.splitlines():
        address, release, component = line.split()
        if release in (codename, "stable") and component == "main":
            return address
    raise HostsError(f"apt has no source of Debian {codename} main: add one to /etc/apt/sources.list.d")


def _apt_options() -> tuple[str, ...]:
    """Proxies and certificates of this machine's apt, which mmdebstrap does not take over by itself."""
    settings = run("apt-config", "dump", "--no-empty", "Acquire::http", "Acquire::https").splitlines()
    return tuple(f"--aptopt={setting}" for setting in settings)
