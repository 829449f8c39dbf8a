"""The reference of the configuration is what the models say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_reference_is_current() -> None:
    command = [sys.executable, str(ROOT / "tools" / "gen_reference.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
