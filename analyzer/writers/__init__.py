"""Captures back to disk: the native ``.bin`` container and Parquet."""

from analyzer.writers.native import NativeWriter, write_capture
from analyzer.writers.parquet import write_parquet

__all__ = ["NativeWriter", "write_capture", "write_parquet"]
