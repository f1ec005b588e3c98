"""The environments that are compared, and what is needed for emulated Arm CPUs. The comparison itself takes minutes."""

import importlib
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from threadpoolctl import threadpool_info

from one_neuron.errors import EnvironmentProblem


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module."""
    monkeypatch.syspath_prepend(repository / "scripts")
    return importlib.import_module("check_reproducibility")


@pytest.fixture
def arm(script: ModuleType) -> ModuleType:
    """Return the module for emulated CPUs."""
    return importlib.import_module("emulated_arm")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that holds all programs that are found; it is empty."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def add_program(folder: Path, name: str, script: str) -> None:
    """Add a program that is a line of shell."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_openblas_knows_every_core_of_this_architecture(script: ModuleType) -> None:
    """An unknown name would change nothing, and the environment would be one that was compared already."""
    paths = [pool["filepath"] for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    if not paths:
        pytest.skip("NumPy uses another BLAS here")
    content = Path(paths[0]).read_bytes().lower()
    environments = script.environments(platform.machine())
    cores = {changes["OPENBLAS_CORETYPE"] for changes in environments.values() if "OPENBLAS_CORETYPE" in changes}
    assert len(cores) >= 8
    assert [core for core in sorted(cores) if core.lower().encode() + b"\0" not in content] == []


@pytest.mark.parametrize(
    ("machine", "oldest", "tunables"), [("x86_64", "Prescott", True), ("arm64", "ARMV8", False), ("s390x", None, False)]
)
def test_the_environments_follow_the_architecture(
    machine: str, oldest: str | None, script: ModuleType, *, tunables: bool
) -> None:
    """On an architecture that is not listed, what can be changed everywhere is changed."""
    found = script.environments(machine)
    together = found["all of these at once"]
    assert together.get("OPENBLAS_CORETYPE") == oldest
    assert ("GLIBC_TUNABLES" in together) is tunables
    assert {"NPY_DISABLE_CPU_FEATURES", "NUMBA_CPU_NAME", "JSIMD_FORCENONE", "OPENBLAS_NUM_THREADS"} <= together.keys()
    assert len({str(changes) for changes in found.values()}) == len(found) - 1  # nothing is changed in two of them


def test_numpy_obeys_the_list_of_features(script: ModuleType) -> None:
    """The features of this CPU that are listed are not used in a process that has the list."""
    listed = script.environments(platform.machine())["NumPy for the oldest CPU"]
    program = "import numpy; print(numpy.show_config(mode='dicts')['SIMD Extensions'].get('found', []))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=listed, capture_output=True, text=True, check=True, timeout=60
    )
    assert listed["NPY_DISABLE_CPU_FEATURES"].split()
    assert done.stdout == "[]\n"


def test_a_missing_emulator_is_named(programs: Path, repository: Path) -> None:
    """With the package to install, and exit code 4."""
    assert list(programs.iterdir()) == []
    command = [sys.executable, "scripts/check_reproducibility.py", "--arm"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "one-neuron: --arm needs QEMU; on Debian, run as root: apt-get update && apt-get install qemu-user-static\n"
    )


def test_another_system_than_debian_is_refused(arm: ModuleType, programs: Path, tmp_path: Path) -> None:
    """Python for Arm comes by apt."""
    add_program(programs, "qemu-aarch64", "exit 1")
    with pytest.raises(EnvironmentProblem, match=r"with apt-get and dpkg-deb; run it on Debian 12 or later"):
        arm.find_cpus(tmp_path, tmp_path / "arm")


def test_a_failed_download_says_why_and_is_tried_again(arm: ModuleType, programs: Path, tmp_path: Path) -> None:
    """With the words of apt."""
    for name in ("qemu-aarch64", "dpkg-deb"):
        add_program(programs, name, "exit 1")
    add_program(programs, "apt-get", "echo 'E: no network' >&2; exit 100")
    for _ in range(2):
        with pytest.raises(EnvironmentProblem, match=r"apt-get update for arm64 failed \(100\): E: no network"):
            arm.find_cpus(tmp_path, tmp_path / "arm")


@pytest.mark.parametrize("sme", [True, False])
def test_each_cpu_is_what_it_is_called(
    arm: ModuleType,
    programs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    sme: bool,
) -> None:
    """The process asks its CPU for SME; QEMU before 7.1 has none. Here QEMU is a line of shell that answers."""
    add_program(programs, "qemu-aarch64", f'[ "$2" = max ] && echo {int(sme)} 8100 90000 || echo 0 0 90000')
    for name in ("apt-get", "dpkg-deb"):
        add_program(programs, name, "exit 1")
    python = tmp_path / "system/usr/bin/python3.11"
    python.parent.mkdir(parents=True)
    for name in ("python3.11", "python3", "python3.11-config"):
        python.with_name(name).touch()
    monkeypatch.setattr(arm, "_install_libraries", lambda root, folder, version: folder / f"libraries-{version}")
    if not sme:
        with pytest.raises(EnvironmentProblem, match=r"qemu-aarch64 has no SME in its CPU 'max'; use QEMU 7\.1 or"):
            arm.find_cpus(tmp_path, tmp_path)
        return
    cases = arm.find_cpus(tmp_path, tmp_path)
    assert list(cases) == ["Arm neoverse-n1, without SME", "Arm max, with SME"]
    variables, command = cases["Arm max, with SME"]
    assert variables == {"PYTHONPATH": f"src:{tmp_path}/libraries-3.11"}
    assert command == ["qemu-aarch64", "-cpu", "max", "-L", f"{tmp_path}/system", str(python)]
    assert "Arm max, with SME: a float32 A @ A.T of NumPy has 8,100 wrong entries of 90,000" in capsys.readouterr().out
