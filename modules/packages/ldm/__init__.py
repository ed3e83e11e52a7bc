"""engine: the package ldm as far as extensions use it: the names of the original code, over diffusers' networks."""

from modules import torchvision_ops

torchvision_ops.declare_missing()
