"""Limits on memory, read from small trees of files as Linux shows them, and what does not fit into them."""

import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.system import memory, memory_limits
from one_neuron.system.memory import (
    NEEDS,
    Need,
    check_free,
    check_pictures,
    check_start,
    memory_left,
)
from one_neuron.system.memory_limits import Limit, find_limits

MB = 2**20
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V2_MOUNT = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
OTHER_MOUNT = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
MEMINFO = "MemTotal: 8388608 kB\nMemFree: 100 kB\nMemAvailable: 4194304 kB\nHugePages_Total: 0\n"


@pytest.fixture(autouse=True)
def no_user_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only the limits that a test sets."""
    monkeypatch.setattr(memory, "user_limits", lambda _: iter(()))
    monkeypatch.setattr(memory_limits, "user_limits", lambda _: iter(()))


def write(root: Path, files: Mapping[str, object]) -> Path:
    """Write small files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", encoding="utf-8")
    return root


def version_1(root: Path, group: str, files: Mapping[str, object], *, top: str = "/") -> Path:
    """Write a tree with control groups of version 1; `files` are relative to the mount point."""
    tree = {
        "proc/self/cgroup": f"9:name=systemd:/\n4:memory:{group}\n3:cpu,cpuacct:/x\n0::/",
        "proc/self/mountinfo": f"{OTHER_MOUNT}\n{V1_MOUNT.format(root=top)}",
    }
    return write(root, {**tree, **{f"sys/fs/cgroup/memory/{name}": content for name, content in files.items()}})


def version_2(root: Path, group: str, files: Mapping[str, object], *, top: str = "/") -> Path:
    """Write a tree with control groups of version 2."""
    tree = {"proc/self/cgroup": f"0::{group}", "proc/self/mountinfo": V2_MOUNT.format(root=top)}
    return write(root, {**tree, **{f"sys/fs/cgroup/{name}": content for name, content in files.items()}})


def summary(root: Path) -> list[tuple[str, int, int]]:
    """Return name, total and rest of each limit, in megabytes."""
    return [(limit.name, limit.total // MB, limit.left // MB) for limit in find_limits(root)]


def test_a_group_of_version_1(tmp_path: Path) -> None:
    """300 MB are allowed and 120 in use, of which 20 are pages of files that can be freed: 200 are left."""
    root = version_1(
        tmp_path,
        "/job",
        {
            "job/memory.limit_in_bytes": 300 * MB,
            "job/memory.usage_in_bytes": 120 * MB,
            "job/memory.stat": f"cache 5\ntotal_inactive_file {20 * MB}",
            "memory.limit_in_bytes": 9223372036854771712,
        },
    )
    assert summary(root) == [("the control group /job (memory.limit_in_bytes)", 300, 200)]
    assert memory_left(root) == 200 * MB


def test_a_group_of_version_2(tmp_path: Path) -> None:
    """`max` means unlimited. `memory.high`, above which Linux slows a process down, counts as a limit."""
    root = version_2(
        tmp_path,
        "/user.slice/job.scope",
        {
            "user.slice/job.scope/memory.max": "max",
            "user.slice/job.scope/memory.high": 256 * MB,
            "user.slice/job.scope/memory.current": 60 * MB,
            "user.slice/job.scope/memory.stat": f"anon 1\ninactive_file {10 * MB}",
            "user.slice/memory.max": "max",
            "user.slice/memory.high": "max",
        },
    )
    assert summary(root) == [("the control group /user.slice/job.scope (memory.high)", 256, 206)]


def test_groups_within_groups(tmp_path: Path) -> None:
    """The outer group is smaller, and other processes in it use memory as well."""
    root = version_2(
        tmp_path,
        "/outer/inner",
        {
            "outer/inner/memory.max": 500 * MB,
            "outer/inner/memory.current": 100 * MB,
            "outer/memory.max": 400 * MB,
            "outer/memory.current": 350 * MB,
        },
    )
    assert [left for *_, left in summary(root)] == [400, 50]
    assert memory_left(root) == 50 * MB


@pytest.mark.parametrize(
    ("group", "top"),
    [("/", "/"), ("/docker/abc", "/docker/abc"), ("/../../other", "/"), ("/docker/abc", "/")],
    ids=["namespace", "no namespace", "outside", "not mounted"],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_sees_its_group_at_the_mount_point(tmp_path: Path, group: str, top: str, version: int) -> None:
    """With a namespace its path is /; without, the path of the host is shown, and the mount names it."""
    if version == 1:
        root = version_1(tmp_path, group, {"memory.limit_in_bytes": 250 * MB}, top=top)
    else:
        root = version_2(tmp_path, group, {"memory.max": 250 * MB}, top=top)
    assert [(total, left) for _, total, left in summary(root)] == [(250, 250)]


def test_a_group_inside_a_container_without_a_namespace(tmp_path: Path) -> None:
    """The part of the path below the mounted group is found."""
    root = version_2(
        tmp_path, "/docker/abc/job", {"job/memory.max": 100 * MB, "memory.max": 200 * MB}, top="/docker/abc"
    )
    assert [(name, total) for name, total, _ in summary(root)] == [
        ("the control group /job (memory.max)", 100),
        ("the control group / (memory.max)", 200),
    ]


def test_both_versions_at_once(tmp_path: Path) -> None:
    """A hybrid system has the memory controller in one of them; the other has no files for it."""
    root = version_1(tmp_path, "/job", {"job/memory.limit_in_bytes": 300 * MB})
    mounts = root / "proc/self/mountinfo"
    unified = V2_MOUNT.format(root="/").replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    write(root, {"sys/fs/cgroup/unified/cgroup.procs": "1"})
    mounts.write_text(f"{mounts.read_text(encoding='utf-8')}{unified}\n", encoding="utf-8")
    assert [total for _, total, _ in summary(root)] == [300]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "", "proc/meminfo": "rubbish"},
        {"proc/self/cgroup": "0::/x", "proc/self/mountinfo": "short"},
        {"proc/self/cgroup": "rubbish\n::\n0:", "proc/self/mountinfo": f"{V1_MOUNT}\n- cgroup2"},
        {"proc/meminfo": "MemTotal: 8388608 kB"},
    ],
)
def test_what_is_missing_limits_nothing(tmp_path: Path, files: Mapping[str, object]) -> None:
    """The files are missing on macOS, for example: it knows neither, and a container may hide some."""
    root = write(tmp_path, files)
    assert find_limits(root) == []
    assert memory_left(root) > 2**60
    check_free(2**50, "x", "y", root)
    check_start("train", root)


def test_swap_space_is_memory(tmp_path: Path) -> None:
    """Of 100 MB of free swap space, a group of version 2 may use 40 minus 10, and one of version 1 50."""
    swap = {"proc/meminfo": f"{MEMINFO}SwapTotal: 204800 kB\nSwapFree: 102400 kB"}
    two = version_2(
        write(tmp_path / "2", swap),
        "/",
        {"memory.max": 200 * MB, "memory.swap.max": 40 * MB, "memory.swap.current": 10 * MB},
    )
    one = version_1(
        write(tmp_path / "1", swap),
        "/",
        {"memory.limit_in_bytes": 200 * MB, "memory.memsw.limit_in_bytes": 250 * MB},
    )
    free = version_2(write(tmp_path / "max", swap), "/", {"memory.max": 200 * MB, "memory.swap.max": "max"})
    machine = ("this machine", 8192 + 200, 4096 + 100)
    assert [[left for *_, left in summary(root)] for root in (two, one, free)] == [
        [230, machine[2]],
        [250, machine[2]],
        [300, machine[2]],
    ]
    assert summary(free)[1] == machine


def test_a_command_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message with both numbers, and the number to ask for: 300 MB are needed, 250 - 20 allowed, so 70 more."""
    monkeypatch.setitem(NEEDS, "train", Need(address=1, data=1, resident=300))
    root = version_2(tmp_path, "/job", {"job/memory.max": 250 * MB, "job/memory.current": 20 * MB})
    with pytest.raises(EnvironmentProblem) as caught:
        check_start("train", root)
    assert str(caught.value) == (
        "`train` needs 300 MB of memory; the control group /job (memory.max) allows 230 MB: "
        "give the container or control group more memory, 320 MB"
    )
    monkeypatch.setitem(NEEDS, "train", Need(address=10**9, data=10**9, resident=230))
    check_start("train", root)
    check_start("no such command", root)


def test_more_pictures_than_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million pictures of 220 bytes each are 210 MB, of 250 - 50 that are left."""
    monkeypatch.setitem(NEEDS, "evaluate", Need(address=1, data=1, resident=1, picture=220))
    root = version_2(tmp_path, "/job", {"job/memory.max": 250 * MB, "job/memory.current": 50 * MB})
    with pytest.raises(EnvironmentProblem) as caught:
        check_pictures("evaluate", 1_000_000, root)
    assert str(caught.value) == (
        "`evaluate` with 1,000,000 pictures needs 210 MB of memory; the control group /job (memory.max) allows 200 MB: "
        "use fewer pictures, or give the container or control group more memory, 260 MB"
    )
    check_pictures("evaluate", 900_000, root)
    monkeypatch.setitem(NEEDS, "evaluate", Need(address=1, data=1, resident=1, picture=220, later=60))
    with pytest.raises(EnvironmentProblem, match="`evaluate` with 900,000 pictures needs 219 MB of memory"):
        check_pictures("evaluate", 900_000, root)


def test_the_memory_of_the_machine(tmp_path: Path) -> None:
    """What Linux calls available: 4 of 8 GB."""
    root = write(tmp_path, {"proc/meminfo": MEMINFO})
    check_free(4 * 2**30, "the Gram matrix", "use fewer pictures", root)
    with pytest.raises(EnvironmentProblem) as caught:
        check_free(4 * 2**30 + 1, "the Gram matrix", "use fewer pictures", root)
    assert str(caught.value) == (
        "the Gram matrix needs 4,097 MB of memory; this machine allows 4,096 MB: "
        "use fewer pictures, or end other programs, or use a larger machine"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the memory of the machine is not asked for")
def test_this_machine_has_memory() -> None:
    """The real files can be read: some megabytes are left here, and no more than the machine has."""
    assert 16 * MB < memory_left() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + 2**44


LINUX_LIMITS = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not hold processes to such limits")
PROGRAM = """
import resource, sys
number, megabytes = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(number, (megabytes * 2**20, resource.getrlimit(number)[1]))
{}
"""
START = "from one_neuron.system import memory\nmemory.NEEDS['x'] = memory.Need(400, 400, 0)\n"
CHECK = "from one_neuron.system.command import run_command\nsys.exit(run_command(lambda: memory.check_start('x')))"


def run_limited(number: int, megabytes: int, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program with a soft limit on its memory."""
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", PROGRAM.format(program), str(number), str(megabytes)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@LINUX_LIMITS
@pytest.mark.parametrize(("number", "option"), [(resource.RLIMIT_AS, "-v"), (resource.RLIMIT_DATA, "-d")])
def test_the_limits_of_the_user(number: int, option: str) -> None:
    """The remedy in the message is what `ulimit` takes: kilobytes."""
    done = run_limited(number, 300, START + CHECK)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        f"one-neuron: `x` needs 400 MB of memory; `ulimit {option}` allows 300 MB: raise it: ulimit {option} 409600\n"
    )
    assert run_limited(number, 409600 // 1024, START + CHECK).returncode == 0


@LINUX_LIMITS
def test_blas_gets_one_thread_where_memory_is_limited() -> None:
    """40 MB of address space for each thread are saved; without a limit nothing changes."""
    program = "import os\nfrom one_neuron.system.memory import save_address_space\nsave_address_space()\n"
    program += "print(os.environ.get('OPENBLAS_NUM_THREADS'))"
    assert run_limited(resource.RLIMIT_AS, 500, program).stdout == "1\n"
    assert run_limited(resource.RLIMIT_AS, 100_000, program).stdout == "None\n"


MAPPED = "libhdf5.so: failed to map segment from shared object"


@LINUX_LIMITS
@pytest.mark.parametrize(
    "error",
    [
        "MemoryError()",
        f"ImportError('{MAPPED}')",
        "OSError(12, 'Cannot allocate memory')",
        "SystemError('error return without exception set')",
    ],
)
def test_memory_that_runs_out_names_the_limit(error: str) -> None:
    """Also if a library reports an error of its own that follows from it."""
    program = f"""
from one_neuron.system.command import run_command
def command():
    try:
        raise MemoryError
    except MemoryError:
        raise {error}
sys.exit(run_command(command))"""
    done = run_limited(resource.RLIMIT_AS, 300, program)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert done.stderr.startswith(
        "one-neuron: out of memory: `ulimit -v` allows 300 MB; raise it: ulimit -v 614400, or "
    )


@LINUX_LIMITS
def test_a_thread_that_memory_ends() -> None:
    """A pool would wait for its work for ever. Another error of a thread is shown, as Python does."""
    program = """
import threading, time
from one_neuron.system.command import run_command
def fail():
    raise {error}
def command():
    threading.Thread(target=fail).start()
    time.sleep({seconds})
sys.exit(run_command(command))"""
    done = run_limited(resource.RLIMIT_AS, 300, program.format(error="MemoryError", seconds=60))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert done.stderr.startswith("one-neuron: out of memory: `ulimit -v` allows 300 MB; ")
    done = run_limited(resource.RLIMIT_AS, 300, program.format(error="KeyError('x')", seconds=0))
    assert (done.returncode, done.stdout) == (0, "")
    assert "KeyError: 'x'" in done.stderr


_FILLED = """
import sys
from one_neuron.system.command import run_command
def command():
    held, size = [], 2**20
    while size > {smallest}:
        try:
            held.append(bytearray(size))
        except MemoryError:
            size //= 2
    raise {error}
sys.exit(run_command(command))"""


@pytest.mark.parametrize(("smallest", "error"), [(256, "MemoryError"), (2**19, "SystemError('returned NULL')")])
def test_memory_that_is_used_up_can_still_be_reported(smallest: int, error: str) -> None:
    """The traceback keeps all of it alive while the message is made. Modules in C raise a SystemError."""
    done = run_limited(resource.RLIMIT_AS, 200, _FILLED.format(smallest=smallest, error=error))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert done.stderr.startswith("one-neuron: out of memory: `ulimit -v` allows 200 MB; ")


def test_a_system_error_with_memory_left_keeps_its_traceback() -> None:
    """It is a mistake of a library."""
    done = run_limited(resource.RLIMIT_AS, 400, _FILLED.format(smallest=2**20, error="SystemError('returned NULL')"))
    assert done.returncode == 1
    assert done.stderr.endswith("SystemError: returned NULL\n")


def test_the_tightest_limit_counts() -> None:
    """The one of which the least is left, whatever its total."""
    assert Limit("data", 100, 90, "", "").left == 10
    assert Limit("data", 100, 190, "", "").left == 0


def test_every_stage_has_a_need() -> None:
    """`run_stage` looks it up by the name of the script."""
    scripts = Path(__file__).parents[3].glob("pipeline/*.py")
    assert {path.stem for path in scripts} <= set(NEEDS)
    for need in NEEDS.values():
        assert 0 < need.data < need.address
        assert need.resident > 0


@pytest.mark.parametrize("command", NEEDS)
def test_the_documentation_shows_the_needs(command: str) -> None:
    """One row for each command."""
    need, page = NEEDS[command], Path(__file__).parents[3] / "docs/commands.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    shown = f"| {need.address} | {need.data} | {need.resident} |"
    assert any(row.endswith(shown) and command in row for row in rows)


@pytest.mark.parametrize(("option", "kind"), [("-v", "address"), ("-d", "data")])
@pytest.mark.parametrize("command", NEEDS)
def test_a_command_that_does_not_fit_ends_with_one_line(
    command: str, option: str, kind: str, repository: Path, tmp_path: Path
) -> None:
    """Of the real scripts and the command line, a megabyte below what each needs; nothing is written."""
    needed: int = getattr(NEEDS[command], kind)
    script = repository / "pipeline" / f"{command}.py"
    what = (
        [str(script)]
        if script.is_file()
        else ["-m", "one_neuron.cli", *command.split(), *(["x"] if command in ("predict", "verify") else [])]
    )
    shell = f'ulimit {option} {(needed - 1) * 1024} && exec "$0" "$@"'
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    done = subprocess.run(
        ["bash", "-c", shell, sys.executable, *what],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        f"one-neuron: `{command}` needs {needed} MB of memory; `ulimit {option}` allows {needed - 1} MB: "
        f"start it where `ulimit {option}` is at least {needed * 1024} (kilobytes)\n"
    )
    assert list(tmp_path.iterdir()) == []
