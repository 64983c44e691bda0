"""The bidding protocol in the stores: who may bid on this Redis, the stream, putting bids back."""
