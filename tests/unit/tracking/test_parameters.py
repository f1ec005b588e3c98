"""Which values of params.yaml a run shows."""

from one_neuron.settings.params import check_settings
from one_neuron.tracking.parameters import data_location, run_parameters
from tests.values import DATA, VALUES


def test_the_location_of_pictures_is_not_a_parameter() -> None:
    """For the user's own pictures; the other sources have no location."""
    location = {"data.path": "mine", "data.on_error": "stop", "data.max_skipped": "10"}
    own, hdf5 = (
        check_settings({**VALUES, "data": {**DATA, "source": source, "path": "mine"}}, origin="the test")
        for source in ("folder", "hdf5")
    )
    assert data_location(own) == location
    assert data_location(hdf5) == location | {f"hdf5.{key}": value for key, value in VALUES["hdf5"].items()}
    assert data_location(check_settings(VALUES, origin="the test")) == {}
    assert not run_parameters(hdf5).keys() & data_location(hdf5).keys()
