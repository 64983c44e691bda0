"""Experiment 3: a part of the system fails while bids arrive."""
