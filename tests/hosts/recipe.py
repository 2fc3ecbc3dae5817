"""What a test host is made of.  A root folder is built again when this file changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

# libpam-systemd: a login then has a session scope of its own, as on real machines, outside ssh.service.
PACKAGES = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo")

# Nobody reads them on a test host, and unpacking them takes a third of the build.
UNPACKED_NOT = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
)

# A deployer that needs one of these must fail here.
FORBIDDEN = ("python", "python2", "python3", "curl", "wget")

# Units that only cost time: nobody logs in at a console, and nothing may change a host behind a test's back.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "ldconfig.service",
    "systemd-firstboot.service",
    "systemd-journal-catalog-update.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-update-done.service",
)

# MaxStartups, MaxSessions and the penalties stay as shipped: the deployer has to live with them.
SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
"""

SUDOERS = """\
deploy ALL=(ALL:ALL) NOPASSWD: ALL
asker ALL=(ALL:ALL) PASSWD: ALL
"""

# path -> (mode, text)
FILES = {
    "etc/ssh/sshd_config.d/test-hosts.conf": (0o644, SSHD),
    "etc/sudoers.d/test-hosts": (0o440, SUDOERS),
}

# name -> uid
USERS = {"deploy": 1000, "asker": 1001}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """A kind of host; `more` are packages beside those that all have."""

    name: str
    suite: str
    systemd: int
    more: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        return (*PACKAGES, *self.more)

    @property
    def forbidden(self) -> tuple[str, ...]:
        """The beginnings of names of programs that must not be there."""
        return tuple(name for name in FORBIDDEN if not any(wanted.startswith(name) for wanted in self.more))

    @property
    def digest(self) -> str:
        """Changes whenever a root folder built from this recipe would be another one."""
        return hashlib.sha256(Path(__file__).read_bytes() + self.name.encode()).hexdigest()[:12]


FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour(name="debian12", suite="bookworm", systemd=252),
        # Not every host has zstd: an upload must do without it, and may use it.
        Flavour(name="debian13", suite="trixie", systemd=257, more=("zstd",)),
    )
}

# Hosts that others can work with too, for benchmarks; built when somebody asks for one by name.
ON_DEMAND = {
    flavour.name: flavour
    for flavour in (
        Flavour(name="python-debian12", suite="bookworm", systemd=252, more=("python3",)),
        Flavour(name="python-zstd-debian12", suite="bookworm", systemd=252, more=("python3", "zstd")),
    )
}
KNOWN = FLAVOURS | ON_DEMAND
