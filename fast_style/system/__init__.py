"""Operating system services: files, locks, memory, devices and processes."""
