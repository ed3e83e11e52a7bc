"""engine: `ldm.models`: samplers and models as a whole."""
