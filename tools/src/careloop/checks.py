"""`./careloop test`: the checks that read code, then pytest on real servers of its own."""

import os
import subprocess
import sys
from pathlib import Path

from careloop.paths import ROOT
from careloop.servers import export, servers

BIN = Path(sys.executable).parent


def _say(text: str) -> None:
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


def read_code() -> bool:
    """Lint, types and import rules; all of them, so that one run shows everything."""
    settings = (ROOT / "pyproject.toml").read_text()
    checks = [["ruff", "check", "."]]
    if "[tool.mypy" in settings:
        checks.append(["mypy"])
    if "[tool.importlinter" in settings:
        checks.append(["lint-imports"])
    passed = True
    for check in checks:
        _say(" ".join(check))
        passed &= subprocess.run([str(BIN / check[0]), *check[1:]], cwd=ROOT, check=False).returncode == 0
    return passed


def test(arguments: list[str]) -> int:
    """Run pytest; without a path named, all tests, after the checks of the code. The answer is pytest's, or 1."""
    whole = not any(Path(ROOT, argument.split("::")[0]).exists() for argument in arguments if argument)
    read = read_code() if whole else True
    _say("starting PostgreSQL, Kafka and OpenBao")
    with servers("test") as system:
        env = {**os.environ, "CARELOOP_TEST_SYSTEM": str(export(system))}
        code = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=env, check=False).returncode
    return code or (0 if read else 1)
