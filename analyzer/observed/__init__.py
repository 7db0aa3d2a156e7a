"""What the accesses show: boots, functions, registers, topology, and what each kernel decided.

Observation only: :mod:`analyzer.replay` predicts, :mod:`analyzer.verdicts` judges.
"""
