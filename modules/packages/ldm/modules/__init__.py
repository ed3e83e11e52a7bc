"""engine: `ldm.modules`: the parts of networks."""
