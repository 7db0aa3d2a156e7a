"""Every stage of an analysis as a polars table."""
