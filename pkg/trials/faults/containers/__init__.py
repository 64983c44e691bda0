"""The bench on containers: the compose stack, broken through the Docker engine."""
