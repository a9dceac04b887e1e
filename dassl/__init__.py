"""A small, maintained replacement for the part of Dassl's public API that CoOp-style code uses."""
