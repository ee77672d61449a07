"""A hypercorn configuration file, translated; what has no counterpart is said, never dropped."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hyperserver.config.locate import Spots, locate
from hyperserver.config.read import convert as check
from hyperserver.config.schema import Config, Listen
from hyperserver.config.settings import describe, walk
from hyperserver.config.units import format_duration, format_size
from hyperserver.config.write import commented
from hyperserver.errors import ConfigError

Convert = Callable[[Any], Any]


class Translation:
    """The new file's text, and lines about what could not be translated or means another thing."""

    def __init__(self, text: str, notes: list[str]) -> None:
        self.text = text
        self.notes = notes


def _duration(value: Any) -> str:
    return format_duration(float(value))


def _size(value: Any) -> str:
    return format_size(int(value))


def _same(value: Any) -> Any:
    return value


def _address(bind: str) -> str:
    """hypercorn takes a host without a port, and ``fd://``."""
    if bind.startswith(("unix:", "fd:")):
        return bind.replace("fd://", "fd:")
    has_port = bind.rpartition("]")[2].rpartition(":")[1] or bind.rpartition(":")[2].isdigit()
    return bind if has_port else f"{bind}:8000"


def _loop(value: str) -> str:
    if value not in {"asyncio", "uvloop", "trio"}:
        raise ValueError("only asyncio, uvloop and trio are possible")
    return value


def _engine_limit(value: Any) -> str:
    return format_size(max(1024, int(value)))


def _window(value: Any) -> str:
    return format_size(min(max(16_384, int(value)), 2**24 - 1))


def _level(value: str) -> str:
    if value.lower() not in {"debug", "info", "warning", "error", "critical"}:
        raise ValueError("only debug, info, warning, error and critical are possible")
    return value.lower()


def _protocols(value: list[str]) -> list[str]:
    known = [name for name in value if name in {"h2", "http/1.1"}]
    if known != list(value):
        raise ValueError("only h2 and http/1.1 are possible")
    return known


#: Where a key's value goes. Listeners and TLS are made apart, from several keys.
_MOVED: dict[str, tuple[str, Convert]] = {
    "application_path": ("app", _same),
    "worker_class": ("worker", _loop),
    "workers": ("workers", _same),
    "max_requests": ("recycle.max_requests", _same),
    "pid_path": ("process.pid_file", _same),
    "use_reloader": ("reload", _same),
    "root_path": ("root_path", lambda path: path.rstrip("/")),
    "include_date_header": ("date_header", _same),
    "include_server_header": ("server_header", _same),
    "loglevel": ("log.level", _level),
    "graceful_timeout": ("timeouts.drain", _duration),
    "keep_alive_timeout": ("timeouts.keep_alive", _duration),
    "read_timeout": ("timeouts.request_body", _duration),
    "shutdown_timeout": ("timeouts.shutdown", _duration),
    "ssl_handshake_timeout": ("timeouts.handshake", _duration),
    "startup_timeout": ("timeouts.startup", _duration),
    "h11_max_incomplete_size": ("limits.request_head", _engine_limit),
    "h2_max_concurrent_streams": ("http2.max_concurrent_streams", _same),
    "h2_max_inbound_frame_size": ("http2.max_frame_size", _window),
    "websocket_max_message_size": ("websocket.max_message_size", _size),
    "websocket_ping_interval": ("websocket.ping_interval", _duration),
}
_LISTENERS = ("bind", "insecure_bind", "backlog", "umask", "alpn_protocols", "alt_svc_headers")
_TLS = {"certfile": "certificate", "keyfile": "key"}
_CLIENTS = ("verify_mode", "cert_reqs", "ca_certs", "verify_flags")

#: What to do instead, for keys that have no counterpart.
_INSTEAD = {
    "ciphers": "cipher suites are chosen by the server: ECDHE with an AEAD, and those of TLS 1.3",
    "keyfile_password": "write it into a file that the server alone can read, and name that as "
    "tls.key_password_file",
    "quic_bind": "HTTP/3 is not spoken",
    "debug": 'set log.level to "debug"',
    "accesslog": "access lines go to standard output; log.access switches them off",
    "errorlog": "the log goes to standard error",
    "access_log_format": "the form of access lines is fixed",
    "logconfig": "logging is not configured by a file",
    "logconfig_dict": "logging is not configured by a file",
    "daemon": "let a supervisor run the server in the background",
    "user": "listen.owner is who owns a Unix socket, process.user who the server runs as",
    "group": "listen.group is who owns a Unix socket, process.group who the server runs as",
    "max_requests_jitter": "recycle.jitter is a part of recycle.max_requests, in percent",
    "server_names": "let the application check the host",
    "h2_max_header_list_size": "limits.request_head holds for HTTP/2 as well",
    "wsgi_max_body_size": "bodies are not held in memory; limits.request_body bounds them for all",
}


def import_hypercorn(path: str) -> Translation:
    """Translate the file at ``path``. Raises ConfigError if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        old = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"{path}: {error}") from None
    new: dict[str, Any] = {}
    settings = {each.dotted: each for each in walk(Config)}
    notes = _Notes(path, locate(text))
    for key, value in old.items():
        if key in _MOVED:
            target, convert = _MOVED[key]
            try:
                made = convert(value)
                check(settings[target], made)
                _set(new, target, made)
            except (TypeError, ValueError, AttributeError) as error:
                notes.add(key, f"{value!r} cannot be translated: {error}")
        elif key not in _LISTENERS and key not in _TLS and key not in _CLIENTS:
            notes.add(key, _INSTEAD.get(key, "there is no counterpart"))
    _interface(new)
    _listeners(old, new, notes)
    _client_auth(old, new, notes)
    blocks = [f"# Translated from {Path(path).name}.", *commented(new, describe(Config))]
    if notes.lines:
        lines = ["# To look at:", *(f"# * {line}" for line in notes.lines)]
        blocks.insert(1, "\n".join(lines))
    return Translation("\n\n".join(blocks) + "\n", notes.lines)


class _Notes:
    def __init__(self, path: str, spots: Spots) -> None:
        self.lines: list[str] = []
        self._name = path
        self._spots = spots

    def path(self, key: str, value: object) -> None:
        if not Path(str(value)).is_absolute():
            self.add(key, "relative paths are now relative to the file, not to where it is run")

    def add(self, key: str, what: str) -> None:
        line = self._spots.keys[key,].line
        self.lines.append(f"{self._name}:{line}: {key}: {what}")


def _set(new: dict[str, Any], target: str, value: Any) -> None:
    *tables, name = target.split(".")
    for table in tables:
        new = new.setdefault(table, {})
    new[name] = value


def _interface(new: dict[str, Any]) -> None:
    """An application may be called "wsgi:package.module:attribute"."""
    mode, _, app = str(new.get("app", "")).partition(":")
    if mode in {"asgi", "wsgi"} and ":" in app:
        new["app"] = app
        if mode == "wsgi":
            new["interface"] = "wsgi"


def _listeners(old: dict[str, Any], new: dict[str, Any], notes: _Notes) -> None:
    """``bind`` speaks TLS where there is a certificate; ``insecure_bind`` never does."""
    tls = [key for key in _TLS if key in old]
    if len(tls) == 1:  # it will be refused, which plaintext would not be
        notes.add(tls[0], "a certificate needs its key, and a key its certificate")
    for key in tls:
        _set(new, f"tls.{_TLS[key]}", old[key])
        notes.path(key, old[key])
    common: dict[str, Any] = {}
    if "backlog" in old:
        common["backlog"] = old["backlog"]
    if isinstance(old.get("umask"), int):
        common["mode"] = 0o666 & ~old["umask"]
    elif "umask" in old:
        notes.add("umask", f"{old['umask']!r} cannot be translated: not a number")
    if "alpn_protocols" in old:
        try:
            common["protocols"] = _protocols(old["alpn_protocols"])
        except ValueError as error:
            notes.add("alpn_protocols", f"{old['alpn_protocols']!r} cannot be translated: {error}")
    if "alt_svc_headers" in old:
        try:
            common["alt_svc"] = Listen(alt_svc=", ".join(old["alt_svc_headers"])).alt_svc
        except (TypeError, ConfigError) as error:
            notes.add(
                "alt_svc_headers", f"{old['alt_svc_headers']!r} cannot be translated: {error}"
            )
    listens = []
    for key, speaks_tls in (("bind", bool(tls)), ("insecure_bind", False)):
        binds = old.get(key, ["127.0.0.1:8000"] if key == "bind" else [])
        binds = [binds] if isinstance(binds, str) else binds
        if binds:
            secure = {"tls": True} if speaks_tls else {}
            listens.append({"bind": [_address(bind) for bind in binds], **common, **secure})
    new["listen"] = listens


#: By the name of what Python's ssl module calls them, and by their number there.
_MODES = {"CERT_NONE": "off", "CERT_OPTIONAL": "optional", "CERT_REQUIRED": "required"}
_MODES_BY_NUMBER = {str(number): mode for number, mode in enumerate(_MODES.values())}
_FLAGS = {"VERIFY_DEFAULT": 0, "VERIFY_CRL_CHECK_LEAF": 4, "VERIFY_CRL_CHECK_CHAIN": 12}
_AS_HERE = 0x8000 | 0x80000  # VERIFY_X509_TRUSTED_FIRST and VERIFY_X509_PARTIAL_CHAIN


def _client_auth(old: dict[str, Any], new: dict[str, Any], notes: _Notes) -> None:
    """What is asked of clients. Where that cannot be had the new file is refused, never laxer."""
    given = [key for key in _CLIENTS if key in old]
    if not any(key in old for key in _TLS):
        for key in given:
            notes.add(key, "has no effect without a certificate")
        return
    auth: dict[str, Any] = {}
    for key in ("verify_mode", "cert_reqs"):
        if key in old:
            value = old[key]
            mode = _MODES.get(str(value)) or _MODES_BY_NUMBER.get(str(value))
            auth["mode"] = mode or "required"
            if mode is None:
                notes.add(
                    key, f"{value!r} is none of {', '.join(_MODES)}; certificates are required"
                )
    if "ca_certs" in old and auth.get("mode", "off") == "off":
        notes.add("ca_certs", "client certificates are not asked for, by verify_mode")
    elif "ca_certs" in old:
        auth["ca"] = old["ca_certs"]
        notes.path("ca_certs", old["ca_certs"])
    elif auth.get("mode", "off") != "off":
        notes.add("verify_mode" if "verify_mode" in old else "cert_reqs", "needs ca_certs as well")
    if "verify_flags" in old:
        flags = _FLAGS.get(str(old["verify_flags"]), old["verify_flags"])
        if not isinstance(flags, int) or flags & ~(12 | _AS_HERE):
            notes.add("verify_flags", f"{old['verify_flags']!r} cannot be translated")
        elif flags & 4 and "ca" in auth:
            auth["crl"] = auth["ca"]
            notes.add(
                "verify_flags",
                "the lists of revocations are read from the file of the authorities; those of the "
                "authorities themselves are not looked at",
            )
    if auth:
        _set(new, "tls.client_auth", auth)
