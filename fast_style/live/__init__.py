"""Cameras stylized live: the newest frame is stylized and shown; frames that arrive meanwhile are dropped."""
