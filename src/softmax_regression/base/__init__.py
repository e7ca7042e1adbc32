"""What everything stands on: errors, running a main, files written whole, tensor files, the project's root."""
