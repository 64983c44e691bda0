"""What the emulator covers of this system: the tables of localstack/README.md and their probes."""
