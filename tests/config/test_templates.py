from __future__ import annotations

import tomllib

import pytest

from hyperserver.config import Config, from_mapping
from hyperserver.config.templates import KINDS, files_for, next_step


@pytest.mark.parametrize("kind", KINDS)
def test_every_template_is_right_and_says_what_it_sets(kind: str) -> None:
    files = files_for(kind, "shop:app", "/srv/shop", "/usr/bin/hyperserver")
    text = files["hyperserver.toml"]
    config = from_mapping(tomllib.loads(text))
    assert config.app == "shop:app"
    assert text.startswith("# ")
    assert "\n# The application, as " in text
    assert next_step(kind)


def load(kind: str) -> Config:
    text = files_for(kind, "a:b", "/srv/shop", "/usr/bin/hyperserver")["hyperserver.toml"]
    return from_mapping(tomllib.loads(text))


def test_what_each_is_for() -> None:
    dev, edge, container = map(load, ("dev", "edge", "container"))
    assert dev.listen[0].bind == ("127.0.0.1:8000",)
    assert edge.listen[0].tls
    secure, plain = edge.listen
    assert secure.bind == ("0.0.0.0:443", "[::]:443")
    assert secure.hsts == 180 * 86_400
    assert plain.bind == ("0.0.0.0:80", "[::]:80")
    assert (plain.redirect, plain.acme_webroot) == ("https", "acme")
    assert plain.names
    timeouts = container.timeouts
    assert timeouts.drain + timeouts.shutdown < 10


def test_the_unit_and_the_image() -> None:
    unit = files_for("systemd", "a:b", "/srv/shop", "/usr/bin/hyperserver")["hyperserver.service"]
    assert "ExecStart=/usr/bin/hyperserver --config /srv/shop/hyperserver.toml\n" in unit
    assert "RestartPreventExitStatus=2 3 78\n" in unit
    stop = int(unit.partition("TimeoutStopSec=")[2].partition("\n")[0])
    timeouts = load("systemd").timeouts
    assert stop > timeouts.drain + timeouts.shutdown
    assert 'CMD ["hyperserver"]' in files_for("container", "a:b", "/", "h")["Dockerfile"]
