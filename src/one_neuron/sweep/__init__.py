"""Sweeps: many configurations tried, compared by cross-validation, each an MLflow run of its own."""
