"""What the operating system does for us: whole files, locks, memory, devices, processes."""
