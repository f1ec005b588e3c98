"""Stage `prepare`: pictures -> data/prepared/train.h5 and test.h5, one row of pixels each, and metrics/prepare.json."""

import sys

from one_neuron.system.command import run_command


def main() -> None:
    """Load, resize and flatten the pictures of the source that params.yaml names; say what they are."""
    from pathlib import Path

    from one_neuron.pictures.row_cache import trim_rows
    from one_neuron.settings.params import load_settings
    from one_neuron.sources.load import load_source
    from one_neuron.sources.report import build_report, warn
    from one_neuron.storage.prepared_set import save_prepared
    from one_neuron.system.files import write_json

    settings = load_settings()
    loaded = load_source(settings.data, settings.hdf5, drawn=Path("data/drawn"))
    save_prepared(Path("data/prepared/train.h5"), loaded.train)
    save_prepared(Path("data/prepared/test.h5"), loaded.test)
    report = build_report(
        loaded.train, loaded.test, classes=loaded.classes, skipped=loaded.skipped, ignored=loaded.ignored
    )
    write_json(Path("metrics/prepare.json"), report)
    trim_rows()
    warn(report)


if __name__ == "__main__":
    sys.exit(run_command(main))
