"""The bidding protocol as the stores hold it: who may bid, the stream, and what is put back."""
