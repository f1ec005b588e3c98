"""Where the parameters of a result came from: a promoted run and the run of the result that it led to are linked.

The record is a tag of the promoted run, so it lasts as long as the run that it is about, and neither Git nor DVC sees
it. A result belongs to a promotion if it has the promoted parameters. So the link is right after params.yaml was edited
(there is none), after the edit was undone, and in a queued experiment.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.tracking import tags as tag
from one_neuron.tracking.connection import Connection, connect, mlflow_errors
from one_neuron.tracking.find_run import REMEDY, PromotableRun
from one_neuron.tracking.links import link_run
from one_neuron.tracking.store import hold_signals, store_lock

if TYPE_CHECKING:
    from mlflow.entities import Run

_FROM, _TO = "Its parameters were promoted from ", "Promoted: the result with these parameters is "


def record_promotion(root: Path, promoted: PromotableRun) -> None:
    """Record in the store of the repository `root` that the parameters of a run were written into params.yaml.

    Raises
    ------
    EnvironmentProblem
        If the store cannot be used.
    """
    connection = connect(root, REMEDY)
    record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "sweep": promoted.sweep_id}
    with mlflow_errors(connection.store), store_lock(connection.store), hold_signals(connection.store):
        connection.client.set_tag(promoted.run_id, tag.PROMOTED, json.dumps(record))


def link_promotion(connection: Connection, result: "Run", params: Mapping[str, str]) -> None:
    """Link the run of a result and the run that was promoted last among those with the parameters of the result.

    Both get a tag, and a line in their description. Nothing happens if no such run was promoted, or if they are linked
    already. `params` are the parameters of the result as params.yaml has them. The store's lock must be held.
    """
    client = connection.client
    promoted = [
        run
        for run in client.search_runs(
            list(connection.experiment_ids.values()), filter_string=f"tags.`{tag.PROMOTED}` LIKE '%'"
        )
        # A parameter that the run lacks kept its value when the others were promoted.
        if all(run.data.params.get(name, value) == value for name, value in params.items())
        and run.info.run_id != result.info.run_id
    ]
    if not promoted:
        return
    source, record = max(((run, json.loads(run.data.tags[tag.PROMOTED])) for run in promoted), key=_time_of)
    sweep_id, result_id = record["sweep"], result.info.run_id
    words = [source.info.run_id, *([f"of sweep {sweep_id}"] if sweep_id else [])]
    _link(connection, result, tag.PROMOTED_FROM, " ".join(words), _FROM + _markdown_link(source, sweep_id))
    _link(connection, source, tag.PROMOTED_TO, result_id, _TO + _markdown_link(result, None))


def _time_of(promotion: "tuple[Run, dict[str, str]]") -> str:
    """Return the time of a promotion, in UTC, as ISO 8601 writes it."""
    return promotion[1]["time"]


def _markdown_link(run: "Run", sweep_id: str | None) -> str:
    """Return the end of a sentence: a link to a run, and to its sweep if it was chosen from one."""
    experiment_id = run.info.experiment_id
    name = re.sub(r"([\\`*_\[\]<>&~])", r"\\\1", run.info.run_name)  # what means something in Markdown
    of_sweep = f" of the [sweep {sweep_id[:8]}]({link_run(experiment_id, sweep_id)})" if sweep_id else ""
    return f"[{name}]({link_run(experiment_id, run.info.run_id)}){of_sweep}."


def _link(connection: Connection, run: "Run", name: str, value: str, line: str) -> None:
    """Set a tag, and write a line as the second paragraph of the description in place of an earlier one of its kind."""
    if run.data.tags.get(name) == value:
        return
    note = run.data.tags.get(tag.NOTE, "")
    paragraphs = [part for part in note.split("\n\n") if part and not part.startswith((_FROM, _TO))]
    paragraphs.insert(1, line)
    # The tag comes last: it says that the description is written.
    connection.client.set_tag(run.info.run_id, tag.NOTE, "\n\n".join(paragraphs))
    connection.client.set_tag(run.info.run_id, name, value)
