"""How a process runs: settings, logs, health, metrics, connections, the stream, shutdown."""
