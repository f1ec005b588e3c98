"""A store of MLflow, which takes a second to make."""

from pathlib import Path

import pytest

from one_neuron.tracking.store import ensure_store


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create one store, to be copied by the tests that do not examine its creation."""
    root = tmp_path_factory.mktemp("store")
    ensure_store(root)
    return root / "mlflow.db"
