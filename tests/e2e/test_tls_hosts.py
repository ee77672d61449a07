"""Several hosts on one port, over real sockets: certificates, clients' certificates, policies."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import shutil
import signal
import ssl
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.conftest import Certificate, MakeClientContext
from tests.e2e.http2_client import HTTP2Client
from tests.e2e.support import Server, TLSClient, wait_until
from tests.engines import h2_frames as wire

if TYPE_CHECKING:
    import trustme

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


class Clients:
    """Who vouches for clients, those clients, and one that was revoked."""

    def __init__(self, folder: Path) -> None:
        import trustme

        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "clients.pem"
        self.ca.write_bytes(self.authority.cert_pem.bytes())
        self.good = self.issue("good", self.authority, common_name="Müller, Anna")
        self.revoked = self.issue("revoked", self.authority)
        self.stranger = self.issue("stranger", trustme.CA())
        yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        before = yesterday - dt.timedelta(days=1)
        self.expired = self.issue("old", self.authority, not_before=before, not_after=yesterday)
        self.crl = folder / "revoked.crl"
        self.revoke(self.revoked)

    def issue(self, name: str, authority: trustme.CA, **more: Any) -> Path:
        issued = authority.issue_cert(f"{name}@clients.test", **more)
        path = self.folder / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def revoke(self, *paths: Path) -> None:
        """Write a list with these and no others."""
        now = dt.datetime.now(dt.UTC)
        issuer = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes()).subject
        builder = x509.CertificateRevocationListBuilder(issuer, now, now + dt.timedelta(days=1))
        for path in paths:
            serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            entry = x509.RevokedCertificateBuilder(serial, now).build()
            builder = builder.add_revoked_certificate(entry)
        key = load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
        self.crl.write_bytes(signed.public_bytes(Encoding.PEM))


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def certificates(issue: Callable[..., Certificate]) -> dict[str, Certificate]:
    return {
        "public": issue("public.test", "other.test"),
        "admin": issue("admin.test"),
        "wild": issue("*.wild.test"),
        "ec": issue("both.test"),
        "rsa": issue("both.test", rsa=True),
    }


def configuration(certificates: dict[str, Certificate], clients: Clients) -> str:
    policies = {
        "admin": f'mode = "required", ca = "{clients.ca}", crl = "{clients.crl}"',
        "wild": f'mode = "optional", ca = "{clients.ca}"',
    }
    parts = ["[[listen]]\ntls = true\n[tls]\nprofile = 'intermediate'\n"]
    for name, made in certificates.items():
        parts.append(f'[[tls.certificates]]\ncertificate = "{made.chain}"\nkey = "{made.key}"\n')
        if name in policies:
            parts.append(f"client_auth = {{ {policies[name]} }}\n")
    return "".join(parts)


class Hosts(Server):
    """A server of several hosts; its own methods reach public.test."""

    make_context: MakeClientContext

    def reach(
        self,
        name: str,
        *alpn: str,
        shows: Path | None = None,
        version: ssl.TLSVersion | None = None,
    ) -> TLSClient:
        context = self.make_context(*alpn, version=version)
        if shows is not None:
            context.load_cert_chain(shows)
        return TLSClient(("127.0.0.1", self.port), context, name)

    def connect(self, **options: Any) -> TLSClient:
        return self.reach("public.test")


HostsFor = Callable[[str], Hosts]


@pytest.fixture(scope="module")
def hosts_for(
    certificates: dict[str, Certificate],
    clients: Clients,
    make_client_context: MakeClientContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[HostsFor]:
    servers: dict[str, Hosts] = {}

    def get(worker: str) -> Hosts:
        if worker not in servers:
            servers[worker] = Hosts(
                "tests.e2e.apps.tls_scope:app",
                worker,
                config=configuration(certificates, clients),
                folder=tmp_path_factory.mktemp("hosts"),
            )
            servers[worker].make_context = make_client_context
        return servers[worker]

    yield get
    for server in servers.values():
        with server:
            assert server.stop() == 0
            assert "Traceback" not in str(server.stderr)


@pytest.fixture
def hosts(worker: str, hosts_for: HostsFor) -> Hosts:
    return hosts_for(worker)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def tls_of(client: TLSClient, host: str) -> dict[str, Any]:
    """The extension, as the application finds it."""
    client.send(f"GET /scope HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    response = client.response()
    assert response.status == 200, response
    return dict(response.json["extensions"]["tls"])


def pem(path: Path) -> str:
    """The first certificate in a file."""
    return ssl.DER_cert_to_PEM_cert(
        x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    )


# ---- whose certificate -------------------------------------------------------------------------


@EVERY_VERSION
@pytest.mark.parametrize(
    ("name", "which"),
    [
        ("public.test", "public"),
        ("other.test", "public"),
        ("a.wild.test", "wild"),
        ("both.test", "ec"),
    ],
)
def test_the_name_chooses(
    hosts: Hosts,
    certificates: dict[str, Certificate],
    name: str,
    which: str,
    version: ssl.TLSVersion,
) -> None:
    with hosts.reach(name, version=version) as client:
        shown = client.tls.getpeercert(binary_form=True)
        assert shown is not None
        assert ssl.DER_cert_to_PEM_cert(shown) == pem(certificates[which].chain)
        assert tls_of(client, name)["server_cert"] == pem(certificates[which].chain)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.parametrize(
    ("version", "schemes"),
    [
        ("-tls1_3", "rsa_pss_rsae_sha256"),
        ("-tls1_3", "ecdsa_secp256r1_sha256"),
        ("-tls1_3", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256"),
        ("-tls1_3", "ecdsa_secp384r1_sha384:rsa_pss_rsae_sha384"),
        ("-tls1_2", "rsa_pss_rsae_sha256"),
        ("-tls1_2", "RSA+SHA256:ECDSA+SHA256"),
        ("-tls1_2", "ECDSA+SHA256"),
    ],
)
def test_the_scope_says_which_of_two_certificates_was_sent(
    hosts_for: HostsFor, version: str, schemes: str
) -> None:
    request = b"GET /scope HTTP/1.1\r\nHost: both.test\r\nConnection: close\r\n\r\n"
    address = f"127.0.0.1:{hosts_for('asyncio').port}"
    command = ["openssl", "s_client", "-connect", address, "-servername", "both.test", "-ign_eof"]
    done = subprocess.run(
        [*command, version, "-sigalgs", schemes],
        input=request,
        capture_output=True,
        timeout=20,
        check=False,
    )
    output = done.stdout.decode()
    shown = re.search(
        r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n", output, re.DOTALL
    )
    assert shown, output
    body = re.search(r"^\{.*\}$", output, re.MULTILINE)
    assert body, output
    assert json.loads(body[0])["extensions"]["tls"]["server_cert"] == shown[0]


def test_a_name_that_nobody_has_gets_the_first(hosts: Hosts) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        hosts.reach("unknown.test")


@pytest.mark.parametrize("name", ["unknown.test", "127.0.0.1"])
def test_strict_names(
    worker: str,
    certificates: dict[str, Certificate],
    make_client_context: MakeClientContext,
    tmp_path: Path,
    name: str,
) -> None:
    made = certificates["public"]
    config = (
        "[[listen]]\ntls = true\n[tls]\nsni_strict = true\n"
        f'certificate = "{made.chain}"\nkey = "{made.key}"\n'
    )
    with Hosts("tests.e2e.apps.tls_scope:app", worker, config=config, folder=tmp_path) as server:
        server.make_context = make_client_context
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            server.reach(name)
        assert server.get("/scope").status == 200
        assert server.stop() == 0


# ---- what scopes say ---------------------------------------------------------------------------


@EVERY_VERSION
def test_scope_without_a_client_certificate(hosts: Hosts, version: ssl.TLSVersion) -> None:
    with hosts.reach("public.test", version=version) as client:
        found = tls_of(client, "public.test")
        assert found.pop("server_cert").startswith("-----BEGIN CERTIFICATE-----\n")
        cipher = client.tls.cipher()
        assert cipher is not None
        suites = {c["name"]: c["id"] & 0xFFFF for c in client.tls.context.get_ciphers()}
        assert found == {
            "client_cert_chain": [],
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": {VERSIONS[0]: 0x0303, VERSIONS[1]: 0x0304}[version],
            "cipher_suite": suites[cipher[0]],
        }


@EVERY_VERSION
@pytest.mark.parametrize("name", ["admin.test", "a.wild.test"])
def test_scope_with_a_client_certificate(
    hosts: Hosts, clients: Clients, name: str, version: ssl.TLSVersion
) -> None:
    with hosts.reach(name, shows=clients.good, version=version) as client:
        for _ in range(2):
            found = tls_of(client, name)
            assert found["client_cert_chain"] == [pem(clients.good)]
            # the parts in reverse, as RFC 4514 has them; who serves /scope spoils its own copy
            assert found["client_cert_name"].startswith("CN=Müller\\, Anna,OU=")
            assert found["client_cert_error"] is None


def test_scope_of_http2(hosts: Hosts, clients: Clients) -> None:
    client = hosts.reach("admin.test", "h2", shows=clients.good)
    with HTTP2Client(client.tls, scheme=b"https") as connection:
        stream_id = ask(connection, b"admin.test")
        found = json.loads(connection.body(stream_id))["extensions"]["tls"]
        assert found["client_cert_chain"] == [pem(clients.good)]


def test_plaintext_has_no_such_extension(worker: str) -> None:
    with Server("tests.e2e.apps.tls_scope:app", worker) as server:
        assert "tls" not in server.get("/scope").json["extensions"]


# ---- who may come in ---------------------------------------------------------------------------


def assert_refused(hosts: Hosts, key: str, connect: Callable[[], TLSClient]) -> None:
    """No request of such a client reaches the application, however early the client learns it."""
    with contextlib.ExitStack() as stack, pytest.raises((ssl.SSLError, ConnectionError)):
        client = stack.enter_context(connect())
        client.send(f"GET /note?key={key} HTTP/1.1\r\nhost: admin.test\r\n\r\n".encode())
        client.response()
    assert f"/note?key={key}" not in str(hosts.stdout)
    assert hosts.get(f"/noted?key={key}").body == b"no"


@EVERY_VERSION
@pytest.mark.parametrize("who", ["nobody", "stranger", "revoked", "expired"])
def test_a_required_certificate_must_be_good(
    hosts: Hosts, clients: Clients, key: str, who: str, version: ssl.TLSVersion
) -> None:
    shows = None if who == "nobody" else getattr(clients, who)
    assert_refused(hosts, key, lambda: hosts.reach("admin.test", shows=shows, version=version))
    with hosts.reach("admin.test", shows=clients.good, version=version) as client:
        client.send(f"GET /note?key={key} HTTP/1.1\r\nhost: admin.test\r\n\r\n".encode())
        assert client.response().body == b"noted"  # so that the test could have failed


@EVERY_VERSION
@pytest.mark.parametrize("who", ["stranger", "expired"])
def test_an_optional_certificate_must_be_good_too(
    hosts: Hosts, clients: Clients, key: str, who: str, version: ssl.TLSVersion
) -> None:
    shows = getattr(clients, who)
    assert_refused(hosts, key, lambda: hosts.reach("a.wild.test", shows=shows, version=version))
    with hosts.reach("a.wild.test", version=version) as client:
        assert tls_of(client, "a.wild.test")["client_cert_chain"] == []


@EVERY_VERSION
def test_a_session_of_one_host_opens_no_other(
    hosts: Hosts, clients: Clients, key: str, version: ssl.TLSVersion
) -> None:
    """The session began where no certificate is asked for, or another policy holds."""
    address = ("127.0.0.1", hosts.port)
    context = hosts.make_context(version=version)

    def session_of(name: str) -> ssl.SSLSession:
        with TLSClient(address, context, name) as client:
            tls_of(client, name)  # in TLS 1.3 tickets come after the handshake
            assert client.tls.session is not None
            return client.tls.session

    for name in ("public.test", "a.wild.test"):
        session = session_of(name)
        with TLSClient(address, context, name, session) as client:
            assert client.tls.session_reused  # at home it is good
            assert tls_of(client, name)["client_cert_chain"] == []
        session = session_of(name)
        assert_refused(hosts, key, lambda: TLSClient(address, context, "admin.test", session))  # noqa: B023 - called within this turn


@EVERY_VERSION
def test_a_resumed_session_keeps_its_clients_certificate(
    hosts: Hosts, clients: Clients, version: ssl.TLSVersion
) -> None:
    address = ("127.0.0.1", hosts.port)
    context = hosts.make_context(version=version)
    context.load_cert_chain(clients.good)
    with TLSClient(address, context, "admin.test") as client:
        first = tls_of(client, "admin.test")
        session = client.tls.session
    with TLSClient(address, context, "admin.test", session) as client:
        assert client.tls.session_reused
        assert tls_of(client, "admin.test")["client_cert_chain"] == first["client_cert_chain"]


@EVERY_VERSION
def test_a_session_does_not_outlive_a_revocation(
    worker: str,
    certificates: dict[str, Certificate],
    make_client_context: MakeClientContext,
    tmp_path: Path,
    key: str,
    version: ssl.TLSVersion,
) -> None:
    clients = Clients(tmp_path)
    config = configuration(certificates, clients)
    with Hosts("tests.e2e.apps.tls_scope:app", worker, config=config, folder=tmp_path) as server:
        server.make_context = make_client_context
        address = ("127.0.0.1", server.port)
        context = make_client_context(version=version)
        context.load_cert_chain(clients.good)
        with TLSClient(address, context, "admin.test") as client:
            tls_of(client, "admin.test")
            session = client.tls.session
        clients.revoke(clients.good)
        server.signal(signal.SIGHUP)
        wait_until(lambda: "have been read again" in str(server.stderr), "the list is read")
        assert_refused(server, key, lambda: TLSClient(address, context, "admin.test", session))
        assert server.stop() == 0


# ---- requests on the wrong connection ----------------------------------------------------------


def ask(connection: HTTP2Client, authority: bytes, target: bytes = b"/scope") -> int:
    stream_id = connection.writer.next_id
    head = wire.head(b"GET", target, scheme=b"https", authority=authority)
    connection.send(connection.writer.headers(stream_id, head, True))
    return stream_id


CROSSINGS = [
    ("public.test", "admin.test", 421),
    ("public.test", "ADMIN.test:443", 421),
    ("public.test", "admin.test.", 421),
    ("public.test", "a.wild.test", 421),
    ("public.test", "other.test", 200),
    ("public.test", "both.test", 200),
    ("public.test", "unknown.test", 200),
    ("public.test", "[::1]:8000", 200),
    ("admin.test", "public.test", 421),
    ("admin.test", "admin.test:8443", 200),
    ("admin.test", "unknown.test", 421),
]


@pytest.mark.parametrize(("opened_for", "asked", "status"), CROSSINGS)
def test_a_host_of_another_policy_is_misdirected(
    hosts: Hosts, clients: Clients, opened_for: str, asked: str, status: int, key: str
) -> None:
    shows = clients.good if opened_for == "admin.test" else None
    target = f"/note?key={key}"
    with hosts.reach(opened_for, shows=shows) as client:
        for _ in range(2):  # the connection goes on
            client.send(f"GET {target} HTTP/1.1\r\nhost: {asked}\r\n\r\n".encode())
            assert client.response().status == status
        client.send(f"GET https://{asked}{target} HTTP/1.1\r\nhost: public.test\r\n\r\n".encode())
        assert client.response().status == status
    client = hosts.reach(opened_for, "h2", shows=shows)
    with HTTP2Client(client.tls, scheme=b"https") as connection:
        wrong = ask(connection, asked.encode(), target.encode())
        right = ask(connection, opened_for.encode())
        assert connection.response(wrong).status == status
        assert connection.response(right).status == 200
    noted = b"yes" if status == 200 else b"no"
    assert hosts.get(f"/noted?key={key}").body == noted
    if status == 421:
        wait_until(lambda: f"{target} HTTP/2" in str(hosts.stdout), "the refusal is logged")
        assert re.search(rf'{re.escape(target)} HTTP/2" 421 \d+ .*refused: ', str(hosts.stdout))
