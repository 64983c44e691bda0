"""The stage of containers: the compose stack, hit from outside as an engine or a network would."""
