"""What ``hyperserver init`` writes: configurations to begin with, and what goes along with them.

A template names keys and values only; the comments come from the schema.
"""

from __future__ import annotations

from typing import Any

from hyperserver.config.schema import Config
from hyperserver.config.settings import describe
from hyperserver.config.write import comment, commented

FILE = "hyperserver.toml"

#: For each kind: what it is for, what its file sets, and the next step.
_KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "dev": (
        (
            "Development: this machine only, everything logged, no waiting when stopping. HTTPS, "
            "and with it HTTP/2 in browsers, comes by `hyperserver --dev-tls`."
        ),
        {
            "listen": [{"bind": ["127.0.0.1:8000"]}],
            "timeouts": {"drain": "1s", "disconnect_grace": "100ms"},
            "log": {"level": "debug"},
        },
        "run `hyperserver`",
    ),
    "edge": (
        (
            "Directly on the internet: TLS for all, bounded uploads. What comes without TLS is sent "
            "on to https, but for the challenges by which certbot and others get certificates."
        ),
        {
            "listen": [
                {"bind": ["0.0.0.0:443", "[::]:443"], "tls": True, "hsts": "180d"},
                {
                    "bind": ["0.0.0.0:80", "[::]:80"],
                    "redirect": "https",
                    "names": ["shop.example", "www.shop.example"],
                    "acme_webroot": "acme",
                },
            ],
            "tls": {"certificate": "tls/fullchain.pem", "key": "tls/privkey.pem"},
            "limits": {"request_body": "16MiB"},
            "timeouts": {"keep_alive": "75s", "drain": "30s"},
            "log": {"level": "info", "access": True},
        },
        (
            "put your host names into `names`, the certificate and its key into tls/, and make the "
            "folder acme; then run `hyperserver check`"
        ),
    ),
    "systemd": (
        "A systemd service behind a proxy on the same machine; hyperserver.service goes along.",
        {
            "listen": [{"bind": ["127.0.0.1:8000"]}],
            "timeouts": {"keep_alive": "75s", "drain": "30s", "shutdown": "30s"},
            "log": {"level": "info"},
        },
        "run `systemctl link --now $PWD/hyperserver.service` as root",
    ),
    "container": (
        "A container: all addresses, and an end within the ten seconds that orchestrators grant.",
        {
            "listen": [{"bind": ["0.0.0.0:8000"]}],
            "timeouts": {"keep_alive": "75s", "drain": "6s", "disconnect_grace": "2s", "shutdown": "2s"},
            "log": {"level": "info"},
        },
        "list what the application needs in requirements.txt, then build the image",
    ),
}  # fmt: skip
KINDS = tuple(_KINDS)

_UNIT = """\
[Unit]
Description=hyperserver ({app})
After=network.target

[Service]
Type=notify
WorkingDirectory={directory}
ExecStart={command} --config {directory}/{file}
ExecReload=kill -HUP $MAINPID
WatchdogSec=30
# A second start would not mend what 2 (usage), 3 (application) and 78 (configuration) mean.
Restart=on-failure
RestartPreventExitStatus=2 3 78
# More than timeouts.drain and timeouts.shutdown together.
TimeoutStopSec=75
DynamicUser=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""

_DOCKERFILE = """\
FROM python:3.13-slim
WORKDIR /srv/app
COPY requirements.txt .
RUN pip install --no-cache-dir hyperserver -r requirements.txt
COPY . .
RUN hyperserver check --no-environment
USER nobody
EXPOSE 8000
CMD ["hyperserver"]
"""


def files_for(kind: str, app: str, directory: str, command: str) -> dict[str, str]:
    """The texts of the files for ``kind``, by name; ``command`` is this program's path."""
    about, data, _ = _KINDS[kind]
    blocks = ["\n".join(comment(about)), *commented({"app": app, **data}, describe(Config))]
    files = {FILE: "\n\n".join(blocks) + "\n"}
    if kind == "systemd":
        files["hyperserver.service"] = _UNIT.format(
            app=app, directory=directory, command=command, file=FILE
        )
    elif kind == "container":
        files["Dockerfile"] = _DOCKERFILE
    return files


def next_step(kind: str) -> str:
    return _KINDS[kind][2]
