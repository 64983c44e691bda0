"""Experiment 1: many users bid on one item."""
