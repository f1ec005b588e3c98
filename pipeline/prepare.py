"""Stage `prepare`: pictures -> data/prepared/train.h5 and test.h5, one row of pixels each, and metrics/prepare.json."""

import sys

from one_neuron.system.interrupts import end_on_interrupt


def main() -> None:
    """Load, resize and flatten the pictures of the source that params.yaml names, and report on them."""
    from one_neuron.layout import DRAW_DIGESTS, DRAWN_FOLDER, PREPARE_DIGESTS, PREPARE_METRICS, TEST_FILE, TRAIN_FILE
    from one_neuron.pictures.cache_limit import trim_rows
    from one_neuron.settings.params import load_settings
    from one_neuron.sources.load import load_source
    from one_neuron.sources.report import build_report, warn
    from one_neuron.storage.prepared_set import save_prepared
    from one_neuron.system.files import write_json
    from one_neuron.system.memory import check_pictures
    from one_neuron.system.outputs import check_outputs, write_digests

    settings = load_settings()
    PREPARE_DIGESTS.unlink(missing_ok=True)
    if settings.data.source == "drawn":
        check_outputs(DRAW_DIGESTS)
    loaded = load_source(settings.data, settings.hdf5, drawn=DRAWN_FOLDER)
    check_pictures("prepare", loaded.train.m + loaded.test.m)
    save_prepared(TRAIN_FILE, loaded.train)
    save_prepared(TEST_FILE, loaded.test)
    report = build_report(loaded)
    write_json(PREPARE_METRICS, report)
    write_digests(PREPARE_DIGESTS, [PREPARE_METRICS])
    trim_rows()
    warn(report, loaded.notes)


if __name__ == "__main__":
    end_on_interrupt()
    from one_neuron.stage import run_stage

    sys.exit(run_stage(main))
