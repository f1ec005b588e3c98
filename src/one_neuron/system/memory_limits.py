"""The limits on the memory of this process: of its user, of its control groups, and of the machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEGABYTE = 2**20
UNLIMITED = 2**62  # cgroup v1 has no word for it, and stores the largest multiple of the page size
_ROOT = Path("/")


@dataclass(frozen=True)
class Limit:
    """A limit on the memory of this process.

    Parameters
    ----------
    kind : {"address", "data", "resident"}
        Which memory it counts; see `memory.Need`.
    total, used : int
        Bytes that are allowed, and bytes of them in use.
    name : str
        For messages.
    remedy : str
        With {megabytes} and {kilobytes}, the number to ask for.
    """

    kind: str
    total: int
    used: int
    name: str
    remedy: str

    @property
    def left(self) -> int:
        """Bytes that are allowed and not in use."""
        return max(0, self.total - self.used)


def find_limits(root: Path = _ROOT) -> list[Limit]:
    """Return all limits on the memory of this process: of its user, of its control groups, and of the machine.

    Parameters
    ----------
    root : Path
        The folder with `proc` and `sys`.
    """
    return [*user_limits(root), *_group_limits(root), *_machine_limits(root)]


def user_limits(root: Path) -> Iterator[Limit]:
    """Yield the limits that `ulimit` sets on each process."""
    if resource is None:
        return
    status = _read_fields(root / "proc/self/status")
    for name, kind, option, field in (
        ("RLIMIT_AS", "address", "-v", "VmSize"),
        ("RLIMIT_DATA", "data", "-d", "VmData"),
    ):
        soft, hard = resource.getrlimit(getattr(resource, name))
        if soft == resource.RLIM_INFINITY:
            continue
        if hard == resource.RLIM_INFINITY:
            remedy = f"raise it: ulimit {option} {{kilobytes}}"
        else:
            remedy = f"start it where `ulimit {option}` is at least {{kilobytes}} (kilobytes)"
        yield Limit(kind, soft, status.get(field, 0), f"`ulimit {option}`", remedy)


def _machine_limits(root: Path) -> Iterator[Limit]:
    """Yield the memory of the machine, with its swap space. Memory that Linux can free at once is not in use."""
    fields = _read_fields(root / "proc/meminfo")
    if "MemTotal" in fields and "MemAvailable" in fields:
        total = fields["MemTotal"] + fields.get("SwapTotal", 0)
        left = fields["MemAvailable"] + fields.get("SwapFree", 0)
        yield Limit("resident", total, total - left, "this machine", "end other programs, or use a larger machine")


def _group_limits(root: Path) -> Iterator[Limit]:
    """Yield the limits of the control groups of this process: of its own and of those around it.

    A container sees its own group as the root. In version 1 a file holds the limit, in version 2 `memory.max` is the
    hard limit, and above `memory.high` Linux slows the process down until it hardly runs.
    """
    for version, mount, group in _find_groups(root):
        remedy = "give the container or control group more memory, {megabytes} MB"
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            if version == 1:
                files, usage, idle = ["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_inactive_file"
            else:
                files, usage, idle = ["memory.max", "memory.high"], "memory.current", "inactive_file"
            for file in files:
                total = _read_number(folder / file)
                if total is None or total >= UNLIMITED:
                    continue
                # Pages of files that were read once are freed when memory is short.
                used = (_read_number(folder / usage) or 0) - _read_fields(folder / "memory.stat", unit=1).get(idle, 0)
                swap = _group_swap(folder, version, total, root)
                name = f"the control group {str(folder)[len(str(mount)) :] or '/'} ({file})"
                yield Limit("resident", total + swap, max(0, used), name, remedy)


def _group_swap(folder: Path, version: int, total: int, root: Path) -> int:
    """Return how many bytes of swap space the processes of a control group may still use."""
    free = _read_fields(root / "proc/meminfo").get("SwapFree", 0)
    if version == 1:
        both = _read_number(folder / "memory.memsw.limit_in_bytes")  # memory and swap space together
        return free if both is None else max(0, min(free, both - total))
    most, used = _read_number(folder / "memory.swap.max"), _read_number(folder / "memory.swap.current") or 0
    return free if most is None else max(0, min(free, most - used))


def _find_groups(root: Path) -> Iterator[tuple[int, Path, Path]]:
    """Yield the version, the mount point and the folder of each control group that may limit this process's memory."""
    own: dict[int, str] = {}
    for line in _read_lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            own[1] = path
        elif number == "0" and not controllers:
            own[2] = path
    for line in _read_lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options, *_) = before.split(), [*after.split(), "", "", ""]
        version = {"cgroup": 1, "cgroup2": 2}.get(kind, 0)
        if version not in own or (version == 1 and "memory" not in options.split(",")):
            continue
        top, mount = fields[3], root / fields[4].lstrip("/")
        # In a container without a namespace of its own, the path begins with the part that is mounted.
        path = own[version]
        inside = path[len(top) :] if top != "/" and f"{path}/".startswith(f"{top}/") else path
        folder = mount / inside.strip("/")
        yield version, mount, folder if ".." not in folder.parts and folder.is_dir() else mount


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file of the system; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _read_number(path: Path) -> int | None:
    """Return the number in a file of a control group; None for "max" and for a file that does not exist."""
    text = "".join(_read_lines(path)).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _read_fields(path: Path, *, unit: int = 1024) -> dict[str, int]:
    """Return the numbers of a file with lines such as `MemTotal: 1024 kB`, in bytes."""
    fields = {}
    for line in _read_lines(path):
        name, *values = line.replace(":", " ").split() or [""]
        if values and values[0].isdigit():
            fields[name] = int(values[0]) * unit
    return fields
