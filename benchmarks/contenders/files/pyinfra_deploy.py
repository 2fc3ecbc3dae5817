"""The deploy as a user of pyinfra writes it; nothing of the deployer is in it."""

from pyinfra import host
from pyinfra.operations import files, server, systemd
from pyinfra.operations.util import any_changed

service = host.data.service
program = f"/usr/local/bin/{service}"
server.user(name="account", user=service, system=True, ensure_home=False, shell="/usr/sbin/nologin")
# files.put writes into the file that is there, and a running binary cannot be written.
binary = files.put(name="binary", src="binary", dest=f"/usr/local/lib/{service}", mode="755")
server.shell(
    name="install",
    commands=[f"cp /usr/local/lib/{service} {program}.new && mv {program}.new {program}"],
    _if=binary.did_change,
)
env = files.put(name="env", src="env", dest=f"/etc/{service}.env", mode="600")
unit = files.put(name="unit", src="unit", dest=f"/etc/systemd/system/{service}.service", mode="644")
changed = any_changed(binary, env, unit)
systemd.daemon_reload(name="daemon-reload", _if=unit.did_change)
desired = {"service": service, "running": True, "enabled": True}
systemd.service(name="restarted", **desired, restarted=True, _if=changed)
systemd.service(name="running", **desired, _if=lambda: not changed())
server.shell(name="health", commands=[f"bash -s {host.data.service_port} <<'EOF'\n{host.data.health}\nEOF"])
