from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import pytest

import hyperserver.config as public
from hyperserver.config import (
    TLS,
    Certificate,
    ClientAuth,
    Config,
    Limits,
    Listen,
    Timeouts,
    schema,
)
from hyperserver.errors import ConfigError
from hyperserver.protocol.interface import Limits as EngineLimits


def tables() -> Iterator[tuple[str, type[Any]]]:
    """Each table's name in a file, with its dataclass."""
    yield "", Config
    for name, hint in get_type_hints(Config).items():
        if name == "listen":
            yield name, Listen
        elif dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            yield name, hint


def settings() -> list[tuple[str, dataclasses.Field[Any]]]:
    """Every setting, by its dotted key."""
    return [
        (f"{table}.{field.name}".lstrip("."), field)
        for table, cls in tables()
        for field in dataclasses.fields(cls)
        if table or field.name not in dict(tables())
    ]


SETTINGS = settings()


def test_every_table_is_found() -> None:
    assert [name for name, _ in tables()] == [
        "", "listen", "process", "tls", "limits", "timeouts", "http1", "http2",
        "websocket", "proxy", "wsgi", "log", "recycle",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "field"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_every_setting_is_documented(name: str, field: dataclasses.Field[Any]) -> None:
    doc = field.metadata["doc"]
    assert doc
    assert doc[-1] == "."


@pytest.mark.parametrize(("name", "field"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_every_default_obeys_its_own_rules(name: str, field: dataclasses.Field[Any]) -> None:
    choices, minimum, maximum = (field.metadata[k] for k in ("choices", "minimum", "maximum"))
    if choices and field.default is not None:
        values = field.default if isinstance(field.default, tuple) else (field.default,)
        assert set(values) <= set(choices)
    if minimum is not None and field.default is not None:
        assert field.default >= minimum
    if maximum is not None and field.default is not None:
        assert field.default <= maximum


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Timeouts)])
def test_every_timeout_is_finite_by_default(name: str) -> None:
    least = -1 if name == "shutdown_delay" else 0  # which is a choice, and no bound
    assert least < getattr(Timeouts(), name) < 3600


def test_nothing_can_be_changed_by_accident() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().app = "other:app"  # type: ignore[misc]
    for _, cls in tables():
        assert hash(cls()) == hash(cls())


def test_two_default_configurations_are_equal() -> None:
    assert Config() == Config()


@pytest.mark.parametrize("root_path", ["shop", "/shop/", "/", "https://a/shop"])
def test_a_root_path_of_the_wrong_form_is_refused(root_path: str) -> None:
    with pytest.raises(ConfigError, match="`root_path`: must begin with"):
        Config(root_path=root_path)


@pytest.mark.parametrize("root_path", ["", "/shop", "/a/b"])
def test_a_root_path_of_the_right_form_is_kept(root_path: str) -> None:
    assert Config(root_path=root_path).root_path == root_path


WITH_TLS = TLS(certificate="c.pem", key="k.pem")


def test_tls_for_one_of_two_listeners() -> None:
    listen = (Listen(bind=("a:80",)), Listen(bind=("a:443",), tls=True))
    assert Config(listen=listen, tls=WITH_TLS).listen == listen


def test_a_certificate_without_a_key_is_refused_and_never_plaintext() -> None:
    with pytest.raises(ConfigError, match=r"`tls\.certificate`: needs `tls\.key` beside it"):
        TLS(certificate="c.pem")
    with pytest.raises(ConfigError, match=r"`tls\.key`: needs `tls\.certificate` beside it"):
        TLS(key="k.pem")


def test_a_listener_that_speaks_tls_needs_a_certificate() -> None:
    with pytest.raises(ConfigError, match=r"`listen\[1\]\.tls`: needs `tls\.certificate`"):
        Config(listen=(Listen(), Listen(tls=True)))


def test_a_certificate_needs_a_listener_that_speaks_tls() -> None:
    with pytest.raises(ConfigError, match=r"`tls`: no listener uses it; set `tls = true` in a"):
        Config(tls=WITH_TLS)


# ---- TLS: what contradicts what ----------------------------------------------------------------

ONE = Certificate(certificate="c.pem", key="k.pem")


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: TLS(certificate="c", key="k", certificates=(ONE,)), "as the first of those"),
        (lambda: TLS(dev=True, certificates=(ONE,)), "`tls.dev`: makes a certificate of its own"),
        (lambda: TLS(dev=True, certificate="c", key="k"), "`tls.dev`"),
        (lambda: TLS(profile="modern", minimum_version="1.2"), "contradicts `tls.profile`"),
        (lambda: TLS(key_password_file="p"), "`tls.key_password_file`: needs `tls.key` beside"),
        (lambda: TLS(key_password_env="P"), "`tls.key_password_env`: needs `tls.key` beside"),
        (lambda: TLS(client_auth=ClientAuth("required", "ca")), "`tls.client_auth`: needs"),
        (
            lambda: TLS(certificate="c", key="k", key_password_file="p", key_password_env="P"),
            "`tls.key_password_file`: contradicts",
        ),
        (
            lambda: Certificate("c", "k", key_password_file="p", key_password_env="P"),
            "contradicts `tls.certificates.key_password_env`",
        ),
        (lambda: ClientAuth(mode="required"), '"required" needs `tls.client_auth.ca`'),
        (lambda: ClientAuth(ca="ca.pem"), "`tls.client_auth.ca`: needs `tls.client_auth.mode"),
        (lambda: ClientAuth(crl="crl.pem"), "`tls.client_auth.crl`: needs"),
        (lambda: Listen(redirect="https"), "needs `listen.names`"),
        (lambda: Listen(redirect="https", names=("a",), tls=True), "speaks TLS already"),
        (lambda: Listen(names=("a",)), "`listen.names`: needs `listen.redirect"),
        (lambda: Listen(redirect="https", names=("http://a",)), "'http://a' is not a host name"),
        (lambda: Listen(hsts=3600.0), "`listen.hsts`: needs `listen.tls` = true"),
        (lambda: Listen(alt_svc="a\nb"), "cannot stand in a field"),
    ],
)
def test_contradictions(build: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        build()


def test_contradictions_are_all_told() -> None:
    with pytest.raises(ConfigError) as caught:
        TLS(dev=True, key="k", certificates=(ONE,), profile="modern", minimum_version="1.2")
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "`tls.key`", "`tls.dev`", "`tls.minimum_version`",
    ]  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        Listen(redirect="https", tls=True, hsts=1.0, alt_svc="\n", names=("a b", "c", "d/"))
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "`listen.redirect`", "`listen.names[0]`", "`listen.names[2]`", "`listen.alt_svc`",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.test", "a.test:8443", "[::1]:443", "localhost", "192.0.2.1"])
def test_names_that_a_redirect_may_lead_to(name: str) -> None:
    assert Listen(redirect="https", names=(name,)).names == (name,)


def test_one_certificate_is_a_list_of_one() -> None:
    assert WITH_TLS.entries() == (ONE,)
    assert TLS(certificates=(ONE, ONE)).entries() == (ONE, ONE)
    assert TLS(dev=True).is_set_up
    assert not TLS().is_set_up


def test_the_package_offers_every_table() -> None:
    classes = {name for name, _ in inspect.getmembers(schema, dataclasses.is_dataclass)}
    assert classes <= set(public.__all__)


def test_defaults_agree_with_those_of_the_engines() -> None:
    limits, timeouts, engine = Limits(), Timeouts(), EngineLimits()
    assert engine == EngineLimits(
        max_head_size=limits.request_head,
        max_target_size=limits.request_target,
        max_fields=limits.request_fields,
        max_body_size=limits.request_body,
        request_head_timeout=timeouts.request_head,
        keep_alive_timeout=timeouts.keep_alive,
        request_body_timeout=timeouts.request_body,
        min_body_rate=timeouts.min_body_rate,
        linger_timeout=timeouts.linger,
    )
