"""What `make` calls and nothing imports, but for the pages' tables."""
