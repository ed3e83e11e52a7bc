"""engine: Hypernetworks: small networks that change what the attention layers of the U-Net see of the prompt."""
