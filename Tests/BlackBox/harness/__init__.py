"""Shared by the black-box tests: a real node process, and clients that work on raw bytes."""
