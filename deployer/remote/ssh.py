"""The one module that knows Fabric and paramiko: trust, authentication, execs and forwarded connections.

Fabric alone accepts any host key, quotes nothing and waits for ever; here those are decided once:
known_hosts is honoured before anything is sent, scripts travel on stdin, and every wait ends.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import logging
import os
import random
import re
import resource
import secrets
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fabric
import paramiko
from paramiko.agent import AgentSSH
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.common import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    cMSG_SERVICE_REQUEST,
    cMSG_USERAUTH_REQUEST,
)
from paramiko.config import SSHConfig
from paramiko.pkey import UnknownKeyType
from paramiko.transport import ChannelMap, ServiceRequestingTransport

from deployer.background import begin
from deployer.errors import HostError, LoadError, Problem, UnreachableError
from deployer.remote.known_hosts import KnownKey, read_known_hosts
from deployer.remote.proxy import ProxyCommand, Taking
from deployer.remote.remote import ForwardingRefusedError, Remote, Reply, TcpChannel, last_line, telling_line
from deployer.remote.script import BOOT_COMMAND, HELLO, boot_input, end_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from deployer.secret import Secret
    from deployer.target import Become, Target

# Paramiko logs tracebacks of failed handshakes; a host's failure is reported once, by us.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False
# And none is to be made: where two threads do that at once, Python before 3.11.5 may raise a SystemError
# (github.com/python/cpython/issues/106905), and the thread of a connection would end without telling anybody.
paramiko.util.tb_strings = list

_SLICE = 64 * 1024  # bytes a send; of more paramiko takes 32 KiB anyway
_SLOWEST = 1024  # bytes per second; who takes less is no more alive than who takes nothing
_PACE = 60.0  # seconds of sending after which that is looked at
_STARTS_PER_SERVER = 4  # sshd drops from 10 on (MaxStartups), and counts a login until after it answered
_BANNER_TRIES = 4
_SYSTEM_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")
_SILENCE = 30  # seconds without an answer to what was sent, after which a connection is dead
_LOGIN = 30  # seconds to wait for each answer to a login
_AGENT_LISTS = 30.0  # seconds to wait for what keys an ssh-agent has, which it may have to be unlocked for
_AGENT_SIGNS = 300.0  # and for a signature: it may ask its user, for one host after the other; ssh-add(1), -c
_AGENT_FAILURE = 5  # SSH_AGENT_FAILURE
_AHEAD = 10  # seconds to wait for a session that was opened ahead, when it is needed
_PAUSES = (0.1, 0.3, 1.0)  # seconds until sshd surely knows that a session has ended, and allows another
_UNREAD = 256 * 1024  # bytes that a script may leave unread; sshd tells of every 96 KiB that it read
_TELLS = 2.0  # seconds to wait for that; another server may never tell
_SPEED = 20e6  # bytes per second to a host that must be possible over any distance
_OTHER_FILES = 256  # that are open beside connections
_MOST = 4 * 1024 * 1024  # bytes of an answer
_MOST_BEFORE = 256 * 1024  # bytes that login files may print
_MOST_IN_ALL = 256 * 1024 * 1024  # bytes of an output of which only the end is kept
_SEE_LOGIN = "see what the user's login files print there"
_PASSING = frozenset({"connect_failed", "refused", "timed_out", "unknown_host"})
"""Causes that say nothing of the next try; a login that was refused is refused again, and may be counted."""

_TICK = 1.0  # seconds for which one stream may be waited for and the other not read
_OF_SUDO = re.compile(r"^(?:.*: )?sudo: |^Sorry, |sudoers", re.MULTILINE)
_SUDO_SECONDS = 60.0  # until sudo is through
_SUDO_PROMPT = "deployer-asks-for-the-sudo-password"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """A target after ~/.ssh/config: what is really dialled, as whom, with which keys."""

    address: str
    port: int
    user: str
    keys: tuple[Path, ...]  # to be offered, and no others; empty: the agent's and the default ones
    known_hosts: tuple[Path, ...]
    alias: str | None  # HostKeyAlias: its name in known_hosts
    accept_new: bool
    proxy_jump: str | None
    proxy_command: str | None

    @property
    def known_name(self) -> str:
        """How known_hosts spells this server (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        return self.alias or self.dialled_name

    @property
    def dialled_name(self) -> str:
        """How paramiko looks for its key."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"  # noqa: PLR2004


class Connector:
    """Connects to many hosts in one run: shares config files, known hosts, keys and jump hosts."""

    def __init__(self, *, ask_passphrase: Callable[[Path], Secret | None]) -> None:
        self._ask_passphrase = ask_passphrase
        self._configs: dict[Path | None, SSHConfig] = {}
        self._known_hosts: dict[Path, list[KnownKey]] = {}
        self._keys: dict[Path, paramiko.PKey | UnreachableError] = {}
        self._opened: dict[Path, paramiko.PKey | UnreachableError] = {}  # with a passphrase
        self._heard = False  # the agent has answered
        self._deaf = ""  # why it is not asked any more
        self._jumps: dict[Target, Future[Any]] = {}
        self._begun: dict[Target, Future[Remote]] = {}
        self._starts: dict[tuple[str | None, str], threading.Semaphore] = {}
        self._lock = threading.RLock()

    def prepare(self, targets: Sequence[Target]) -> None:
        """Load private keys before hosts are worked on in parallel, asking for passphrases one by one.

        Keys that cannot be loaded are left to the hosts that need them.
        """
        routes = [self._route(target) for target in targets]
        _allow_files(sum(map(_files, routes)))
        for path in dict.fromkeys(path for route in routes for path in route.keys):
            self._key(path)

    def connect(self, target: Target) -> Remote:
        """Connect, check the host key, authenticate.

        Raises:
            UnreachableError: with the cause, and what to do about it.

        """
        with self._lock:
            begun = self._begun.pop(target, None)
        return begun.result() if begun else self._connect(target)

    def begin(self, targets: Sequence[Target]) -> None:
        """Start to connect to these, beside what the caller does; `connect` takes it up from there."""
        for target in dict.fromkeys(targets):
            self._begun[target] = begin(partial(self._connect, target))

    def _connect(self, target: Target) -> Remote:
        route = self._route(target)
        return _SshRemote(self._open(route, target, session=True), route, target.become)

    def close(self) -> None:
        """Let go of the connections to jump hosts, and of those that nobody took up."""
        for opened in (*self._begun.values(), *self._jumps.values()):
            opened.add_done_callback(_close)

    # -- routes -----------------------------------------------------------------------------------------

    def _route(self, target: Target) -> _Route:
        try:
            found = self._config(target.ssh_config).lookup(target.address)
            port = target.port or int(found.get("port", 22))
        except (ValueError, paramiko.SSHException) as error:
            message = f"cannot use what the ssh config says of {target.address}: {_reason(error)}"
            raise LoadError([Problem(message=message)]) from None
        address = found.get("hostname", target.address)
        user = target.user or found.get("user") or getpass.getuser()
        # As ssh_config(5) has it, under TOKENS.
        tokens = {"%h": address, "%n": target.address, "%p": str(port), "%r": user, "%%": "%"}
        command = re.sub("%[hnpr%]", lambda token: tokens[token[0]], target.proxy_command or "")
        keys = (target.key_file,) if target.key_file else tuple(map(_path, found.get("identityfile", ())))
        files = target.known_hosts or tuple(map(_path, found.get("userknownhostsfile", "").split()))
        lenient = found.get("stricthostkeychecking", "yes") in {"accept-new", "no", "off"}
        return _Route(
            address=address,
            port=port,
            user=user,
            keys=keys,
            known_hosts=files or tuple(map(_path, _SYSTEM_KNOWN_HOSTS)),
            alias=found.get("hostkeyalias"),
            accept_new=target.host_key_checking == "accept-new" or lenient,
            proxy_jump=_unless_none(target.proxy_jump or found.get("proxyjump")),
            proxy_command=_unless_none(command or found.get("proxycommand")),
        )

    def _config(self, path: Path | None) -> SSHConfig:
        with self._lock:
            if path not in self._configs:
                config = SSHConfig()
                for file in (path,) if path else (_path("~/.ssh/config"), Path("/etc/ssh/ssh_config")):
                    if not file.is_file():
                        continue
                    try:
                        config.parse(file.read_text(encoding="utf-8").splitlines(keepends=True))
                    except (OSError, ValueError, paramiko.ConfigParseError) as error:
                        raise LoadError([Problem(message=f"cannot use {file}: {_reason(error)}")]) from None
                self._configs[path] = config
            return self._configs[path]

    # -- connections ------------------------------------------------------------------------------------

    def _open(self, route: _Route, target: Target, *, session: bool) -> Any:
        """A connection; with `session` one is opened ahead, for execs (a jump host may allow none)."""
        # The jump host takes turns of its own.
        hop = self._jump(route.proxy_jump, target) if route.proxy_jump else None
        for tries_left in reversed(range(_BANNER_TRIES)):
            try:
                with self._turn(route):
                    return self._dial(route, target, hop=hop, session=session)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this host's alone
                if not (isinstance(error, _NoBannerError) and tries_left):
                    raise self._with_agent(_unreachable(route, error)) from None
                time.sleep(random.uniform(0.2, 1.0) * (_BANNER_TRIES - tries_left))  # noqa: S311  jitter
        raise AssertionError("unreachable: the last try returns or raises")

    @contextmanager
    def _turn(self, route: _Route) -> Iterator[None]:
        """Wait for a turn, so that one server sees only a few handshakes at a time."""
        with self._lock:
            server = (route.proxy_jump, route.dialled_name)
            turns = self._starts.setdefault(server, threading.Semaphore(_STARTS_PER_SERVER))
        with turns:
            yield

    def _dial(self, route: _Route, target: Target, *, hop: Any, session: bool) -> Any:
        agent: object = None  # which may be asked for a signature
        held: _Agent | None = None  # whose keys are tried, one after the other
        kwargs: dict[str, Any] = {
            "allow_agent": False,
            "look_for_keys": False,
            "banner_timeout": target.connect_timeout + 5,
            "auth_timeout": _LOGIN,
            "transport_factory": _LoginTransport,
        }
        if target.password:
            kwargs["password"] = target.password.reveal()
        if key := self._chosen_key(route):
            kwargs["pkey"] = key
            agent = getattr(key, "agent", None)
            # Other keys or a password may have to be tried after this one; and how to sign with an RSA key,
            # the server says in a message of its own (RFC 8308).
            if not target.password and "rsa" not in key.get_name():
                kwargs["transport_factory"] = partial(_EagerTransport, session=session)
        elif not route.keys:
            kwargs["look_for_keys"] = True
            agent = held = self._agent()
        connection = fabric.Connection(
            route.address,
            user=route.user,
            port=route.port,
            connect_kwargs=kwargs,
            config=fabric.Config(ssh_config=SSHConfig()),  # already applied, by _route
        )
        self._trust(connection.client, route)
        if held:
            connection.connect_kwargs["allow_agent"] = True
            connection.client._agent = held  # noqa: SLF001  Fabric has no way to give it one
        connection.connect_timeout = target.connect_timeout  # of an argument Fabric takes whole seconds only
        line = connection.connect_kwargs["sock"] = _line(route, hop, target.connect_timeout)
        try:
            connection.open()
        except BaseException as error:  # noqa: BLE001  it is raised again
            why = _why(connection.client.get_transport(), error, line)
            if isinstance(agent, _Agent) and agent.failed:
                why = UnreachableError("key_locked", agent.failed, hint=_SEE_AGENT)
            connection.close()
            line.close()
            raise why from None
        return connection

    def _jump(self, spec: str, target: Target) -> Any:
        """The connection to the (last) jump host of `spec`, shared by all hosts behind it."""
        rest, _, last = spec.rpartition(",")
        user, _, place = last.rpartition("@")
        host, _, port = place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "")
        hop = replace(
            target,
            address=host.strip("[]"),
            port=int(port) if port else None,
            user=user or None,
            become=None,
            password=None,
            proxy_jump=rest or "none",
            proxy_command=None,
        )
        with self._lock:  # which every host needs: nobody waits for a server that holds it
            if hop not in self._jumps or _was_lost(self._jumps[hop]):
                self._jumps[hop] = begin(lambda: self._open(self._route(hop), hop, session=False))
            opened = self._jumps[hop]
        try:
            return opened.result()
        except UnreachableError as error:
            with self._lock:  # an end to the wait of many hosts; who asks later may find it back again
                if error.cause in _PASSING and self._jumps.get(hop) is opened:
                    del self._jumps[hop]
            raise UnreachableError(error.cause, f"jump host: {error.message}", hint=error.hint) from None

    # -- trust ------------------------------------------------------------------------------------------

    def _trust(self, client: Any, route: _Route) -> None:
        """Give `client` the known keys of this one server; Fabric's own policy would accept any."""
        known = [key for path in route.known_hosts for key in self._known(path)]
        revoked = frozenset(key.blob for key in known if key.marker == "@revoked")
        for key in known:
            if not key.marker and key.blob not in revoked and key.is_for(route.known_name):
                with suppress(paramiko.SSHException, UnknownKeyType, ValueError, IndexError):
                    loaded = paramiko.PKey.from_type_string(key.kind, key.blob)
                    client.get_host_keys().add(route.dialled_name, key.kind, loaded)
        client.set_missing_host_key_policy(_Policy(route, self._remember, revoked))

    def _known(self, path: Path) -> list[KnownKey]:
        with self._lock:
            if path not in self._known_hosts:
                try:
                    self._known_hosts[path] = read_known_hosts(path)
                except OSError as error:
                    message = f"cannot read {path}: {_reason(error)}"
                    raise UnreachableError("host_key_unknown", message) from None
            return self._known_hosts[path]

    def _remember(self, route: _Route, key: paramiko.PKey) -> None:
        """accept-new: the first key seen is written down, and every later one must be the same."""
        path = route.known_hosts[0]
        with self._lock:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"{route.known_name} {key.get_name()} {key.get_base64()}\n")
            except OSError as error:
                message = f"cannot write the new key of {route.known_name} to {path}: {_reason(error)}"
                raise UnreachableError("host_key_unknown", f"{message}; nothing was sent") from None
            new = KnownKey(names=(route.known_name,), kind=key.get_name(), blob=key.asbytes())
            self._known(path).append(new)

    # -- keys -------------------------------------------------------------------------------------------

    def _chosen_key(self, route: _Route) -> paramiko.PKey | None:
        """The one key to offer: wrong keys count as failed logins, and sshd punishes those."""
        failure: UnreachableError | None = None
        for path in route.keys:
            key = self._key(path)
            if isinstance(key, paramiko.PKey):
                return key
            failure = failure or key
        if failure:
            raise failure
        return None

    def _key(self, path: Path) -> paramiko.PKey | UnreachableError:
        """The key of a file, or why there is none.

        An agent is asked only for what cannot be had without it, for it may be slow, or silent.
        """
        key = self._once(self._keys, path, self._load)
        if isinstance(key, paramiko.PKey):
            return key
        if held := self._from_agent(path):
            return held
        return self._once(self._opened, path, self._unlock) if key.cause == "key_locked" else key

    def _once(
        self,
        known: dict[Path, paramiko.PKey | UnreachableError],
        path: Path,
        load: Callable[[Path], paramiko.PKey],
    ) -> paramiko.PKey | UnreachableError:
        """What `load` made of it the first time: nobody is asked twice for one passphrase."""
        with self._lock:
            if path not in known:
                try:
                    known[path] = load(path)
                except UnreachableError as error:
                    known[path] = error
            return known[path]

    def _from_agent(self, path: Path) -> paramiko.PKey | None:
        """The agent's copy of the key, known by the public half beside it: no passphrase is needed."""
        public = path.with_name(path.name + ".pub")
        with suppress(OSError, ValueError, IndexError):
            blob = base64.b64decode(public.read_text(encoding="utf-8").split()[1])
            for key in agent.get_keys() if (agent := self._agent()) else ():
                if key.asbytes() == blob:
                    return key
        return None

    def _agent(self) -> _Agent | None:
        """The agent, if there is one that answers; of one that does not, it is not asked twice.

        Connected to anew for every host, for paramiko's agent keys share a connection and have no lock.
        """
        if not os.environ.get("SSH_AUTH_SOCK") or self._deaf:
            return None
        try:
            # One that answered before is busy: it answers nobody while it asks its user.
            agent = _Agent(_AGENT_SIGNS if self._heard else _AGENT_LISTS)
        except OSError as error:
            self._deaf = f"no ssh-agent is at {os.environ['SSH_AUTH_SOCK']} ({_reason(error)}), {_SEE_AGENT}"
            return None
        except paramiko.SSHException as error:
            self._deaf = f"{_reason(error)}, {_SEE_AGENT}"
            return None
        self._heard = True
        return agent

    def _with_agent(self, why: UnreachableError) -> UnreachableError:
        """Where a key was missing, the agent may have had it."""
        if not self._deaf or why.cause not in {"auth_failed", "key_locked", "no_key"}:
            return why
        hint = "; ".join(filter(None, (self._deaf, why.hint)))
        return UnreachableError(why.cause, why.message, hint=hint)

    def _load(self, path: Path) -> paramiko.PKey:
        try:
            return paramiko.PKey.from_path(path)
        except (paramiko.PasswordRequiredException, TypeError):  # cryptography's word for it is TypeError
            raise UnreachableError("key_locked", f"the private key {path} is encrypted") from None
        except FileNotFoundError:
            raise UnreachableError("no_key", f"there is no private key {path}") from None
        except OSError as error:
            raise UnreachableError("no_key", f"cannot read the key {path}: {error.strerror}") from None
        except (ValueError, paramiko.SSHException, UnknownKeyType):
            raise UnreachableError("no_key", f"{path} is not a private key that can be used") from None

    def _unlock(self, path: Path) -> paramiko.PKey:
        passphrase = self._ask_passphrase(path)
        if passphrase is None:
            message = f"the private key {path} is encrypted and nobody is there to ask"
            raise UnreachableError("key_locked", message, hint="ssh-add it, and keep its .pub beside it")
        try:
            # paramiko 5 says str, and hands it to cryptography, which wants bytes.
            return paramiko.PKey.from_path(path, passphrase.reveal().encode())  # type: ignore[arg-type]
        except (ValueError, paramiko.SSHException):
            raise UnreachableError("key_locked", f"that passphrase does not open {path}") from None


class _Agent(paramiko.Agent):
    """A connection to the ssh-agent; paramiko's own waits for it, and for each answer, without end.

    One that was forwarded, and whose laptop is gone, accepts and says nothing.

    Raises:
        OSError: there is none.
        paramiko.SSHException: it does not answer, or not as draft-ietf-sshm-ssh-agent has it.

    """

    def __init__(self, seconds: float) -> None:
        AgentSSH.__init__(self)
        self._seconds = seconds
        self.busy = False  # it was asked, and has not answered
        self.failed = ""  # why it gives no signature
        connection = socket.socket(socket.AF_UNIX)
        try:
            # Where nobody accepts and many wait, connect(2) takes as long as a send may: socket(7), unix(7).
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))
            connection.connect(os.environ["SSH_AUTH_SOCK"])
            connection.settimeout(seconds)
            self._connect(connection)  # type: ignore[attr-defined]  # what paramiko's own does
        except BaseException as error:  # noqa: BLE001  it is raised again
            connection.close()
            raise self._silent() if isinstance(error, BlockingIOError) else error from None
        self._seconds = _AGENT_SIGNS
        connection.settimeout(self._seconds)

    def _silent(self) -> paramiko.SSHException:
        return paramiko.SSHException(f"the ssh-agent did not answer within {self._seconds:.0f} s")

    def _send_message(self, msg: object) -> tuple[int, paramiko.Message]:
        self.busy = True
        try:
            answer: tuple[int, paramiko.Message] = super()._send_message(msg)  # type: ignore[misc]  # as above
        except TimeoutError:
            self.close()  # a late answer would be taken for that to the next question
            silent = self._silent()
            self.failed = str(silent)
            raise silent from None
        except (OSError, paramiko.SSHException) as error:
            self.failed = f"the ssh-agent hung up ({_reason(error)})"
            raise
        finally:
            self.busy = False
        if answer[0] == _AGENT_FAILURE:
            self.failed = "the ssh-agent refused to sign with a key that it holds"
        return answer


class _Policy(paramiko.MissingHostKeyPolicy):
    """Called for a server without a known key of the offered type, before authentication."""

    def __init__(
        self, route: _Route, remember: Callable[[_Route, paramiko.PKey], None], revoked: frozenset[bytes]
    ) -> None:
        self._route = route
        self._remember = remember
        self._revoked = revoked

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        route = self._route
        if key.asbytes() in self._revoked:
            message = f"the host key of {route.known_name} is revoked in known_hosts; nothing was sent"
            raise UnreachableError("host_key_revoked", message, hint="give the host a new key")
        if client.get_host_keys().lookup(hostname):
            raise _changed(route, key)
        if not route.accept_new:
            shown = f"{key.get_name()} {_fingerprint(key)}"
            hint = (
                f"compare it with the server's, then: ssh-keyscan -p {route.port} {route.address} >> "
                f"{route.known_hosts[0]}, or set host_key_checking: accept-new"
            )
            message = f"the host key of {route.known_name} is not known ({shown}); nothing was sent"
            raise UnreachableError("host_key_unknown", message, hint=hint)
        self._remember(route, key)


_HUNG_UP = "transport shut down or saw EOF"  # as paramiko has it
_SEE_SSHD = "its log says why: journalctl -u ssh -u sshd"
_STALLED = "Authentication timeout"  # as above
_SEE_AGENT = "see: ssh-add -l"
_KEYLESS = "No authentication methods available"  # as above
_UNREADABLE = "said what cannot be understood"


class _NoBannerError(paramiko.SSHException):
    """Who was called hung up before saying who it is, as a server with too many callers does."""


class _BadAnswerError(paramiko.SSHException):
    """The server said what could not be read."""


def _within_window(
    feed: Callable[[paramiko.Channel, paramiko.Message], None],
) -> Callable[[paramiko.Channel, paramiko.Message], None]:
    """Take what a server says, but not without end: paramiko limits what may be sent, and takes more."""

    def fed(channel: paramiko.Channel, message: paramiko.Message) -> None:
        feed(channel, message)
        unread = len(channel.in_buffer) + len(channel.in_stderr_buffer)
        if unread > 2 * channel.in_window_size:
            raise _BadAnswerError(f"{unread} bytes, for {channel.in_window_size} of which it had leave")

    return fed


class _Transport(paramiko.Transport):
    """Tells everybody who asks why it ended, and ends when a server says more than it may.

    Paramiko keeps whatever its thread met, a UnicodeDecodeError as well, for the one who asks first.
    """

    _channel_handler_table = paramiko.Transport._channel_handler_table | {  # type: ignore[attr-defined]  # noqa: SLF001
        MSG_CHANNEL_DATA: _within_window(paramiko.Channel._feed),  # type: ignore[attr-defined]  # noqa: SLF001
        MSG_CHANNEL_EXTENDED_DATA: _within_window(paramiko.Channel._feed_extended),  # type: ignore[attr-defined]  # noqa: SLF001
    }
    ended: Exception | None = None
    stalled = False  # the server did not answer a login
    _refusal: Exception | None = None  # of one request

    def __init__(self, sock: Any, **options: Any) -> None:
        super().__init__(sock, **options)
        self._channels = _Channels(self)

    @property
    def saved_exception(self) -> Exception | None:  # paramiko's name for it
        return self.ended or self._refusal

    @saved_exception.setter
    def saved_exception(self, error: Exception | None) -> None:
        match error:
            case None | paramiko.ChannelException() | paramiko.AuthenticationException():
                self._refusal = error
            case paramiko.SSHException() | EOFError() | OSError():
                self.ended = error
            case _:
                self.ended = _BadAnswerError(f"{type(error).__name__}: {error}")


class _LoginTransport(_Transport):
    """Tries keys one after the other.

    Paramiko counts the time in which an agent asks its user as the server's, and waits for a server that does
    not answer once a key.
    """

    def auth_publickey(
        self, username: str, key: paramiko.PKey, event: threading.Event | None = None
    ) -> list[str]:
        answered = event or threading.Event()
        super().auth_publickey(username, key, answered)
        agent = getattr(key, "agent", None)
        until = time.monotonic() + _LOGIN
        while not answered.wait(0.1) and self.is_active():
            if isinstance(agent, _Agent) and agent.busy:
                until = time.monotonic() + _LOGIN
            elif time.monotonic() > until:
                self.stalled = True
                self.close()
        handler = self.auth_handler
        assert handler  # noqa: S101  super made it
        return handler.wait_for_response(answered)


class _EagerTransport(_Transport, ServiceRequestingTransport):
    """Sends what authenticates, and opens the first session, without waiting for leave: two round trips less.

    A server that does not want to authenticate anybody disconnects (RFC 4253, 10), and what follows the
    request that succeeds is passed on to the connection (RFC 4252, 5.1).  For one key and nothing else: what
    follows a request that fails is lost.
    """

    def __init__(self, sock: Any, *, session: bool, **options: Any) -> None:
        super().__init__(sock, **options)
        # As OpenSSH, and unlike paramiko, for which it comes last: a third of the others' processor time.
        security = self.get_security_options()
        security.ciphers = sorted(security.ciphers, key=lambda cipher: "gcm" not in cipher)
        self._wants_session = session
        self.session: Future[_Shell] | None = None

    def ensure_session(self) -> None:
        if self.auth_handler is None:
            request = paramiko.Message()
            request.add_byte(cMSG_SERVICE_REQUEST)
            request.add_string("ssh-userauth")
            self.submit(request)
            self.auth_handler = self.get_auth_handler()

    def get_auth_handler(self) -> AuthOnlyHandler:
        return _EagerAuthentication(self)

    def submit(self, request: paramiko.Message) -> None:
        self._send_message(request)  # type: ignore[attr-defined]  # as paramiko's own handlers do

    def submitted(self) -> None:
        """What authenticates is on its way."""
        if self._wants_session:
            self.session = begin(lambda: _Shell(channel=self.open_session()))


class _Answer(threading.Event):
    """What a channel waits for that has asked its server something: in paramiko for ever."""

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(_SILENCE if timeout is None else timeout):
            raise TimeoutError
        return True


class _Channels(ChannelMap):
    """The channels of a transport, each of which knows it from the beginning, and waits for nothing for ever.

    Paramiko enters a channel first and tells it of its transport then; a server that hangs up in between, as
    one does that refuses a login, made the transport's thread fail and leave everybody waiting.
    """

    def __init__(self, transport: paramiko.Transport) -> None:
        super().__init__()
        self._transport = transport

    def put(self, chanid: int, chan: paramiko.Channel) -> None:
        chan.event = _Answer()
        chan._set_transport(self._transport)  # type: ignore[attr-defined]  # noqa: SLF001  as paramiko does
        super().put(chanid, chan)


class _EagerAuthentication(AuthOnlyHandler):
    """Tells when it has sent; and it listens before, not after, when the answer may have come already."""

    transport: _EagerTransport

    def send_auth_request(
        self, username: str, method: str, finish_message: Callable[[paramiko.Message], None] | None = None
    ) -> list[str]:
        self.username, self.auth_method = username, method
        self.auth_event = threading.Event()
        request = paramiko.Message()
        request.add_byte(cMSG_USERAUTH_REQUEST)
        for word in (username, "ssh-connection", method):
            request.add_string(word)
        if finish_message:
            finish_message(request)
        self.transport.submit(request)
        self.transport.submitted()
        return self.wait_for_response(self.auth_event)


@dataclass(slots=True, kw_only=True)
class _Shell:
    """A session for one exec, which runs scripts one after another."""

    channel: paramiko.Channel
    begun: bool = False  # it was started
    greeted: bool = False  # it has run a script
    waits: bool = False  # for another one


class _SshRemote:
    """A connected host; see `Remote`.

    A script costs three round trips: open a session, start a shell in it, send the script (sshd gives no
    window for data before there is a shell).  So a shell is kept for the next script; and what follows one
    that takes the rest of its shell's input, if more scripts are expected, has its own started ahead.
    """

    def __init__(self, connection: Any, route: _Route, become: Become | None) -> None:
        self._connection = connection
        self._where = f"{route.address} port {route.port}"
        self._transport: _Transport = connection.transport
        self._transport.set_keepalive(_SILENCE // 3)  # quiet is not dead, and dead is seen
        # Under root's login sudo would add nothing, and minimal hosts do without it.
        self._become = None if become and become.user == route.user else become
        self._lock = threading.Lock()
        self._expected = 0
        self._round_trip = 1.0  # seconds; the shortest seen
        self._waiting: list[_Shell] = []
        self._ahead: Future[_Shell] | None = getattr(self._transport, "session", None)
        self._room = True

    def expect(self, runs: int) -> None:
        with self._lock:
            self._expected = runs
        if runs:
            begin(self._ping)

    def _ping(self) -> None:
        began = time.monotonic()
        self._transport.global_request("keepalive@openssh.com")  # answered, if only by a refusal: RFC 4254, 4
        self._round_trip = min(self._round_trip, time.monotonic() - began)

    def run(
        self,
        script: str,
        args: tuple[str, ...] = (),
        *,
        stdin: Iterable[bytes | memoryview] | None = None,
        timeout: float,
        longest: float = 0.0,
        keep: int = 0,
    ) -> Reply:
        end = secrets.token_hex(8) if stdin is None else ""
        try:
            with self._shell(timeout, last=not end) as shell:
                channel = shell.channel
                said = b""
                if not shell.greeted and self._become and self._become.password:
                    said = self._give_password(channel)
                limit = _Limit(longest or 2 * timeout)
                _send(channel, (boot_input(script, args, end=end),), unread=self._unread, limit=limit)
                if stdin is not None:
                    _send(channel, stdin, unread=self._unread)
                    _no_more(channel)
                    limit = _Limit(limit.seconds)
                hearing = _Hearing(
                    channel, said, greeted=shell.greeted, silence=timeout, limit=limit, keep=keep
                )
                shell.waits = hearing.until(end)
                status = 0 if shell.waits else hearing.end()
                if not hearing.greeted:
                    raise _no_hello(self._become, status, hearing.before, hearing.errors)
                shell.greeted = True
        except TimeoutError as error:
            message = str(error) or f"no sign of life for {timeout:.0f} s"
            raise HostError("timed_out", message) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(f"the connection was lost ({_reason(error)})") from None
        if status == -1:  # RFC 4254, 6.10: no exit status means killed, or the connection died
            raise self._lost("the connection was lost before the command ended")
        return Reply(status=status, stdout=hearing.output, stderr=hearing.errors)

    def _unread(self) -> int:
        """Bytes of what was sent that may be unread there."""
        return max(_UNREAD, int(self._round_trip * _SPEED))

    def connect_tcp(self, host: str, port: int, *, timeout: float) -> TcpChannel:
        try:
            channel = self._transport.open_channel(
                "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout
            )
        except paramiko.ChannelException as error:
            if error.code == 1:  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254, 5.1
                raise ForwardingRefusedError from None
            raise ConnectionRefusedError(error.text.lower() or "connection refused") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not self._transport.is_active():
                raise self._lost(f"the connection was lost ({_reason(error)})") from None
            raise TimeoutError(f"no connection within {timeout:g} s") from None
        channel.settimeout(timeout)
        return channel

    def _lost(self, message: str) -> HostError:
        """Why nothing more can be asked."""
        ended = self._transport.ended
        if isinstance(ended, _BadAnswerError):
            return HostError("bad_answer", f"{self._where} {_UNREADABLE} ({ended})")
        return HostError("connection_lost", message)

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()

    @contextmanager
    def _shell(self, timeout: float, *, last: bool) -> Iterator[_Shell]:
        """A shell for a script, with `last` for its last one; kept for the next if it waits for that."""
        until = time.monotonic() + timeout
        with self._lock:
            self._expected = max(self._expected - 1, 0)
            shell = self._waiting.pop() if self._waiting else None
            ahead, self._ahead = (self._ahead, None) if shell is None else (None, self._ahead)
        if ahead:
            shell = self._opened(ahead, min(timeout, _AHEAD))
        if shell is None or shell.channel.closed:
            shell = _Shell(channel=self._open(until))
        try:
            if last:
                self._look_ahead()
            shell.channel.settimeout(timeout)
            if not shell.begun:
                self._execute(shell)
            yield shell
        except BaseException:
            shell.channel.close()
            raise
        if shell.waits:
            with self._lock:
                self._waiting.append(shell)
        else:
            shell.channel.close()

    def _look_ahead(self) -> None:
        """Have a shell started for the script that is expected next, if no other waits for it."""
        with self._lock:
            if self._room and self._expected and not self._waiting and self._ahead is None:
                self._ahead = begin(self._start)

    def _start(self) -> _Shell:
        shell = _Shell(channel=self._transport.open_session())
        # A sudo that waits for its password does not wait for ever.
        if not (self._become and self._become.password):
            self._execute(shell)
        return shell

    def _execute(self, shell: _Shell) -> None:
        """Start the shell."""
        if self._become:
            # For sudo's messages.  A server that takes no variables ignores it (sshd_config(5), AcceptEnv);
            # login shells differ in how to set one.
            shell.channel.set_environment_variable("LC_ALL", "C")
        shell.channel.exec_command(self._command)
        shell.begun = True

    def _opened(self, ahead: Future[_Shell], timeout: float) -> _Shell | None:
        """The shell that was begun ahead.

        None if there is no room for such: sshd_config(5), MaxSessions and ChannelTimeout.
        """
        try:
            shell = ahead.result(timeout)
            if not shell.channel.closed:
                return shell
        except (paramiko.SSHException, TimeoutError):
            pass
        ahead.add_done_callback(_close_shell)
        self._room = False
        return None

    def _open(self, until: float) -> paramiko.Channel:
        """A session; a server that refuses is asked again, one that is silent is not."""
        pauses = iter(_PAUSES)
        while (left := until - time.monotonic()) > 0:
            try:
                return self._transport.open_session(timeout=left)
            except paramiko.SSHException:
                pause = next(pauses, None)
                if pause is None or not self._transport.is_active():
                    raise
                time.sleep(pause)
        raise TimeoutError

    @property
    def _command(self) -> str:
        if self._become is None:
            return BOOT_COMMAND
        asking = f"-S -p {_SUDO_PROMPT}" if self._become.password else "-n"
        return f"sudo {asking} -u {self._become.user} -- {BOOT_COMMAND}"

    def _give_password(self, channel: paramiko.Channel) -> bytes:
        """Answer sudo's prompt, if it asks; returns what the script has said so far.

        Nothing else is sent before sudo is through, for it would read that as more passwords.
        """
        assert self._become  # noqa: S101  the caller checked
        assert self._become.password  # noqa: S101
        output, errors, answered = b"", b"", False
        deadline = time.monotonic() + _SUDO_SECONDS
        while HELLO.encode() + b"\n" not in output:
            if len(output) + len(errors) > _MOST_BEFORE:
                message = "its login says more than anybody can read before sudo has asked"
                raise HostError("too_much", message, hint=_SEE_LOGIN)
            ended = channel.exit_status_ready() or channel.closed  # and what it said before that is here
            if channel.recv_stderr_ready():
                errors += channel.recv_stderr(4096)
                if errors.count(_SUDO_PROMPT.encode()) > int(answered):
                    if answered:
                        raise HostError("sudo_refused", "sudo did not accept the password")
                    channel.sendall(self._become.password.reveal().encode() + b"\n")
                    answered = True
            elif channel.recv_ready():
                output += channel.recv(4096)
            elif ended:
                status = channel.recv_exit_status() if channel.exit_status_ready() else -1
                told = errors.decode(errors="replace").replace(_SUDO_PROMPT, "")
                raise _no_hello(self._become, status, output.decode(errors="replace"), told)
            elif time.monotonic() > deadline:
                message = f"neither sudo nor a shell began within {_SUDO_SECONDS:.0f} s"
                raise TimeoutError(message)
            else:
                time.sleep(0.005)
        return output


def _no_hello(become: Become | None, status: int, before: str, errors: str) -> HostError:
    """Why no script was begun: by what the login said, or sudo, or nobody."""
    reason, notice = telling_line(errors), last_line(before)
    detail = reason or notice
    if status == -1 and not detail:
        return HostError("connection_lost", "the connection was lost before the command began")
    if become is not None and (not detail or _OF_SUDO.search(f"{errors}\n{before}")):
        asks = "password is required" in detail
        hint = "give it one with --ask-become-pass, or allow NOPASSWD in sudoers" if asks else ""
        return HostError("sudo_refused", f"sudo refused: {detail or f'exit status {status}'}", hint=hint)
    message = f"the login runs no shell: it ended with status {status}"
    hint = "see what happens there with: ssh -T, the same user and host, and the command true"
    said = "; ".join(filter(None, (notice, reason)))  # who prints a notice may warn of other things, too
    return HostError("shell_failed", f"{message} and said: {said}" if said else message, hint=hint)


def _files(route: _Route) -> int:
    """Files that are open for a connection: its own, that to the agent, the stderr of a ProxyCommand."""
    return 1 + ("SSH_AUTH_SOCK" in os.environ) + bool(route.proxy_command)


def _allow_files(files: int) -> None:
    """Raise the soft limit of open files, often 1024, as far as it takes and may be: getrlimit(2)."""
    wanted = files + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _line(route: _Route, hop: Any, timeout: float) -> Any:
    """What an SSH connection is made over: as good as a socket."""
    if hop:
        return _through(hop.transport, route, timeout)
    if route.proxy_command:
        try:
            return ProxyCommand(route.proxy_command)
        except (OSError, ValueError) as error:
            command = route.proxy_command.split(" ")[0]
            message = f"cannot start the ProxyCommand {command} to {route.address}: {_reason(error)}"
            raise UnreachableError("connect_failed", message) from None
    sock = socket.create_connection((route.address, route.port), timeout=timeout)
    # Paramiko leaves Nagle on, which costs a delayed acknowledgement a message.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # unset, tcp(7) waits for a quarter of an hour
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE * 1000)
    return sock


def _through(jump: _Transport, route: _Route, timeout: float) -> paramiko.Channel:
    """A connection that a jump host makes; Fabric would wait an hour for it."""
    where = f"{route.address} port {route.port}"
    try:
        line = jump.open_channel(
            "direct-tcpip", (route.address, route.port), ("127.0.0.1", 0), timeout=timeout
        )
    except paramiko.ChannelException as error:
        message = f"the jump host does not connect to {where}: {error.text.lower()}"
        raise UnreachableError("connect_failed", message) from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        if jump.is_active():
            raise TimeoutError from None
        message = f"the connection to the jump host before {where} was lost ({_reason(error)})"
        raise UnreachableError("connect_failed", message) from None
    send, taking = line.send, Taking("the line behind the jump host")
    line.send = lambda s: taking.send(lambda: send(s))  # type: ignore[method-assign]
    return line


def _was_lost(opened: Future[Any]) -> bool:
    """Whether there was a connection, and is none any more."""
    return opened.done() and opened.exception() is None and not opened.result().is_connected


def _close(opened: Future[Any]) -> None:
    with suppress(Exception):
        opened.result().close()


def _close_shell(opened: Future[_Shell]) -> None:
    if opened.exception() is None:
        opened.result().channel.close()


class _Limit:
    """The end of the time that a run may take in all."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds

    def check(self) -> None:
        """Raise HostError if it has come."""
        if time.monotonic() > self._until:
            message = f"it did not come to an end within {self.seconds:.0f} s"
            hint = "see what it still waits for there, and what the user's login files run"
            raise HostError("timed_out", message, hint=hint)


class _Pace:
    """How fast a host takes what is sent; the time that it takes to make that does not count."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._bytes = 0

    def took(self, size: int, seconds: float) -> None:
        """Raise HostError if it takes so little that this would go on for ever."""
        self._seconds += seconds
        self._bytes += size
        if self._seconds > _PACE:
            if self._bytes < _SLOWEST * self._seconds:
                message = f"it took {self._bytes} bytes of what was sent within {self._seconds:.0f} s"
                raise HostError("timed_out", message, hint="see what else uses the line to it")
            self._seconds, self._bytes = 0.0, 0


def _send(
    channel: paramiko.Channel,
    parts: Iterable[bytes | memoryview],
    *,
    unread: Callable[[], int],
    limit: _Limit | None = None,
) -> None:
    """Send it all within `limit`, and never have more than `unread` bytes of it there that nobody has read.

    What waits in sshd's memory it moves with every packet that joins it: 2 MB of that, which is its whole
    window, cost a host more than to unpack them.
    """
    window = channel.out_window_size
    tells = True
    pace = _Pace()

    def has_room() -> bool:
        return not tells or window - channel.out_window_size < unread() or channel.closed

    try:
        for part in parts:
            view = memoryview(part)
            while view:
                began = time.monotonic()
                with channel.out_buffer_cv:
                    if not channel.out_buffer_cv.wait_for(has_room, timeout=_TELLS):
                        tells = False
                sent = channel.send(view[:_SLICE])  # type: ignore[arg-type]  # any buffer will do
                view = view[sent:]
                pace.took(sent, time.monotonic() - began)
                if limit:
                    limit.check()
    except TimeoutError:
        raise
    except OSError:
        pass  # the script ended early; its reply says why


def _no_more(channel: paramiko.Channel) -> None:
    with suppress(OSError):  # as above
        channel.shutdown_write()


class _Hearing:
    """What a script says, on both of its streams, within limits of time and of size."""

    def __init__(
        self,
        channel: paramiko.Channel,
        said: bytes,
        *,
        greeted: bool,
        silence: float,
        limit: _Limit,
        keep: int,
    ) -> None:
        self._channel = channel
        self._said = bytearray()
        self._before: bytes | None = b"" if greeted else None
        self._errors = bytearray()
        self._silence = silence
        self._limit = limit
        self._keep = keep
        self._sum = 0  # bytes of stdout
        self._heard = time.monotonic()
        channel.settimeout(min(silence, _TICK))
        self._take(said)

    @property
    def greeted(self) -> bool:
        """Whether the shell was begun."""
        return self._before is not None

    @property
    def before(self) -> str:
        """What stood before the greeting: all there is, if none came."""
        return (self._said if self._before is None else self._before).decode(errors="replace")

    @property
    def output(self) -> str:
        """What the script has said on stdout, or the end of it."""
        return self._said.decode(errors="replace")

    @property
    def errors(self) -> str:
        """What it has said on stderr."""
        return self._errors.decode(errors="replace")

    def until(self, end: str) -> bool:
        """Until its shell says `end`; false if that ended instead."""
        mark = end_mark(end)
        while piece := self._next(self._channel.recv):
            self._take(piece)
            if end and self._said.endswith(mark):
                del self._said[-len(mark) :]
                self._take_errors()
                return True
        return False

    def end(self) -> int:
        """What is left of stderr, and the exit status."""
        while piece := self._next(self._channel.recv_stderr):
            self._take_error(piece)
        if not self._channel.status_event.wait(min(self._silence, self._limit.seconds)):
            raise TimeoutError
        return self._channel.recv_exit_status()

    def _next(self, receive: Callable[[int], bytes]) -> bytes:
        while True:
            self._take_errors()
            self._limit.check()
            try:
                piece = receive(_SLICE)
            except TimeoutError:
                if time.monotonic() - self._heard > self._silence:
                    raise TimeoutError from None
            else:
                self._heard = time.monotonic()
                return piece

    def _take_errors(self) -> None:
        """Nobody may wait for stderr to be read while this waits for stdout."""
        while self._channel.recv_stderr_ready():
            self._take_error(self._channel.recv_stderr(_SLICE))
            self._heard = time.monotonic()

    def _take_error(self, piece: bytes) -> None:
        self._errors += piece
        if len(self._errors) > _MOST:
            raise _too_much(_MOST, _SEE_LOGIN)

    def _take(self, piece: bytes) -> None:
        self._said += piece
        if self._before is None:
            before, hello, after = self._said.partition(f"{HELLO}\n".encode())
            if hello:
                self._before, self._said = bytes(before), after
        self._sum += len(piece)
        if self.greeted and self._keep:
            if self._sum > _MOST_IN_ALL:
                raise _too_much(_MOST_IN_ALL, "send its output to a file there, or have it say less")
            if len(self._said) > 2 * self._keep:
                del self._said[: -self._keep]
        elif len(self._said) > _MOST:
            raise _too_much(_MOST, _SEE_LOGIN)


def _too_much(most: int, hint: str) -> HostError:
    return HostError("too_much", f"it says more than {most >> 20} MiB, which is no answer", hint=hint)


def _fingerprint(key: paramiko.PKey) -> str:
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _changed(route: _Route, key: paramiko.PKey) -> UnreachableError:
    message = (
        f"the host key of {route.known_name} CHANGED: it now shows {key.get_name()} {_fingerprint(key)}; "
        "nothing was sent"
    )
    own = "" if route.known_hosts == tuple(map(_path, _SYSTEM_KNOWN_HOSTS)) else f" -f {route.known_hosts[0]}"
    hint = f"if the host was rebuilt: ssh-keygen -R '{route.known_name}'{own}, then accept its new key"
    return UnreachableError("host_key_changed", message, hint=hint)


def _why(transport: _Transport | None, error: BaseException, line: Any) -> BaseException:
    """What `error` is about: paramiko goes on when a line or a wait has ended, and misses something then."""
    if transport is None or not isinstance(error, Exception):
        return error
    ended = transport.ended
    if isinstance(ended, _BadAnswerError):
        return ended
    if transport.stalled:
        return paramiko.AuthenticationException(_STALLED)
    if not transport.remote_version and (isinstance(ended, EOFError) or "banner" in str(ended)):
        return _NoBannerError((isinstance(line, ProxyCommand) and line.failure()) or _reason(error))
    if not transport.initial_kex_done and transport.is_active():
        return TimeoutError()
    if transport.initial_kex_done and isinstance(error, ConnectionError | EOFError):
        return paramiko.AuthenticationException(_HUNG_UP)
    return error


def _unreachable(route: _Route, error: Exception) -> UnreachableError:
    where = f"{route.address} port {route.port}"
    match error:
        case UnreachableError():
            return error
        case paramiko.BadHostKeyException():
            return _changed(route, error.key)
        case _BadAnswerError():
            return UnreachableError("bad_answer", f"{where} {_UNREADABLE} ({error})")
        case paramiko.PasswordRequiredException():
            message = "the default private key is encrypted and the agent does not hold it"
            return UnreachableError("key_locked", message, hint="ssh-add it, or name it in the inventory")
        case paramiko.AuthenticationException():
            message = f"{where} did not accept a login as {route.user}"
            if _HUNG_UP in str(error):  # sshd does, without a word, where PAM does not let the account in
                return UnreachableError("auth_failed", f"{message}, and hung up", hint=_SEE_SSHD)
            if _STALLED in str(error):
                message = f"{where} did not answer a login as {route.user} within {_LOGIN} s"
                return UnreachableError("timed_out", message, hint=_SEE_SSHD)
            keys = ", ".join(str(path) for path in route.keys)
            hint = f"the key offered was {keys}" if keys else "name a key: ansible_ssh_private_key_file"
            return UnreachableError("auth_failed", message, hint=hint)
        case paramiko.SSHException() if _KEYLESS in str(error):
            message = f"there is no key to log in to {where} with, as {route.user}"
            return UnreachableError(
                "no_key", message, hint="name one: ansible_ssh_private_key_file, or ssh-add it"
            )
        case socket.gaierror():
            return UnreachableError("unknown_host", f"the name {route.address} cannot be resolved")
        case ConnectionRefusedError():
            return UnreachableError("refused", f"{where} refused the connection", hint="is sshd running?")
        case TimeoutError():
            return UnreachableError("timed_out", f"{where} did not answer in time")
        case _:
            return UnreachableError("connect_failed", f"cannot connect to {where}: {_reason(error)}")


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


def _timeval(seconds: float) -> bytes:
    """As socket(7) takes it: seconds and microseconds."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _unless_none(text: str | None) -> str | None:
    return None if text is None or text.lower() == "none" else text
