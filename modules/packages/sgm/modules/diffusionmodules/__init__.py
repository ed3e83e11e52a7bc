"""engine: `sgm.modules.diffusionmodules`: U-Net and VAE."""
