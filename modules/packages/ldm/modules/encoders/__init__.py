"""engine: `ldm.modules.encoders`: text encoders."""
