"""The audit: checks that the archive accounts for every bid accepted by Redis; reports the rest."""
