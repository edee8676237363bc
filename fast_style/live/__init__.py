"""Live pictures: a camera, a network and a screen, each at its own pace, and the newest picture wins."""
