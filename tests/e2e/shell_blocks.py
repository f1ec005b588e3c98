"""The blocks of commands of a page, and a copy of the project in which they can be run as they stand."""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import Project

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?^```(?P<language>sh|python)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
INTERPRETERS = {"sh": ("bash", "-euo", "pipefail"), "python": ("python",)}


@dataclass(frozen=True)
class Block:
    """A block in the language "sh" or "python"; `reason` says why it is not run, "" if it is."""

    language: str
    text: str
    reason: str


def find_blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order, without those that are doctests."""
    found = (Block(match["language"], match["text"], match["reason"] or "") for match in _BLOCK.finditer(page))
    return [block for block in found if block.language == "sh" or ">>> " not in block.text]


def copy_project(project: Project, folder: Path) -> Project:
    """Return a copy of a project, without its store. The new folder must be at the same depth as the old one."""
    shutil.copytree(project.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".venv", "mlflow.db*"))
    copy = Project(folder)
    give_environment(copy)
    return copy


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


def run_block(project: Project, block: Block, home: Path) -> str:
    """Run a block as a user would with the environment activated; a shell stops at the first error."""
    path = f"{project.folder / '.venv/bin'}{os.pathsep}{project.environment()['PATH']}"
    command = (*INTERPRETERS[block.language], "-c", block.text)
    return project.run(*command, PATH=path, HOME=str(home), MPLBACKEND="agg", BROWSER="true")
