"""How long servers take to start: ``python -m benchmarks.startup``.

From the start of the process to its first answer, and the CPU time that it has used by then, which a
busy machine disturbs less. The first start of each is not
counted: it writes the bytecode that the others read.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.contenders import HTTP1, Contender, install

_PATIENCE = 15.0
_NANOSECONDS = 1e9


def start(contender: Contender, python: str) -> tuple[float, float]:
    """Seconds on the clock and of CPU. Raises OSError if it does not answer in time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    hidden = "PYTHONDONTWRITEBYTECODE"
    environment = {name: value for name, value in os.environ.items() if name != hidden}
    began = time.monotonic()
    with subprocess.Popen(
        contender.command(python, "hello", port, Path()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        try:
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as client:
                        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        if client.recv(1):
                            break
                except OSError:
                    if process.poll() is not None or time.monotonic() > began + _PATIENCE:
                        raise
                    time.sleep(0.001)
            wall = time.monotonic() - began
            cpu = Path(f"/proc/{process.pid}/schedstat").read_text(encoding="ascii").split()[0]
        finally:
            process.kill()
    return wall, int(cpu) / _NANOSECONDS


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a contender of ours does not start."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=("httptools",))
    parser.add_argument("--peers-python", metavar="PATH", help="instead of benchmarks/.venv")
    options = parser.parse_args(argv)
    contenders = [one for one in HTTP1 if any(part in one.name for part in options.only)]
    installed = install(contenders, options.peers_python)
    samples: dict[str, list[tuple[float, float]]] = {one.name: [] for one in contenders}
    failed = False
    for _ in range(options.rounds + 1):
        for one in contenders:
            try:
                samples[one.name].append(start(one, installed.python(one)))
            except OSError as error:
                failed = failed or not one.is_peer
                print(f"{one.name}: {error}", file=sys.stderr)
    print("| server | ms to the first answer | ms of CPU |\n|---|---|---|")
    for name, all_of_them in samples.items():
        counted = all_of_them[1:]
        if counted:
            walls, cpus = zip(*counted, strict=True)
            print(f"| {name} | {median(walls) * 1e3:.0f} | {median(cpus) * 1e3:.0f} |")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
