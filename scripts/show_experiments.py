"""Print DVC's experiments of this commit as a table of at most 120 columns: `make experiments`.

`dvc exp show` has a column for every parameter, metric and file. This table has the accuracies with their 95 %
intervals, test cost and ROC AUC, and the parameters in which an experiment differs from the commit.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from one_neuron.system.command import run_command

WIDTH = 120
LONGEST_NAME = 24
HEADER = ("experiment", "created", "train", "test", "test cost", "ROC AUC", "differs from the commit in")
NOTE = "The test set is for information. To choose between values: make sweep. All commits: dvc exp show -A"


def tabulate(shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table, from what `dvc exp show --json` prints."""
    rows = [HEADER, *_rows(shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    lines = []
    for name, created, *numbers, changes in rows:
        cells = [name.ljust(widths[0]), created.ljust(widths[1])]
        cells += [number.rjust(width) for number, width in zip(numbers, widths[2:], strict=True)]
        lines.append(_cut("  ".join([*cells, changes]).rstrip(), WIDTH))
    return lines


def _rows(shown: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the workspace, of each commit and of its experiments."""
    commit = next((state for state in shown if state["rev"] != "workspace"), shown[0])
    for state in shown:
        yield _row(state, commit)
        for experiment in state["experiments"] or ():
            yield _row(experiment["revs"][0], state, name=experiment["name"], executor=experiment["executor"])


def _row(
    state: Mapping[str, Any], commit: Mapping[str, Any], *, name: str | None = None, executor: Any = None
) -> tuple[str, ...]:
    """Return the cells of one experiment, compared with a commit; "-" where a number is missing."""
    metrics = _flatten(_data(state, "metrics").get("metrics/evaluate.json", {}))
    accuracies = [_accuracy(metrics, split) for split in ("train", "test")]
    others = ["-" if (value := metrics.get(key)) is None else f"{value:.4f}" for key in ("test.cost", "test.roc_auc")]
    created = (state["data"] or {}).get("timestamp")
    when = f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M}" if created else "-"
    params, known = (_flatten(_data(one, "params").get("params.yaml", {})) for one in (state, commit))
    changes = [f"{key}={value}" for key, value in params.items() if known.get(key) != value]
    waiting = [f"[{executor['state']}]"] if executor and executor.get("state") not in (None, "success") else []
    title = f"  {name}" if name else state["name"] or state["rev"][: len("workspace")]
    return _cut(title, LONGEST_NAME), when, *accuracies, *others, " ".join([*waiting, *changes])


def _data(state: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the parameters or metrics of each file that could be read."""
    files = (state["data"] or {}).get(kind) or {}
    return {path: file["data"] for path, file in files.items() if file.get("data")}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values with their keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _accuracy(metrics: Mapping[str, Any], split: str) -> str:
    """Return an accuracy in percent, with its 95 % interval if there is one."""
    accuracy, low, high = (metrics.get(f"{split}{end}") for end in ("_accuracy", ".accuracy_low", ".accuracy_high"))
    if accuracy is None:
        return "-"
    interval = "" if low is None or high is None else f" ({100 * low:.0f}-{100 * high:.0f})"
    return f"{100 * accuracy:.1f} %{interval}"


def _cut(text: str, most: int) -> str:
    """Return a text of at most `most` characters, all of which can be printed."""
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def main() -> int:
    """Print the table."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        return done.returncode  # DVC has printed the reason
    shown = json.loads(done.stdout)
    for line in tabulate(shown):
        print(line)
    if not any(state["experiments"] for state in shown):
        print("No experiments yet: dvc exp run --temp -S train.learning_rate=0.01")
    print(NOTE)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
