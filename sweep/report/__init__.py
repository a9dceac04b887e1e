"""Reports of finished runs: tables, significance, curves; reads result files only, and no log of its own runs."""
