"""What the documentation shows is true: its playbooks load, its commands parse, its links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from deployer.cli import cli
from deployer.load import ConnectionOptions
from deployer.load.inventory import read_inventory
from deployer.load.playbook import read_plays
from deployer.load.schema import HealthcheckModel, PlayModel, ServiceModel
from deployer.load.yaml import parse_yaml
from deployer.outcome import NAMES, ExitCode
from deployer.record.record import as_plain, parse_record
from deployer.report import events

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"(?:^\$ |`|^    |^ +)(deployer (?:run|validate|history|releases) [^`\n#|]*)", re.MULTILINE
)


def _sample(folder: Path) -> Path:
    """The folder that the documentation's playbooks stand in, with what they name."""
    binary = folder / "examples/gin-api/dist/gin-api-template"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    (folder / "examples/gin-api/.env").write_bytes((ROOT / "examples/gin-api/.env").read_bytes())
    (folder / "playbooks").mkdir()
    return folder / "playbooks"


def _blocks() -> list[tuple[str, str]]:
    found = [
        (f"{page.name}-{n}", text) for page in PAGES for n, text in enumerate(BLOCK.findall(page.read_text()))
    ]
    found += [(path.name, path.read_text()) for path in sorted((ROOT / "playbooks").glob("*.yml"))]
    return found


@pytest.mark.parametrize(("name", "text"), _blocks(), ids=[name for name, _ in _blocks()])
def test_every_yaml_in_the_docs_loads(name: str, text: str, tmp_path: Path) -> None:
    folder = _sample(tmp_path)
    if isinstance(yaml.safe_load(text), dict):
        inventory = folder / "inventory.yml"
        inventory.write_text(text)
        assert read_inventory([inventory]).hosts, name
        return
    if name == "drill.yml":
        drill = tmp_path / "examples/gin-api/dist/never-healthy/gin-api-template"
        drill.parent.mkdir()
        drill.write_text("#!/bin/sh\n")
    hosts = folder / "hosts.yml"
    hosts.write_text("web: {hosts: {web1: , web2: , web3: }}\n")
    plays = read_plays(
        parse_yaml(text, str(folder / "prod.yml")),
        read_inventory([hosts]),
        limit=None,
        extra_vars={},
        options=ConnectionOptions(),
        environ={},
    )
    assert plays[0].hosts[0].tasks


def _commands() -> list[str]:
    texts = [page.read_text() for page in PAGES]
    texts += [command.epilog or "" for command in cli.commands.values()]
    texts += [cli.help or ""]
    found = {match.strip() for text in texts for match in COMMAND.findall(text)}
    assert len(found) > 10
    return sorted(found)


@pytest.mark.parametrize("line", _commands())
def test_every_command_in_the_docs_parses(line: str) -> None:
    words = shlex.split(line.split("  ", maxsplit=1)[0])[1:]
    words = ["PLAYBOOK" if word.startswith("PLAYBOOK") else word for word in words if word != "..."]
    command = cli.commands[words[0]]
    # click keeps the first help option that it makes, for the tests of the help as well.
    with click.Context(command, **cli.context_settings) as context:
        command.parse_args(context, words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs/playbook.md").read_text()
    for model in (PlayModel, ServiceModel, HealthcheckModel):
        for key in model.model_fields:
            assert f"`{key}`" in text, f"{model.__name__}.{key}"


def test_every_outcome_event_and_exit_code_is_documented() -> None:
    text = (ROOT / "docs/output.md").read_text()
    for name in NAMES.values():
        assert f"`{name.replace(' ', '_').replace('-', '_')}`" in text
    for event in events.Event.__args__:
        if event is not events.UploadProgressed:  # a tick for terminals, not in the JSON
            assert f"`{event.name}`" in text
    for code in ExitCode:
        assert f"| {code.value} |" in text


def test_the_record_in_the_docs_is_one() -> None:
    (text,) = re.findall(
        r"^```json\n(.*?)^```", (ROOT / "docs/history.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert as_plain(parse_record(text)) == json.loads(text)


def test_the_readme_fits_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110
