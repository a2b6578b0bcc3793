"""InferTUI: find out which local inference server your agents should run on."""

__version__ = "0.1.0"
