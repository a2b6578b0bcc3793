"""Engines that come as Python packages, and the random models they run: a first comparison without a download."""
