"""Install the frameworks into the environment of the Python that runs this.

All at once, so that their dependencies are chosen together. Where that fails, one after the other,
and those that cannot be installed are named: the rest is tested without them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    return subprocess.run([*command, *arguments], text=True, capture_output=True, check=False)


def main() -> int:
    if pip("install", "--requirement", str(REQUIREMENTS)).returncode == 0:
        return 0
    lines = [line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines()]
    wanted = [line for line in lines if line]
    failed = 0
    for requirement in wanted:
        result = pip("install", requirement)
        if result.returncode:
            failed += 1
            reason = result.stderr.strip().splitlines() or ["pip gives no reason"]
            print(f"warning: {requirement} cannot be installed: {reason[-1]}", file=sys.stderr)
    return int(failed == len(wanted))


if __name__ == "__main__":
    sys.exit(main())
