"""One MLflow run for each result."""
