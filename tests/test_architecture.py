"""The shape of the package: one SSH edge, a pure middle, stages that know only those before them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer import init
from deployer.remote.script import read_script

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "deployer"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
SCRIPTS = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.sh"))

SSH = "remote/ssh.py"
PURE = {
    "desired.py",
    "errors.py",
    "init/__init__.py",
    "init/state.py",
    "init/systemd.py",
    "load/dotenv.py",
    "load/inventory/model.py",
    "load/inventory/ranges.py",
    "load/schema.py",
    "observe/observation.py",
    "outcome.py",
    "plan/__init__.py",
    "plan/diff.py",
    "plan/dotenv.py",
    "plan/plan.py",
    "plan/release.py",
    "record/record.py",
    "report/answers.py",
    "report/columns.py",
    "report/events.py",
    "report/history.py",
    "report/ledgers.py",
    "report/redact.py",
    "report/releases.py",
    "rollout/batches.py",
    "rollout/gate.py",
    "secret.py",
    "target.py",
    "visible.py",
}
DOES_IO = {
    *("asyncio", "fabric", "fcntl", "getpass", "glob", "http", "io", "logging", "multiprocessing", "os"),
    *("paramiko", "pathlib", "random", "secrets", "select", "shutil", "signal", "socket", "ssl"),
    *("subprocess", "sys", "tempfile", "threading", "time", "urllib.request"),
}
CALLS_IO = {"open", "print", "input", "exec", "eval", "__import__"}
ABOVE = (
    *("deployer.cli", "deployer.run", "deployer.execute", "deployer.show"),
    *("deployer.rollout", "deployer.pipeline"),
)
STAGES = ["load", "observe", "plan", "stage", "switch", "verify", "commit"]
# Pure vocabulary of a stage that later and earlier stages may speak: what is shared is data, not work.
SHARED = {
    *("deployer.observe.observation", "deployer.plan.plan", "deployer.plan.release", "deployer.load.dotenv"),
}


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"), module)


def type_checking_only(root: ast.AST) -> set[ast.AST]:
    """All nodes below `if TYPE_CHECKING:`, which no running program sees."""
    return {
        inner
        for node in ast.walk(root)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }


def imports(module: str, *, at_run_time: bool = True) -> Iterator[str]:
    """What a module imports, `from a import b` as `a.b`; without what only types need."""
    root = tree(module)
    left_out = type_checking_only(root) if at_run_time else set()
    for node in ast.walk(root):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_only_one_module_knows_fabric_and_paramiko() -> None:
    knows = {
        module
        for module in MODULES
        for name in imports(module, at_run_time=False)
        if is_in(name, "fabric") or is_in(name, "paramiko") or is_in(name, "invoke")
    }
    assert knows == {SSH}


def test_pure_modules_exist() -> None:
    assert set(MODULES) >= PURE


@pytest.mark.parametrize("module", sorted(PURE))
def test_a_pure_module_does_no_input_or_output(module: str) -> None:
    found = {name for name in imports(module) if any(is_in(name, other) for other in DOES_IO)}
    assert found == set()
    # load/dotenv.py has one door, read_dotenv; init/systemd.py reads files of this package.
    calls = {
        node.func.id
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & CALLS_IO


@pytest.mark.parametrize("module", sorted(PURE - {"load/dotenv.py", "init/systemd.py"}))
def test_a_pure_module_touches_no_file(module: str) -> None:
    attributes = {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
    assert not attributes & {
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "exists",
        "is_file",
        "stat",
    }


@pytest.mark.parametrize("module", sorted(PURE))
def test_a_pure_module_reads_no_clock(module: str) -> None:
    attributes = {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
    assert not attributes & {"now", "utcnow", "today", "monotonic"}


@pytest.mark.parametrize("module", MODULES)
def test_no_module_has_a_name_that_says_nothing(module: str) -> None:
    assert not {"utils", "util", "helpers", "base", "core", "manager", "common", "misc"} & {
        *Path(module).with_suffix("").parts
    }


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_in_one_line_what_it_is(module: str) -> None:
    docstring = ast.get_docstring(tree(module))
    assert docstring, f"{module} has no docstring"
    assert re.search(r"[.:]$|\.`$|`\.$", docstring.splitlines()[0])


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if "/" in module and not module.startswith(("report/", "rollout/"))],
)
def test_no_stage_knows_what_calls_it(module: str) -> None:
    """Events are the exception: stages say them, and reports listen."""
    for name in imports(module, at_run_time=False):
        assert not any(is_in(name, above) for above in ABOVE), f"{module} imports {name}"
        if is_in(name, "deployer.report"):
            assert is_in(name, "deployer.report.events"), f"{module} imports {name}"


@pytest.mark.parametrize("module", [module for module in MODULES if module.split("/")[0] in STAGES])
def test_a_stage_knows_only_the_stages_before_it(module: str) -> None:
    stage = STAGES.index(module.split("/", maxsplit=1)[0])
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "deployer" or len(parts) < 2 or parts[1] not in STAGES:
            continue
        shared = any(is_in(name, other) for other in SHARED)
        assert shared or STAGES.index(parts[1]) <= stage, f"{module} imports {name}"


def test_every_script_is_sent_by_somebody_and_is_part_of_the_package() -> None:
    words = {
        node.value
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert SCRIPTS
    for script in SCRIPTS:
        assert script in words or Path(script).name in words, f"nobody sends {script}"
        text = resources.files("deployer").joinpath(script).read_text(encoding="utf-8")
        assert "\r" not in text
        assert "\t" not in text


def assembled() -> Iterator[tuple[str, str]]:
    """Every script as a host gets it, by the module that sends it."""
    for module, path in MODULES.items():
        if "read_script" not in path.read_text(encoding="utf-8"):
            continue
        for name, value in vars(import_module(f"deployer.{module[:-3].replace('/', '.')}")).items():
            if isinstance(value, tuple) and value and all(str(part).endswith(".sh") for part in value):
                yield f"{module} {name}", read_script(*value)
    for helper, text in init.helper_files().items():
        if text.startswith("#!/bin/sh"):
            yield helper, text


def test_scripts_are_sound_as_a_whole(tmp_path: Path) -> None:
    """Their parts share variables, so scripts/shellcheck cannot tell a misspelt one in a part alone."""
    names = {}
    for number, (name, text) in enumerate(assembled()):
        path = tmp_path / f"{number}.sh"
        path.write_text(text, encoding="utf-8")
        names[path.name] = name
    assert len(names) > 10
    told = ["--format=gcc", "--shell=sh", "--include=SC2154", *map(str, tmp_path.glob("*.sh"))]
    done = subprocess.run(["shellcheck", *told], capture_output=True, text=True, check=False)
    assert done.stdout == "", names


def functions(text: str) -> dict[str, str]:
    """What is done by each function of a script, and under "" outside of them."""
    bodies = {"": ""}
    name = ""
    for line in text.splitlines():
        if begun := re.match(r"([a-z_]+)\(\) ", line):
            name = begun[1]
            line = line[begun.end() :]  # noqa: PLW2901  its name is no call
        bodies[name] = f"{bodies.get(name, '')}{line}\n"
        if line in {"}", ")"} or (begun and line.endswith(("}", ")"))):
            name = ""
    return bodies


def test_a_script_has_every_function_that_it_calls() -> None:
    """A shell would only find out when it gets there."""
    parts = [
        script for script in SCRIPTS if not (PACKAGE / script).read_text(encoding="utf-8").startswith("#!")
    ]
    every = {name for part in parts for name in functions(read_script(part)) if name}
    # Where a command can stand; a word of the same letters elsewhere is an argument.
    start = r"(?:^|[;&|(!]|(?<!\$)\{|\b(?:if|then|else|elif|do|until|while)\b)"
    called = re.compile(rf"{start} *({'|'.join(every)})\b(?![(=])", re.MULTILINE)
    lacks = {}
    for name, text in assembled():
        has = functions(text)
        asked: set[str] = set()
        todo = [""]
        while todo:
            calls = {*called.findall(has.get(todo.pop(), ""))} - asked
            asked |= calls
            todo += calls
        if missing := asked - has.keys():
            lacks[name] = missing
    assert lacks == {}
    assert len(every) > 50


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_says_what_it_does_before_it_does_it(script: str) -> None:
    lines = (PACKAGE / script).read_text(encoding="utf-8").splitlines()
    assert lines[0] in {"# shellcheck shell=sh", "#!/bin/sh"}
    assert lines[1].startswith("# ")


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        *([command, "--help"] for command in ("run", "validate", "history", "releases")),
        ["history"],
    ],
)
def test_asking_for_help_loads_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys, deployer.cli\n"
        f"sys.argv = ['deployer', *{words!r}]\n"
        "try: deployer.cli.main()\n"
        "except SystemExit as error: assert not error.code, error.code\n"
        "print('LOADED', *sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "click" in loaded
    heavy = {
        "fabric",
        "paramiko",
        "pydantic",
        "rich",
        "structlog",
        "jinja2",
        "yaml",
        "backports.zstd",
        "deflate",
    }
    assert not loaded & heavy


def test_log_lines_leave_rich_alone_and_where_it_is() -> None:
    program = (
        "import sys, deployer.report.log_lines\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'rich']\n"
        "import rich.console\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_nothing_is_left_to_be_done() -> None:
    for path in PACKAGE.rglob("*"):
        if path.suffix in {".py", ".sh", ".j2", ".service"}:
            assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8")), path
