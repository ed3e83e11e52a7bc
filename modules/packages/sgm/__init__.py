"""engine: the package sgm as far as extensions use it: its modules are those of ldm, and SDXL's own parts."""
