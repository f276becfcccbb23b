"""`make audit`: ask the advisory database about every locked package, and say clearly when it couldn't be asked.

Ends with 0 if all were checked and none has a known vulnerability, 1 if one has, 3 if some weren't checked.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCKED = Path(__file__).with_name("locked.txt")
VULNERABLE, UNCHECKED = 1, 3


def verdict(answer: str) -> tuple[int, str]:
    """Exit code and words for what pip-audit printed as JSON; nothing stands for a database that can't be reached."""
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return UNCHECKED, "audit: nothing was checked: the advisory database can't be reached (offline?)"
    unchecked = [package for package in packages if "vulns" not in package]
    known = [
        f"{package['name']} {package['version']}: {found['id']}"
        for package in packages
        for found in package.get("vulns", [])
    ]
    if known:
        return VULNERABLE, "audit: known vulnerabilities: " + ", ".join(known)
    if unchecked or not packages:
        return (
            UNCHECKED,
            f"audit: {len(unchecked)} of {len(packages)} packages weren't checked: the registry in use tells no "
            "advisories (a mirror, or offline?)",
        )
    return 0, f"audit: {len(packages)} packages checked, no known vulnerability"


def main() -> int:
    """Run pip-audit beside this interpreter over the lock."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCKED), "--require-hashes", "--disable-pip"]
    done = subprocess.run(  # noqa: S603
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    code, words = verdict(done.stdout)
    print(words, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
