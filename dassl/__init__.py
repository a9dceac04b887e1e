"""A small, maintained stand-in for the part of Dassl's public API that CoOp-style code uses."""
