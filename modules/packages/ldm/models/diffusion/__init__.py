"""engine: `ldm.models.diffusion`: samplers and models as a whole."""
