"""Experiment 2: one item, many viewers."""
