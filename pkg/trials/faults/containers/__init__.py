"""The bench on containers: the compose stack, broken from outside by the engine."""
