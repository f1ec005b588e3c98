"""Write the source files that each stage imports into dvc.yaml: `make deps`. With --check, only compare."""

import re
import sys
from pathlib import Path

from one_neuron.layout import SOURCE_ROOT, find_code, holds_only_names

ROOT = Path(__file__).resolve().parents[1]
_STAGE = re.compile(r"^    cmd: PYTHONPATH=src python (pipeline/\w+\.py)$.*?(?=^  \w|^\w|\Z)", re.MULTILINE | re.DOTALL)
_SOURCES = re.compile(r"(?:^      - src/\S+\n)+", re.MULTILINE)


def update(text: str) -> str:
    """Return dvc.yaml with the right source files among the deps of each stage."""

    def update_stage(stage: re.Match[str]) -> str:
        needed = [path for path in find_code(ROOT / stage[1]) if not holds_only_names(path)]
        folder = SOURCE_ROOT.relative_to(ROOT).as_posix()
        return _SOURCES.sub("".join(f"      - {folder}/{path.as_posix()}\n" for path in needed), stage[0], count=1)

    return _STAGE.sub(update_stage, text)


def main() -> int:
    """Update dvc.yaml, or compare it."""
    path = ROOT / "dvc.yaml"
    old = path.read_text(encoding="utf-8")
    new = update(old)
    if new == old:
        return 0
    if "--check" in sys.argv[1:]:
        print("dvc.yaml does not name the source files that its stages import; run `make deps`", file=sys.stderr)
        return 1
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
