"""Telling systemd how the server is: sd_notify(3), which is a datagram to a socket.

Started by anything but a unit with ``Type=notify``, a notifier says nothing and costs nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from hyperserver.observe.logs import logger

#: Seconds that a full queue of systemd's may hold us up.
_PATIENCE = 1.0


class Notifier:
    """Says it to ``address``: a path, or "@name" of an abstract socket; None says nothing.

    ``watchdog`` is the number of seconds after which systemd takes silence for death, or None.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = "\0" + address[1:] if address and address[0] == "@" else address or ""
        self._socket: socket.socket | None = None
        if address:  # opened now, as descriptors may have run out when there is most to say
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_PATIENCE)
        #: Seconds between two signs of life: half the time there is, as sd_watchdog_enabled(3) asks.
        self.beat_interval = None if watchdog is None or not address else watchdog / 2
        self._next_beat = 0.0

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Notifier:
        """What this process was started with, taken out of ``environ``: children say nothing."""
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", None)
        period = environ.pop("WATCHDOG_USEC", "")
        meant = environ.pop("WATCHDOG_PID", "")
        ours = not meant or meant == str(os.getpid())
        watchdog = int(period) / 1e6 if period.isdecimal() and int(period) and ours else None
        return cls(address or None, watchdog)

    def ready(self, status: str = "") -> None:
        """Everything serves: after the start, and after ``reloading``."""
        self._send("READY=1", status)

    def reloading(self, status: str = "") -> None:
        """A reload begins; ``ready`` says that it is over, be it well or not.

        With ``Type=notify-reload`` systemd compares the time with that of its own request.
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if self._socket else 0
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now // 1000}", status)

    def stopping(self, status: str = "") -> None:
        self._send("STOPPING=1", status)

    def status(self, text: str) -> None:
        """A line for ``systemctl status``."""
        self._send("", text)

    def main_pid(self, pid: int) -> None:
        self._send(f"MAINPID={pid}")

    def beat(self, now: float) -> None:
        """A sign of life, at monotonic time ``now``: not before the next one is due.

        To be called when an event loop has shown that it turns, and not otherwise.
        """
        if self.beat_interval is not None and now >= self._next_beat:
            self._next_beat = now + self.beat_interval
            self._send("WATCHDOG=1")

    def _send(self, message: str, status: str = "") -> None:
        if self._socket is None:
            return
        if status:
            message = f"{message}\nSTATUS={' '.join(status.split())}".lstrip()
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            logger.warning("cannot notify systemd: %s", error)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
