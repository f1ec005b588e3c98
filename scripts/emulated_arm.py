"""Emulated 64-bit Arm CPUs that run the stages: QEMU, Debian's Python for Arm, and the locked libraries for Arm.

All of it lies in one folder, 430 MB, and is downloaded once: by apt from the sources of this system, and by uv from the
package index. Nothing is installed, and only programs in that folder are emulated.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from one_neuron.errors import EnvironmentProblem

EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")
CPUS = {"neoverse-n1": False, "max": True}  # whether a CPU has SME, the Scalable Matrix Extension
_PACKAGES = ("python3", "libgomp1", "libstdc++6")

# The entries of a float32 A @ A.T that are wrong, for which NumPy calls ssyrk; and whether the CPU has SME, bit 23 of
# the second word of hardware capabilities that Linux gives to each process (AT_HWCAP2 is 26).
_ABOUT_CPU = """
import ctypes, numpy as np
library = ctypes.CDLL(None)
library.getauxval.restype, library.getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
A = np.random.default_rng(1).integers(0, 256, (300, 256)).astype(np.float32)
out = np.full((300, 300), np.nan, np.float32)  # as memory may be that was used before
np.matmul(A, A.T, out=out)
wrong = int((out != A.astype(np.float64) @ A.T.astype(np.float64)).sum())
print(library.getauxval(26) >> 23 & 1, wrong, out.size)
"""


def find_cpus(root: Path, folder: Path) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Return the variables and the command of Python on each emulated CPU, by a name for the table; print what they do.

    Parameters
    ----------
    root : Path
        The project, with its requirements.txt and pyproject.toml.
    folder : Path
        For the downloads; what is there already is used again.

    Raises
    ------
    EnvironmentProblem
        If a program is missing, a download fails, or the emulator is too old to have a CPU with SME.
    """
    emulator = next((name for name in EMULATORS if shutil.which(name)), None)
    if emulator is None:
        raise EnvironmentProblem(
            "--arm needs QEMU; on Debian, run as root: apt-get update && apt-get install qemu-user-static"
        )
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise EnvironmentProblem("--arm gets Python for Arm with apt-get and dpkg-deb; run it on Debian 12 or later")
    system = _unpack_python(folder)
    python = next(path for path in sorted((system / "usr/bin").glob("python3.*")) if path.suffix[1:].isdigit())
    libraries = _install_libraries(root, folder, python.name.removeprefix("python"))
    cases = {}
    for cpu, has_sme in CPUS.items():
        command = [emulator, "-cpu", cpu, "-L", str(system), str(python)]
        print(f"emulating {cpu} ...", file=sys.stderr)
        done = _run([*command, "-c", _ABOUT_CPU], f"QEMU's CPU '{cpu}'", PYTHONPATH=str(libraries))
        sme, wrong, entries = map(int, done.split())
        if bool(sme) != has_sme:
            raise EnvironmentProblem(f"{emulator} has no SME in its CPU 'max'; use QEMU 7.1 or later")
        name = f"Arm {cpu}, {'with' if sme else 'without'} SME"
        print(f"{name}: a float32 A @ A.T of NumPy has {wrong:,} wrong entries of {entries:,}")
        cases[name] = ({"PYTHONPATH": os.pathsep.join(["src", str(libraries)])}, command)
    return cases


def _unpack_python(folder: Path) -> Path:
    """Return a folder with Debian's Python for Arm and its libraries, as the root of an emulated system."""
    system = folder / "system"
    if system.exists():
        return system
    print("downloading Python for Arm (25 MB) ...", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        partial = Path(name)
        for needed in ("state/lists/partial", "cache/archives/partial"):
            (partial / needed).mkdir(parents=True)
        (partial / "status").touch()  # as if no package were installed: apt downloads all that Python needs
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "",  # apt's own user may not write here
            "Dir::State": partial / "state",
            "Dir::State::status": partial / "status",
            "Dir::Cache": partial / "cache",
        }
        apt = ["apt-get", "-qq", "--yes", "--no-install-recommends"]
        apt += [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        _run([*apt, "update"], "apt-get update for arm64")
        _run([*apt, "--download-only", "install", *_PACKAGES], "apt-get install for arm64")
        for package in sorted((partial / "cache/archives").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(partial / "system")], "dpkg-deb")
        (partial / "system").rename(system)
    return system


def _install_libraries(root: Path, folder: Path, version: str) -> Path:
    """Return a folder with the locked libraries that the stages import, for Arm and a version of Python."""
    locked = root / "requirements.txt"
    libraries = folder / f"libraries-{version}-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    if not libraries.exists():
        print("downloading the libraries for Arm (110 MB) ...", file=sys.stderr)
        for old in folder.glob("libraries-*"):
            shutil.rmtree(old)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python-version", version]
        what = ["--constraint", str(locked), "-r", str(root / "pyproject.toml"), "matplotlib", "omegaconf"]
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            target = ["--target", f"{partial}/libraries", "--python-platform", "aarch64-manylinux_2_28"]
            _run([*uv, *target, *what], "uv for aarch64")
            Path(partial, "libraries").rename(libraries)
    return libraries


def _run(command: Sequence[str], what: str, **variables: str) -> str:
    """Return what a program prints; raise EnvironmentProblem with the end of its errors if it fails."""
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentProblem(f"{what} failed ({done.returncode}): {(done.stderr + done.stdout).strip()[-500:]}")
    return done.stdout
