"""Services that are a few lines of shell, for what the sample service is too well-behaved for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.site import Site


def script(site: Site, name: str, text: str, *, shell: str = "/bin/sh") -> str:
    """Write an executable script into the site's folder; the path as its playbooks name it."""
    file = site.folder / name
    file.write_text(f"#!{shell}\n{text}\n")
    file.chmod(0o755)
    return name


FLAPPING = """
exec perl -MIO::Socket::INET -MTime::HiRes=time -e '
  my $server = IO::Socket::INET->new(Listen => 9, LocalPort => $ENV{PORT}, ReuseAddr => 1) or die $!;
  my $began;
  while (my $caller = $server->accept) {
    my $request = <$caller>;
    $began //= time;
    my $past = time - $began;
    my $status = $past - int($past) < 0.3 ? "200 OK" : "503 Not Now";
    print $caller "HTTP/1.1 $status\\r\\nContent-Length: 0\\r\\n\\r\\n";
    close $caller;
  }
'
"""
"""Answers well for 300 ms of every second, from the first question on."""


def flapper(site: Site) -> str:
    """A service that is well now and then, for ever."""
    return script(site, "flapper", FLAPPING)


def sleeper(site: Site) -> str:
    """A service that does nothing, and stays up."""
    return script(site, "sleeper", "exec sleep infinity")


def task(name: str, binary: str, **keys: Any) -> dict[str, Any]:
    """A service task without a health test, that is good after a blink of staying up."""
    healthcheck = {"disable": True, "stay_up": "300ms"}
    return {"service": {"name": name, "binary": binary, "healthcheck": healthcheck} | keys}


def version(name: str, binary: str, **keys: Any) -> dict[str, Any]:
    """A service of which -e says what `v` it is, and how long its `trial`."""
    check = {"disable": True, "stay_up": "{{ trial }}"}
    return task(name, binary, environment={"V": "{{ v }}"}, healthcheck=check, **keys)


def deploy(site: Site, *tasks: dict[str, Any], hosts: str = "host1") -> None:
    """Deploy `tasks` at version 1, with a trial of 300 ms, as the only ones of the site's playbook."""
    site.write(tasks, hosts=hosts, vars={"v": 1, "trial": "300ms"})
    run = site.run()
    assert (run.code, set(run.outcomes.values())) == (0, {"changed"}), run


LISTENER = """
use IO::Socket::INET;
my $port = $ARGV[0] || $ENV{PORT};
if (!fork) {
  my $server = IO::Socket::INET->new(
    Listen => 5, LocalAddr => "127.0.0.1", LocalPort => $port, ReuseAddr => 1);
  while ($server) { my $client = $server->accept; close $client if $client }
}
sleep 1 while 1;
"""
"""Perl: a child of it listens on $PORT, or on the port that is its argument."""


def listening(name: str, binary: str, port: int) -> dict[str, Any]:
    """A service task whose health test is that somebody listens on `port`."""
    check = {"test": f"tcp://127.0.0.1:{port}", "stay_up": "500ms", "retries": 3, "start_period": "1s"}
    return task(name, binary, environment={"PORT": str(port)}, healthcheck=check)


def inventory(file: Path, hosts: Mapping[str, Mapping[str, object]], **common: object) -> str:
    """Write an inventory: variables by host, and those of all; the path, for `-i`."""
    content = {"all": {"hosts": {name: dict(own) for name, own in hosts.items()}, "vars": common}}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(file)
