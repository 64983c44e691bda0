"""The archive: bids from JetStream into PostgreSQL, each exactly once, and the audit of it all."""
