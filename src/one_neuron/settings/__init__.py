"""params.yaml: its schema and its checks."""
