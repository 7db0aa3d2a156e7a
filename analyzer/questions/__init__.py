"""The answers of the other commands: ``atrisk``, ``snapshot``, ``stat``, ``corpus``, ``explain``."""
