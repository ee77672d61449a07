from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest

from hyperserver.config import TLS
from hyperserver.errors import ConfigError
from hyperserver.protocol.x509 import parse_certificate, pem_blocks
from hyperserver.runtime import dev_tls
from hyperserver.runtime.tls_reload import TLSStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at modes")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path / "hyperserver" / "dev-tls"


def names_in(leaf: Path) -> set[str]:
    found = parse_certificate(pem_blocks(leaf.read_bytes(), "CERTIFICATE")[0])
    return {*found.names, *found.addresses}


@pytest.mark.skipif(sys.platform == "darwin", reason="keeps it elsewhere")
def test_a_certificate_that_a_client_trusts_once_it_trusts_the_authority(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made = dev_tls.with_dev_certificate(TLS(dev=True, profile="modern"))
    assert (made.dev, made.profile) == (False, "modern")
    assert made.certificate == made.key == str(home / "localhost.pem")
    assert str(home / "ca.pem") in caplog.text
    context = ssl.create_default_context(cafile=str(home / "ca.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate)
    for name in dev_tls.machine_names():
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(back, there, server_hostname=name)
        other = server.wrap_bio(there, back, server_side=True)
        for side in (client, other, client):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
        assert client.version() == "TLSv1.3"


def test_nobody_else_can_read_the_keys(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    dev_tls.ensure_certificate(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("authority.pem", "localhost.pem"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in (folder / "ca.pem").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        "authority.pem", "ca.pem", "localhost.pem",
    ]  # fmt: skip


def test_it_is_made_once(tmp_path: Path) -> None:
    leaf = dev_tls.ensure_certificate(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert dev_tls.ensure_certificate(tmp_path) == leaf
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_it_is_made_anew_by_the_same_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = dev_tls.ensure_certificate(tmp_path)
    first, authority = leaf.read_bytes(), (tmp_path / "ca.pem").read_bytes()
    monkeypatch.setattr("socket.gethostname", lambda: "moved")
    dev_tls.ensure_certificate(tmp_path)
    assert {"moved", "moved.local"} <= names_in(leaf)
    second = leaf.read_bytes()
    assert second != first
    monkeypatch.setattr(dev_tls, "_RENEW_BEFORE", 366 * 86_400.0)
    dev_tls.ensure_certificate(tmp_path)
    assert leaf.read_bytes() != second
    leaf.write_bytes(b"damaged")
    dev_tls.ensure_certificate(tmp_path)
    assert "moved" in names_in(leaf)
    assert (tmp_path / "ca.pem").read_bytes() == authority


def test_of_two_that_make_an_authority_one_succeeds(tmp_path: Path) -> None:
    dev_tls.ensure_certificate(tmp_path)
    kept = (tmp_path / "authority.pem").read_bytes()
    dev_tls._write(tmp_path / "authority.pem", b"another", replace=False)
    assert (tmp_path / "authority.pem").read_bytes() == kept


@pytest.mark.skipif(sys.platform == "darwin", reason="keeps it elsewhere")
def test_what_is_in_the_way(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ConfigError) as caught:
        TLSStore(TLS(dev=True))
    assert str(caught.value) == ("`tls.dev`: needs trustme; run `pip install 'hyperserver[dev]'`")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(home.parents[1]))
    (home / "authority.pem").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="is damaged"):
        dev_tls.with_dev_certificate(TLS(dev=True))
    (home / "authority.pem").unlink()
    home.rmdir()
    home.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"`tls\.dev`: cannot write to"):
        dev_tls.with_dev_certificate(TLS(dev=True))


@pytest.mark.parametrize(
    ("platform", "command"),
    [
        ("win32", 'certutil -user -addstore Root "/a b/ca.pem"'),
        ("darwin", "security add-trusted-cert "),
        ("linux", "sudo "),
    ],
)
def test_how_to_trust_it(platform: str, command: str) -> None:
    line = dev_tls.how_to_trust(Path("/a b/ca.pem"), platform)
    assert line.startswith(command)
    assert "/a b/ca.pem" in line.replace("\\", "/")
