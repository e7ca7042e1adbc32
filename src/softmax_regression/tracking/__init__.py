"""Runs in MLflow: the journal that stages write, and the recorder, registry and pages behind it."""
