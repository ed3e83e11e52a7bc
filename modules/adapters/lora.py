"""pure: LoRA (Hu et al. 2021, arXiv:2106.09685), and LoCon, the same for convolutions: a product of two small matrices.

Convolutions may have a third factor between the two (Tucker decomposition, FedPara's proposition 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from modules.adapters.base import Adapter, Operation, is_size_for
from modules.uploads import upload


class Lora(Adapter):
    """up (outputs, r) times down (r, inputs), or mid (r, r, h, w) between them."""

    kind = "lora"
    needs = (frozenset({"lora_up.weight", "lora_down.weight"}),)
    names = frozenset({"lora_up.weight", "lora_down.weight", "lora_mid.weight", "lora_up.bias"})

    @property
    def dim(self) -> int:
        """The rank."""
        return self.tensors["lora_down.weight"].shape[0]

    @property
    def changes_bias(self) -> bool:
        """Whether it changes the layer's bias."""
        return super().changes_bias or "lora_up.bias" in self.tensors

    def bias_change(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the change of the bias: that of the factor `up` is scaled as the product."""
        own = self.bias_tensor("lora_up.bias", weight) * self.scale if "lora_up.bias" in self.tensors else 0.0
        return own + (super().bias_change(weight) if "diff_b" in self.tensors else 0.0)

    def change(self, weight: torch.Tensor, dyn: int | None = None) -> torch.Tensor:
        """Returns the product of the factors; of the first `dyn` ranks, if there are two."""
        up, down = self.matrix("lora_up.weight", weight), self.matrix("lora_down.weight", weight)
        if "lora_mid.weight" in self.tensors:
            mid = self.tensor("lora_mid.weight", weight)
            return torch.einsum("nmkl,in,mj->ijkl", mid, up, down)
        return up[:, :dyn] @ down[:dyn]

    def add_to(self, out: torch.Tensor, weight: torch.Tensor, multiplier: float, dyn: int | None = None) -> None:
        """Adds the product to `out`: where there is nothing but the two factors, without a tensor in between."""
        if not (self.is_plain and out.is_contiguous() and self.size == (out.shape[0], out[0].numel())):
            super().add_to(out, weight, multiplier, dyn)
            return
        with self.fitting(weight):
            up, down = self.matrix("lora_up.weight", out)[:, :dyn], self.matrix("lora_down.weight", out)[:dyn]
            out.view(self.size).addmm_(up * (multiplier * self.scale), down)  # `alpha` is slower, on CPUs by far

    @property
    def size(self) -> tuple[int, int]:
        """The rows and columns of the product."""
        return self.tensors["lora_up.weight"].shape[0], self.tensors["lora_down.weight"][0].numel()

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but the two factors and their strength."""
        return not self.tensors.keys() - {"lora_up.weight", "lora_down.weight", "alpha", "scale"}

    def output(
        self, operation: Operation, x: torch.Tensor, weight: torch.Tensor, multiplier: float, dyn: int | None = None
    ) -> torch.Tensor:
        """Returns what it adds to the output of the layer: two small layers one after the other, if there are two."""
        if not self.is_plain:
            return super().output(operation, x, weight, multiplier, dyn)
        if not is_size_for(weight, *self.size):
            raise self.misfit(weight)
        with self.fitting(weight):
            up = upload(self.tensors["lora_up.weight"][:, :dyn], x.device, x.dtype)
            down = upload(self.tensors["lora_down.weight"][:dyn], x.device, x.dtype)
            down = down.reshape(down.shape[0], -1, *weight.shape[2:])
            hidden = operation(x[:, : down.shape[1]] if weight.ndim > 2 else x, down, None)
            up = up.reshape(*up.shape[:2], *[1] * (weight.ndim - 2))
            added = F.linear(hidden, up) if weight.ndim == 2 else F.conv2d(hidden, up)
        return added * (multiplier * self.scale)
