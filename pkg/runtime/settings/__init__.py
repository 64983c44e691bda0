"""Settings: environment variables read once into one frozen class per service."""
