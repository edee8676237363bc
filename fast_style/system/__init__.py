"""Files, locks, memory, devices and processes: what the operating system provides."""
