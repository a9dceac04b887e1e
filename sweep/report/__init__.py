"""Reports of finished runs: tables, significance tests and curves. Reads result files only, never loads a model."""
