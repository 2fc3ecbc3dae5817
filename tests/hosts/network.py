"""A lab's bridge, and each host's end of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.programs import HostsError, run

NAMESPACES = Path("/run/netns")
LARGEST_LAB = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network of a lab: 10.213.<number>.0/24, and no way out of it."""

    number: int

    @property
    def tag(self) -> str:
        """Begins the name of everything in the kernel that belongs to the lab."""
        return f"dplt{self.number}"

    @property
    def address(self) -> str:
        return f"10.213.{self.number}.1"

    @property
    def mac(self) -> str:
        return f"02:d5:{self.number:02x}:00:00:00"

    @property
    def exists(self) -> bool:
        return Path("/sys/class/net", self.tag).exists()

    def create(self) -> None:
        # With no MAC given a bridge takes that of a port, and changes it as ports come and go.
        _ip(
            f"link add name {self.tag} address {self.mac} type bridge",
            f"address add {self.address}/24 dev {self.tag}",
            f"link set dev {self.tag} addrgenmode none up",
        )

    def remove(self) -> None:
        if self.exists:
            _ip(f"link delete dev {self.tag}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A host's network namespace, and the cable from it to the bridge."""

    network: Network
    index: int

    @property
    def cable(self) -> str:
        return f"{self.network.tag}-{self.index}"

    @property
    def address(self) -> str:
        return f"10.213.{self.network.number}.{10 + self.index}"

    @property
    def mac(self) -> str:
        return f"02:d5:{self.network.number:02x}:00:00:{self.index:02x}"

    @property
    def namespace(self) -> Path:
        return NAMESPACES / self.cable

    def create(self) -> None:
        """Make a fresh one; both ends know each other's MAC, so that a silent host is silent.

        With ARP a host that does not answer is "No route to host" after three seconds; behind a router, where
        real hosts are, it is a connection that nobody answers.
        """
        _ip(
            f"netns add {self.cable}",
            f"link add name {self.cable} type veth peer name eth0 address {self.mac} netns {self.cable}",
            f"link set dev {self.cable} addrgenmode none master {self.network.tag} up",
            f"neighbour replace {self.address} lladdr {self.mac} dev {self.network.tag} nud permanent",
        )
        _ip(
            "link set dev lo up",
            f"address add {self.address}/24 dev eth0",
            "link set dev eth0 up",
            f"neighbour replace {self.network.address} lladdr {self.network.mac} dev eth0 nud permanent",
            namespace=self.cable,
        )

    def remove(self) -> None:
        """Remove it with all sockets in it; they say no farewell, as in a power cut."""
        if Path("/sys/class/net", self.cable).exists():
            # The namespace outlives its name while a socket lingers in it; the cable would with it.
            with suppress(HostsError):
                _ip(f"link delete dev {self.cable}")
        if self.namespace.exists():
            try:
                _ip(f"netns delete {self.cable}")
            except HostsError:
                # The machine's reboot leaves a plain file where /run is on a disk.
                self.namespace.unlink(missing_ok=True)

    def drop(self) -> None:
        """Lose every packet in both directions.

        The port is disabled rather than the link set down: the host's kernel would see a lost carrier, and
        then sends nothing instead of sending into the void.
        """
        run("bridge", "link", "set", "dev", self.cable, "state", "0")

    def restore(self) -> None:
        run("bridge", "link", "set", "dev", self.cable, "state", "3")


def _ip(*commands: str, namespace: str | None = None) -> None:
    inside = () if namespace is None else ("-netns", namespace)
    run("ip", *inside, "-batch", "-", stdin="".join(f"{command}\n" for command in commands))
