"""The files in examples/deploy: they go together with the configuration, and with one another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hyperserver.cli.flags import build_parser
from hyperserver.config import Config, load_file

DEPLOY = Path(__file__).resolve().parent.parent / "examples" / "deploy"


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def ending(config: Config) -> float:
    """Seconds that stopping may take."""
    timeouts = config.timeouts
    return timeouts.shutdown_delay + timeouts.drain + timeouts.shutdown


def test_the_service_gives_the_server_enough_time() -> None:
    found = re.search(r"(?m)^TimeoutStopSec=(\d+)$", text("hyperserver.service"))
    assert found
    assert int(found[1]) > ending(load_file(DEPLOY / "systemd.toml"))


def test_the_service_is_given_the_sockets_that_it_asks_for() -> None:
    found = re.search(r"(?m)^FileDescriptorName=(.+)$", text("hyperserver.socket"))
    assert found
    binds = [bind for one in load_file(DEPLOY / "systemd.toml").listen for bind in one.bind]
    assert binds == [f"systemd:{found[1]}"]


def test_the_service_is_started_as_the_command_line_has_it() -> None:
    found = re.search(r"(?m)^ExecStart=\S+/hyperserver (.+)$", text("hyperserver.service"))
    assert found
    assert build_parser().parse_args(found[1].split()).config == "/srv/shop/hyperserver.toml"


def test_the_service_is_not_started_again_where_that_would_not_help() -> None:
    found = re.search(r"(?m)^RestartPreventExitStatus=(.+)$", text("hyperserver.service"))
    assert found
    assert found[1].split() == ["2", "3", "78"]


def test_a_pod_gives_the_server_enough_time() -> None:
    found = re.search(r"terminationGracePeriodSeconds: (\d+)", text("kubernetes.yaml"))
    assert found
    config = load_file(DEPLOY / "container.toml")
    assert config.timeouts.shutdown_delay > 0
    assert int(found[1]) > ending(config)


def test_the_container_listens_where_it_is_looked_for() -> None:
    binds = [bind for one in load_file(DEPLOY / "container.toml").listen for bind in one.bind]
    (port,) = {bind.rpartition(":")[2] for bind in binds}
    assert re.search(rf"(?m)^EXPOSE {port}$", text("Dockerfile"))
    assert f"containerPort: {port}" in text("kubernetes.yaml")


@pytest.mark.parametrize("path", sorted(DEPLOY.iterdir()), ids=lambda path: path.name)
def test_every_file_is_explained(path: Path) -> None:
    page = (DEPLOY.parent.parent / "docs" / "deployment.md").read_text(encoding="utf-8")
    used = text("Dockerfile")
    assert f"examples/deploy/{path.name})" in page or path.name in used
