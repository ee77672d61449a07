"""A browser: its page and its WebSocket come by one HTTP/2 connection.

The page (see apps/websocket_probe.py) fetches ``/seen``, opens a socket to ``/seen``, and puts
what both have been told of their scopes into its title, which is read by the DevTools protocol.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets.sync.client
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.conftest import Certificate
from tests.e2e.support import Output, Server, wait_until
from tests.e2e.websocket_client import PROBE

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs chromium or google-chrome (chromium)"),
    pytest.mark.timeout(120),
]
#: A browser takes its time to start, the more on a busy machine.
PATIENCE = 60.0


def fingerprint(certificate: Certificate) -> str:
    """What ``--ignore-certificate-errors-spki-list`` trusts."""
    key = x509.load_pem_x509_certificate(certificate.chain.read_bytes()).public_key()
    octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(octets).digest()).decode()


@pytest.fixture
def browser(certificate: Certificate, tmp_path: Path) -> Iterator[str]:
    """The address of a headless browser's DevTools, as host and port."""
    assert BROWSER is not None
    process = subprocess.Popen(
        [
            BROWSER,
            "--headless=new",
            "--no-sandbox",  # it refuses to run as root otherwise
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--no-proxy-server",
            f"--ignore-certificate-errors-spki-list={fingerprint(certificate)}",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--remote-debugging-port=0",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    output = Output(process.stderr)
    try:
        said = re.compile(r"DevTools listening on ws://([\d.:]+)/")
        wait_until(
            lambda: said.search(str(output)) or process.poll() is not None,
            "the browser starts",
            PATIENCE,
        )
        found = said.search(str(output))
        assert found, f"the browser did not start:\n{output}"
        yield found[1]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.finish()


def title_of(browser: str, url: str) -> str:
    """The title of the page at ``url``, once it is no longer "waiting"."""
    target = httpx.put(f"http://{browser}/json/new?{url}", trust_env=False).json()
    with websockets.sync.client.connect(target["webSocketDebuggerUrl"], proxy=None) as tools:
        number = 0

        def evaluate(expression: str) -> Any:
            nonlocal number
            number += 1
            parameters = {"expression": expression}
            command = {"id": number, "method": "Runtime.evaluate", "params": parameters}
            tools.send(json.dumps(command))
            while True:
                answer = json.loads(tools.recv(timeout=PATIENCE))
                if answer.get("id") == number:
                    return answer["result"]["result"].get("value")

        title = ""

        def arrived() -> bool:
            nonlocal title
            title = str(evaluate("document.title"))
            return title.startswith("{")

        try:
            wait_until(arrived, f"the page at {url} comes to its end", PATIENCE)
        except AssertionError as error:
            body = evaluate("document.documentElement.innerText")
            raise AssertionError(f"{error}; it is {title!r}: {body}") from None
        return title


def test_a_socket_goes_through_the_connection_of_its_page(
    worker: str, certificate: Certificate, browser: str
) -> None:
    options = ["--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)]
    with Server(PROBE, worker, *options) as server:
        result = json.loads(title_of(browser, f"https://localhost:{server.port}/page"))
        page, socket = result["page"], json.loads(result["messages"][0])
        assert (page["type"], page["http_version"], page["scheme"]) == ("http", "2", "https")
        assert (socket["type"], socket["http_version"], socket["scheme"]) == (
            "websocket",
            "2",
            "wss",
        )
        assert socket["client"] == page["client"]  # port and all: there was one connection
        assert ["origin", f"https://localhost:{server.port}"] in socket["headers"]
        assert result["messages"][1:] == ["hello"]
        assert (result["code"], result["reason"], result["clean"]) == (4001, "", True)
        assert server.stop() == 0
        assert "internal error" not in str(server.stderr)
        assert any("CONNECT /seen" in line and " 200 " in line for line in server.stdout.lines)
