"""Archives bids from JetStream into PostgreSQL, each exactly once; also the audit and restore."""
