"""Weights to model_repository/: one-time, verified against the original library, atomic. Runs in .venv-export only."""
