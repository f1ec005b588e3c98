"""The table of docs/reliability.md."""

import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.e2e.conftest import ROOT
from tests.faults.kinds import KINDS
from tests.faults.project import Counts

_BEGIN, _END = "<!-- counts -->", "<!-- end of counts -->"


def describe(counts: Counts) -> str:
    """Return counts in words, the largest first."""
    return ", ".join(f"{count:,} {what}" for what, count in counts.most_common())


def write_page(path: Path, results: Iterable[Mapping[str, Any]], machine: str) -> None:
    """Write a line about the machine and the table into the page, between its two comments."""
    lines = [machine, "", "| what | cases | failed | how often what happened |", "| --- | ---: | ---: | --- |"]
    for name, kind in KINDS.items():
        found = [result for result in results if result["kind"] == name]
        if found:
            failed = sum(bool(result["failure"]) for result in found)
            counts = sum((Counter(result["outcome"]) for result in found), Counter[str]())
            lines.append(f"| {kind.title} | {len(found):,} | {failed} | {describe(counts)} |")
    before, found_begin, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, found_end, after = rest.partition(_END)
    if not found_begin or not found_end:
        raise SystemExit(f"'{path}' has no '{_BEGIN}' with '{_END}' behind it")
    path.write_text(f"{before}{_BEGIN}\n\n" + "\n".join(lines) + f"\n\n{_END}{after}", encoding="utf-8")


def describe_machine(cores: int, folder: Path) -> str:
    """Return the commit of the sources, CPU, cores, system, the file system of a folder, and versions."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    system = f"Linux {platform.release().partition('-')[0]}, {find_file_system(folder)}"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("dvc", "mlflow", "h5py", "numpy", "pillow"))
    cpu = names[0] if names else platform.machine()
    command = ["git", "log", "-1", "--format=%h", "--", "src", "pipeline", "dvc.yaml"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    python = f"Python {platform.python_version()}, {versions}."
    return f"The sources of commit {commit}. {cpu}, {cores} cores, {system}. {python}"


def find_file_system(folder: Path) -> str:
    """Return the kind of file system that a folder lies in."""
    found = ("", "unknown")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        place, kind = line.split(" ")[1:3]
        if folder.is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind)
    return found[1]
