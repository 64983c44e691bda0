"""The people of every trial: who bids, who watches, what they were told and may conclude."""
