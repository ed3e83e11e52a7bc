"""engine: `ldm.modules.diffusionmodules`: U-Net and VAE."""
