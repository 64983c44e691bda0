"""The system as processes of this machine: real servers from wheels, a supervisor over all."""
