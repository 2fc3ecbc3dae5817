"""From a playbook and an inventory to plays: one fully resolved DesiredHost for every host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from deployer.desired import (
    Binary,
    CommandTask,
    DesiredHost,
    Healthcheck,
    Play,
    Service,
    ServiceTask,
    Strategy,
)
from deployer.errors import LoadError, Problem, did_you_mean
from deployer.load.binary import read_binary
from deployer.load.dotenv import read_dotenv, why_not_name, why_not_value
from deployer.load.inventory import OutsideLimitError, select, split_pattern
from deployer.load.schema import MAX_WORDS, MODULES, STRATEGY_KEYS, PlayModel, TaskModel
from deployer.load.target import BadVariableError, make_target
from deployer.load.template import TemplateFailure, Variables, is_template
from deployer.load.validation import Rendered, validate, without
from deployer.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deployer.desired import Task
    from deployer.errors import Mark
    from deployer.load.inventory import Host, Inventory
    from deployer.load.options import ConnectionOptions
    from deployer.load.schema import HealthcheckModel, ServiceModel
    from deployer.load.yaml import Document, Place

_Model = TypeVar("_Model", bound=BaseModel)


def read_plays(
    document: Document,
    inventory: Inventory,
    *,
    limit: str | None,
    extra_vars: Mapping[str, Any],
    options: ConnectionOptions,
    environ: Mapping[str, str],
    with_files: bool = True,
) -> tuple[Play, ...]:
    """Resolve every play for every host it names; without files, services have no binary and no environment.

    Raises:
        LoadError: with every mistake in the playbook, and in the files and variables it uses.

    """
    if not isinstance(document.value, list) or not document.value:
        message = "a playbook is a list of plays, each with hosts and tasks"
        raise LoadError([Problem(message=message, mark=document.mark(()))])
    reader = _Reader(
        document=document,
        inventory=inventory,
        limit=limit,
        extra_vars=extra_vars,
        options=options,
        environ=environ,
        with_files=with_files,
    )
    plays = [reader.play(index) for index in range(len(document.value))]
    if reader.problems:
        raise LoadError(reader.problems)
    # As in Ansible, --limit may leave a play without hosts, but not all of them.
    found = tuple(play for play in plays if play is not None)
    if not found:
        raise LoadError(reader.outside_limit)
    return found


class _Reader:
    """Reads one document; collects problems instead of stopping at the first."""

    def __init__(
        self,
        *,
        document: Document,
        inventory: Inventory,
        limit: str | None,
        extra_vars: Mapping[str, Any],
        options: ConnectionOptions,
        environ: Mapping[str, str],
        with_files: bool,
    ) -> None:
        self.problems: list[Problem] = []
        self.outside_limit: list[Problem] = []
        self._failed_on: dict[Problem, list[str]] = {}  # a failed template -> hosts
        self._document = document
        self._folder = Path(document.file).parent
        self._inventory = inventory
        self._limit = limit
        self._extra_vars = extra_vars
        self._options = options
        self._environ = environ
        self._with_files = with_files
        self._binaries: dict[Path, Binary | str] = {}
        self._tasks: dict[tuple[Place, str], Task | None] = {}

    def _problem(self, message: str, mark: Mark | None, hint: str = "") -> None:
        self.problems.append(Problem(message=message, mark=mark, hint=hint))

    def _validate(self, kind: type[_Model], rendered: Rendered) -> _Model | None:
        model, problems = validate(kind, rendered)
        self.problems.extend(problems)
        return model

    # -- plays ------------------------------------------------------------------------------------------

    def play(self, index: int) -> Play | None:
        place: Place = (index,)
        raw = self._document.value[index]
        if not isinstance(raw, dict):
            self._problem("a play is a mapping with hosts and tasks", self._document.mark(place))
            return None
        model = self._validate(PlayModel, self._render_strategy(raw, place))
        sound = [
            number for number in range(_length(raw, "tasks")) if self._task_shape((*place, "tasks", number))
        ]
        if raw.get("tasks", []) == []:
            self._problem("the play has no tasks", self._document.key_mark((*place, "tasks")))
        if model is None:
            return None
        hosts = self._select(model, place)
        desired = [self._host(host, model, place, sound) for host in hosts]
        self._tell_failed_templates(len(hosts))
        name = model.name or _joined(model.hosts)
        if not hosts:
            return None
        found = tuple(host for host in desired if host is not None)
        return Play(name=name, hosts=found, strategy=_strategy(model))

    def _render_strategy(self, raw: dict[str, Any], place: Place) -> Rendered:
        """The play with the templates of its strategy rendered; like `hosts`, they belong to no host."""
        own = raw.get("vars")
        variables = Variables({**(own if isinstance(own, dict) else {}), **self._extra_vars})
        templated: set[Place] = set()
        broken: set[Place] = set()

        def render(value: Any, at: Place) -> Any:
            if isinstance(value, list):
                return [render(item, (*at, index)) for index, item in enumerate(value)]
            if not is_template(value):
                return value
            templated.add((*place, *at))
            try:
                return variables.render(value)
            except TemplateFailure as failure:
                self._problem(f"{at[0]}: {failure}", self._document.mark((*place, *at)))
                broken.add(at[:1])
                return None

        value = {key: render(item, (key,)) if key in STRATEGY_KEYS else item for key, item in raw.items()}
        return Rendered(
            document=self._document,
            place=place,
            value=without(value, broken),
            templated=frozenset(templated),
            broken=frozenset(broken),
        )

    def _tell_failed_templates(self, hosts: int) -> None:
        """Once each; and if they fail on some hosts only, on which."""
        for problem, names in self._failed_on.items():
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            hint = f"on {names[0]}{others}" if len(names) < hosts else problem.hint
            self.problems.append(replace(problem, hint=hint))
        self._failed_on.clear()

    def _select(self, model: PlayModel, place: Place) -> tuple[Host, ...]:
        mark = self._document.mark((*place, "hosts"))
        try:
            pattern = Variables({**model.vars, **self._extra_vars}).render(_joined(model.hosts))
            return select(self._inventory, str(pattern), mark=mark, limit=self._limit)
        except TemplateFailure as failure:
            self._problem(f"hosts: {failure}", mark)
        except OutsideLimitError as error:
            self.outside_limit.extend(error.problems)
        except LoadError as error:
            self.problems.extend(error.problems)
        return ()

    def _task_shape(self, place: Place) -> bool:
        """Check what needs no host: exactly one module, known keys."""
        raw = _at(self._document.value, place)
        mark = self._document.mark(place)
        if not isinstance(raw, dict):
            self._problem("a task is a mapping such as `service: {...}`", mark)
            return False
        unknown = [key for key in raw if key not in TaskModel.model_fields]
        for key in unknown:
            hint = did_you_mean(str(key), TaskModel.model_fields)
            hint = hint or f"a task has name, run_once and one of {', '.join(MODULES)}"
            self._problem(f"unknown key {str(key)!r} in a task", self._document.key_mark((*place, key)), hint)
        modules = [key for key in MODULES if key in raw]
        if not unknown and len(modules) != 1:
            self._problem(f"a task must have exactly one of {', '.join(MODULES)}", mark)
        if raw.get("run_once") is True and "service" in raw:
            key_mark = self._document.key_mark((*place, "run_once"))
            self._problem("run_once belongs to command tasks; a service goes to every host", key_mark)
        return not unknown and len(modules) == 1

    # -- hosts ------------------------------------------------------------------------------------------

    def _host(self, host: Host, model: PlayModel, place: Place, sound: Sequence[int]) -> DesiredHost | None:
        before = len(self.problems)
        variables = Variables(
            {
                **host.vars,
                **model.vars,
                **self._extra_vars,
                "inventory_hostname": host.name,
                "inventory_hostname_short": host.name.split(".")[0],
                "group_names": list(host.groups),
                "groups": {name: list(members) for name, members in self._inventory.groups.items()},
                "playbook_dir": str(self._folder),
            }
        )
        tasks: list[Task] = []
        names: dict[str, Mark] = {}
        for number in sound:
            task_place = (*place, "tasks", number)
            task = self._task(task_place, variables, host.name)
            if isinstance(task, ServiceTask):
                self._claim_name(task.service.name, task_place, names)
            if task is not None:
                tasks.append(task)
        try:
            target = make_target(
                name=host.name,
                variables=variables,
                origins=host.origins,
                play=model,
                options=self._options,
            )
        except BadVariableError as error:
            self.problems.append(error.problem)
        if len(self.problems) > before or self._failed_on:
            return None
        return DesiredHost(name=host.name, target=target, tasks=tuple(tasks))

    def _claim_name(self, name: str, task_place: Place, names: dict[str, Mark]) -> None:
        mark = self._document.mark((*task_place, "service", "name"))
        if name in names:
            first = names[name]
            self._problem(
                f"two tasks deploy the service {name!r} to one host",
                mark,
                f"the other is at line {first.line}",
            )
        names.setdefault(name, mark)

    # -- tasks ------------------------------------------------------------------------------------------

    def _task(self, place: Place, variables: Variables, host: str) -> Task | None:
        rendered = self._render(place, variables, host)
        if rendered.broken:
            self._resolve(rendered, place)  # for the mistakes in the rest of it
            return None
        key = (place, repr(rendered.value))
        if key not in self._tasks:  # most hosts get the same task
            self._tasks[key] = self._resolve(rendered, place)
        return self._tasks[key]

    def _render(self, place: Place, variables: Variables, host: str) -> Rendered:
        templated: set[Place] = set()
        broken: set[Place] = set()

        def render(value: Any, at: Place) -> Any:
            if isinstance(value, dict):
                return {key: render(item, (*at, key)) for key, item in value.items()}
            if isinstance(value, list):
                return [render(item, (*at, index)) for index, item in enumerate(value)]
            if is_template(value):
                templated.add(at)
                try:
                    return variables.render(value)
                except TemplateFailure as failure:
                    problem = Problem(message=str(failure), mark=self._document.mark(at))
                    self._failed_on.setdefault(problem, []).append(host)
                    broken.add(at[len(place) :])
                    return None
            if at[-2:-1] == ("environment",) and value is not None:
                # As typed: YAML would make 1.1 of 1.10 and True of yes.
                return self._document.scalars.get(at, value)
            return value

        value = render(_at(self._document.value, place), place)
        return Rendered(
            document=self._document,
            place=place,
            value=without(value, broken),
            templated=frozenset(templated),
            broken=frozenset(broken),
        )

    def _resolve(self, rendered: Rendered, place: Place) -> Task | None:
        model = self._validate(TaskModel, rendered)
        if model is None:
            return None
        for module in MODULES:
            if rendered.value.get(module, "") is None:
                self._problem(f"{module} is empty", self._document.key_mark((*place, module)))
        if model.command is not None:
            # As it was typed: what a template puts into it may be a secret.
            name = model.name or _as_typed(_at(self._document.value, (*place, "command")))
            return CommandTask(name=name, argv=tuple(model.command), run_once=model.run_once)
        if model.service is None:
            return None
        service = self._service(model.service, (*place, "service"))
        if service is None:
            return None
        return ServiceTask(name=model.name or service.name, service=service)

    def _service(self, model: ServiceModel, place: Place) -> Service | None:
        binary: Binary | None
        environment: tuple[tuple[str, Secret], ...] | None
        if self._with_files:
            binary = self._binary(model.binary, (*place, "binary"))
            environment = self._environment(model, place)
        else:
            path = self._folder / model.binary
            binary = Binary(path=path, name=path.name, sha256="", blake2b="", size=0, machine=None)
            environment = ()
        if binary is None or environment is None:
            return None
        if binary.name in {".env", "release.json", f"{model.name}.service"}:
            message = f"binary: a release has a file {binary.name} of its own"
            self._problem(message, self._document.mark((*place, "binary")), "give the binary another name")
            return None
        if why := _why_not_started(model.command, environment):
            self._problem(why, self._document.mark(place))
            return None
        return Service(
            name=model.name,
            binary=binary,
            command=tuple(model.command),
            environment=environment,
            user=model.user or self._default_user(model, place),
            restart=model.restart,
            ports=tuple(model.ports),
            healthcheck=_healthcheck(model.healthcheck),
            stop_grace_period=model.stop_grace_period,
            keep_releases=model.keep_releases,
        )

    def _default_user(self, model: ServiceModel, place: Place) -> str:
        name = model.name.replace(".", "-")[:32].rstrip("-")
        if not name[0].isalpha():
            mark = self._document.mark((*place, "name"))
            self._problem(f"{name!r} cannot be a user name too", mark, "give the service a `user:`")
        return name

    def _binary(self, text: str, place: Place) -> Binary | None:
        path = self._folder / Path(text).expanduser()
        if path not in self._binaries:
            try:
                self._binaries[path] = read_binary(path)
            except ValueError as error:
                self._binaries[path] = str(error)
        found = self._binaries[path]
        if isinstance(found, str):
            self._problem(f"binary: {found}", self._document.mark(place))
            return None
        return found

    def _environment(self, model: ServiceModel, place: Place) -> tuple[tuple[str, Secret], ...] | None:
        """env_file, then `environment` over it, as Compose merges them."""
        before = len(self.problems)
        own: dict[str, Secret] = {}
        for key, value, at in _environment_items(model.environment, (*place, "environment")):
            if isinstance(value, dict | list):
                self._problem(f"environment: {key} must be text or a number", self._document.key_mark(at))
                continue
            if value is None:  # Compose: taken from the environment of whoever runs this
                value = self._environ.get(key)  # noqa: PLW2901
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if why := why_not_name(key) or (value is not None and why_not_value(key, text)):
                self._problem(f"environment: {why}", self._document.key_mark(at))
            elif value is not None:
                own[key] = Secret(text)
        files = [model.env_file] if isinstance(model.env_file, str) else model.env_file
        # Compose looks names up in `environment:` too when it reads an env_file.
        environ = {key: secret.reveal() for key, secret in own.items()} | dict(self._environ)
        merged: dict[str, Secret] = {}
        for name in files:
            try:
                merged |= read_dotenv(self._folder / Path(name).expanduser(), environ=environ)
            except LoadError as error:
                mark = self._document.mark((*place, "env_file"))
                self.problems.extend(
                    problem if problem.mark else Problem(message=f"env_file: {problem.message}", mark=mark)
                    for problem in error.problems
                )
        return None if len(self.problems) > before else tuple((merged | own).items())


def _strategy(model: PlayModel) -> Strategy:
    return Strategy(
        serial=model.serial,
        max_fail_percentage=model.max_fail_percentage,
        max_unreachable_percentage=model.max_unreachable_percentage,
        on_failure=model.on_failure,
        pause=model.pause,
    )


def _healthcheck(model: HealthcheckModel) -> Healthcheck:
    return Healthcheck(
        test=None if model.disable else model.test,
        interval=model.interval,
        timeout=model.timeout,
        retries=model.retries,
        start_period=model.start_period,
        start_interval=model.start_interval,
        stay_up=model.stay_up,
    )


def _why_not_started(command: Sequence[str], environment: Sequence[tuple[str, Secret]]) -> str:
    """Why execve(2) would take no program with these; "" if it would."""
    words = (*command, *(f"{name}={value.reveal()}" for name, value in environment))
    total = sum(len(word.encode(errors="surrogatepass")) for word in words)
    if total > MAX_WORDS:
        return f"environment and command have {total} bytes, and no more than {MAX_WORDS} can be passed on"
    return ""


def _environment_items(
    environment: dict[str, Any] | list[str], place: Place
) -> Iterator[tuple[str, Any, Place]]:
    if isinstance(environment, dict):
        for key, value in environment.items():
            yield str(key), value, (*place, key)
    else:
        for index, item in enumerate(environment):
            key, equals, value = item.partition("=")
            yield key, value if equals else None, (*place, index)


def _as_typed(command: str | list[Any]) -> str:
    return command if isinstance(command, str) else " ".join(map(str, command))


def _at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value


def _length(raw: dict[str, Any], key: str) -> int:
    return len(raw[key]) if isinstance(raw.get(key), list) else 0


def _joined(hosts: str | list[str]) -> str:
    """One pattern; the items of a list are split one by one, as Ansible does."""
    if isinstance(hosts, str):
        return hosts
    return ",".join(part for item in hosts for part in split_pattern(item))
