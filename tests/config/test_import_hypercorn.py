from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hyperserver.config import ClientAuth, Config, from_mapping
from hyperserver.config import import_hypercorn as module
from hyperserver.config.import_hypercorn import Translation, import_hypercorn
from hyperserver.config.settings import walk
from hyperserver.errors import ConfigError


def translate(tmp_path: Path, text: str) -> tuple[Config, Translation]:
    path = tmp_path / "hypercorn.toml"
    path.write_text(text, encoding="utf-8")
    translation = import_hypercorn(str(path))
    return from_mapping(tomllib.loads(translation.text)), translation


REALISTIC = """\
# our server
application_path = "shop.asgi:app"
bind = ["0.0.0.0:443", "[::]:443", "unix:/run/shop.sock"]
insecure_bind = "0.0.0.0:80"
certfile = "/etc/tls/fullchain.pem"
keyfile = "/etc/tls/privkey.pem"
backlog = 512
umask = 0o007
worker_class = "trio"
workers = 4
loglevel = "WARNING"
accesslog = "-"
graceful_timeout = 10
keep_alive_timeout = 65.5
shutdown_timeout = 20
h2_max_concurrent_streams = 200
h2_max_inbound_frame_size = 32768
h11_max_incomplete_size = 32768
include_server_header = false
root_path = "/shop/"
alpn_protocols = ["h2", "http/1.1"]
ciphers = "ECDHE+AESGCM"
verify_mode = "CERT_REQUIRED"
ca_certs = "/etc/tls/ca.pem"
statsd_host = "localhost:8125"
websocket_ping_interval = 20
websocket_max_message_size = 1048576
alt_svc_headers = ["h3=\\":443\\"", "h3=\\":8443\\""]
"""


def test_a_realistic_file(tmp_path: Path) -> None:
    config, translation = translate(tmp_path, REALISTIC)
    assert (config.app, config.workers) == ("shop.asgi:app", 4)
    assert (config.worker, config.root_path, config.server_header) == ("trio", "/shop", False)
    secure, insecure = config.listen
    assert secure.bind == ("0.0.0.0:443", "[::]:443", "unix:/run/shop.sock")
    assert (secure.tls, secure.backlog, secure.mode) == (True, 512, 0o660)
    assert (insecure.bind, insecure.tls) == (("0.0.0.0:80",), False)
    assert (config.tls.certificate, config.tls.key) == ("/etc/tls/fullchain.pem", "/etc/tls/privkey.pem")  # fmt: skip
    assert config.tls.client_auth == ClientAuth("required", "/etc/tls/ca.pem")
    assert secure.alt_svc == insecure.alt_svc == 'h3=":443", h3=":8443"'
    timeouts = config.timeouts
    assert (timeouts.drain, timeouts.keep_alive, timeouts.shutdown) == (10, 65.5, 20)
    assert (config.http2.max_concurrent_streams, config.http2.max_frame_size) == (200, 32_768)
    assert (config.websocket.ping_interval, config.websocket.max_message_size) == (20, 1_048_576)
    assert config.log.level == "warning"
    assert [note.split(": ")[1] for note in translation.notes] == [
        "accesslog", "ciphers", "statsd_host",
    ]  # fmt: skip
    for note in translation.notes:
        assert f"# * {note}\n" in translation.text
    place, key, what = translation.notes[0].split(": ", 2)
    assert (place, key) == (f"{tmp_path}/hypercorn.toml:12", "accesslog")
    assert what.startswith("access lines go to standard output")


def test_every_key_of_the_old_server_is_known(tmp_path: Path) -> None:
    hypercorn = pytest.importorskip("hypercorn.config")
    names = {name for name in vars(hypercorn.Config) if not name.startswith("_")}
    ours = {*module._MOVED, *module._LISTENERS, *module._TLS, *module._CLIENTS, *module._INSTEAD}
    assert ours <= names | set(hypercorn.Config.__annotations__)


def test_every_target_exists() -> None:
    known = {each.dotted for each in walk(Config)}
    assert {target for target, _ in module._MOVED.values()} <= known


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ('worker_class = "gevent"', "'gevent' cannot be translated: only asyncio, uvloop and trio"),
        ('loglevel = "TRACE"', "'TRACE' cannot be translated: only debug, info,"),
        ("loglevel = 5", "5 cannot be translated: "),
        ('graceful_timeout = "soon"', "'soon' cannot be translated: "),
        ('alpn_protocols = ["h3"]', "['h3'] cannot be translated: only h2 and http/1.1"),
        ("websockets = true", "there is no counterpart"),
        ('quic_bind = "x:1"', "HTTP/3 is not spoken"),
        ("graceful_timeout = 0", "0 cannot be translated: must be more than zero"),
        ("root_path = 5", "5 cannot be translated"),
        ("umask = 'x'", "'x' cannot be translated"),
        ("keyfile_password = 'x'", "write it into a file that the server alone can read"),
        ('alt_svc_headers = ["\\n"]', "['\\n'] cannot be translated: `listen.alt_svc`"),
        ("alt_svc_headers = [5]", "[5] cannot be translated"),
        ('verify_mode = "CERT_REQUIRED"', "has no effect without a certificate"),
    ],
)
def test_what_cannot_be_translated_is_said(tmp_path: Path, line: str, note: str) -> None:
    _, translation = translate(tmp_path, line)
    (said,) = translation.notes
    assert said.startswith(f"{tmp_path}/hypercorn.toml:1: {line.partition(' ')[0]}: {note}")


@pytest.mark.parametrize(
    ("old", "app", "interface"),
    [
        ("wsgi:shop.wsgi:app", "shop.wsgi:app", "wsgi"),
        ("asgi:shop.asgi:app", "shop.asgi:app", "auto"),
        ("wsgi:app", "wsgi:app", "auto"),
    ],
)
def test_the_interface_of_an_application(
    tmp_path: Path, old: str, app: str, interface: str
) -> None:
    config, translation = translate(tmp_path, f'application_path = "{old}"')
    assert (config.app, config.interface) == (app, interface)
    assert not translation.notes


def test_the_default_address_is_kept(tmp_path: Path) -> None:
    assert translate(tmp_path, "")[0] == Config()


@pytest.mark.parametrize(
    ("old", "new"),
    [("localhost", "localhost:8000"), ("[::1]", "[::1]:8000"), ("fd://3", "fd:3"), ("x:1", "x:1")],
)
def test_addresses(tmp_path: Path, old: str, new: str) -> None:
    assert translate(tmp_path, f'bind = "{old}"')[0].listen[0].bind == (new,)


def test_a_certificate_without_a_key_never_becomes_plaintext(tmp_path: Path) -> None:
    path = tmp_path / "hypercorn.toml"
    path.write_text('certfile = "c.pem"')
    translation = import_hypercorn(str(path))
    with pytest.raises(ConfigError, match=r"`tls\.certificate`: needs `tls\.key` beside it"):
        from_mapping(tomllib.loads(translation.text))
    assert "a certificate needs its key" in translation.notes[0]
    assert "relative paths are now relative to the file" in translation.notes[1]


PAIR = 'certfile = "/c.pem"\nkeyfile = "/k.pem"\n'


@pytest.mark.parametrize(
    ("lines", "auth", "notes"),
    [
        ("verify_mode = 2\nca_certs = '/ca'", ClientAuth("required", "/ca"), []),
        ("cert_reqs = 1\nca_certs = '/ca'", ClientAuth("optional", "/ca"), []),
        ("verify_mode = 'CERT_NONE'", ClientAuth(), []),
        (
            "verify_mode = 0\nca_certs = '/ca'",
            ClientAuth(),
            ["ca_certs: client certificates are not"],
        ),
        ("ca_certs = '/ca'", ClientAuth(), ["ca_certs: client certificates are not asked for"]),
        (
            "verify_mode = 'yes'\nca_certs = '/ca'",
            ClientAuth("required", "/ca"),
            ["verify_mode: 'yes' is none of CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED; certificates"],
        ),
        (
            "verify_mode = 2\nca_certs = '/ca'\nverify_flags = 4",
            ClientAuth("required", "/ca", "/ca"),
            ["verify_flags: the lists of revocations are read from the file of the authorities"],
        ),
        (
            "verify_mode = 2\nca_certs = '/ca'\nverify_flags = 'VERIFY_X509_STRICT'",
            ClientAuth("required", "/ca"),
            ["verify_flags: 'VERIFY_X509_STRICT' cannot be translated"],
        ),
        ("verify_flags = 32768", ClientAuth(), []),
    ],
)
def test_certificates_of_clients(
    tmp_path: Path, lines: str, auth: ClientAuth, notes: list[str]
) -> None:
    config, translation = translate(tmp_path, PAIR + lines)
    assert config.tls.client_auth == auth
    assert len(translation.notes) == len(notes)
    for said, note in zip(translation.notes, notes, strict=True):
        assert said.partition(": ")[2].startswith(note)


def test_clients_that_must_be_asked_for_certificates_are_never_let_in_without(
    tmp_path: Path,
) -> None:
    path = tmp_path / "hypercorn.toml"
    path.write_text(f'{PAIR}verify_mode = "CERT_REQUIRED"')
    translation = import_hypercorn(str(path))
    with pytest.raises(ConfigError, match=r'"required" needs `tls\.client_auth\.ca` beside it'):
        from_mapping(tomllib.loads(translation.text))
    assert "verify_mode: needs ca_certs as well" in translation.notes[0]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        import_hypercorn(str(tmp_path / "nowhere"))
    (tmp_path / "x").write_text("a = b")
    with pytest.raises(ConfigError, match=r"x: Invalid value \(at line 1"):
        import_hypercorn(str(tmp_path / "x"))
