"""The shell blocks of a page, and a copy of the project in which they can be run as they stand."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import Project

_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?^```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A shell block; `reason` says why it is not run, "" if it is."""

    text: str
    reason: str


def find_blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    return [Block(found["text"], found["reason"] or "") for found in _BLOCK.finditer(page)]


def give_environment(project: Project) -> None:
    """Make .venv of a copy from links to the environment that runs the tests, so that `make` sets up nothing.

    Its stamps are those of scripts/setup.sh. Python finds pyvenv.cfg beside the folder that it was started from.
    """
    environment = project.folder / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    hashes = {
        name: project.run("git", "hash-object", name).strip()
        for name in ("requirements.txt", "pyproject.toml", "requirements-dev.txt")
    }
    version = project.run("python3", "--version").strip()
    stamp = f"{project.folder} {version} {hashes['requirements.txt']} {hashes['pyproject.toml']}"
    (environment / "one-neuron-stamp").write_text(f"{stamp}\n", encoding="utf-8")
    (environment / "one-neuron-dev-stamp").write_text(f"{hashes['requirements-dev.txt']}\n", encoding="utf-8")


def run_block(project: Project, text: str, home: Path) -> str:
    """Run a block in a shell that stops at the first error, as a user would with the environment activated."""
    environment = project.environment(HOME=str(home), MPLBACKEND="agg", BROWSER="true")
    environment["PATH"] = f"{project.folder / '.venv/bin'}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=project.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{text}\nended with {done.returncode}: {done.stdout}"
    return done.stdout
