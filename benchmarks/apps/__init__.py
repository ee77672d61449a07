"""What servers serve in a benchmark. The folder is on their import path."""
