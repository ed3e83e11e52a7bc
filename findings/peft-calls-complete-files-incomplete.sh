#!/usr/bin/env bash
# peft 0.21.2: saving a LoRA with `lora_bias=True` warns that its file is incomplete, though it is complete.
#
# A check for weights that a distributed training forgot to gather takes every one-dimensional tensor with "lora_A" or
# "lora_B" in its name for such a remainder; the biases of lora_B have one dimension always. Seen: the warning "1 LoRA
# tensor(s) have invalid shape: base_model.model.0.lora_B.bias:(8,). A 1-D or zero-sized lora_A / lora_B tensor
# indicates that DeepSpeed ZeRO-3 / FSDP shards were not gathered ...", and a file that gives the same network again.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 transformers==5.24.0 accelerate==1.15.0 peft==0.21.2

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import copy
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

torch.manual_seed(0)
torch.set_grad_enabled(False)
base, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(3, 8)
network = get_peft_model(copy.deepcopy(base), LoraConfig(r=2, target_modules=["0"], lora_bias=True))
for name, parameter in network.named_parameters():
    if "lora_" in name:
        parameter.copy_(torch.randn_like(parameter))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    network.save_pretrained("saved")
remarks = [str(warning.message) for warning in caught if "invalid shape" in str(warning.message)]
print(remarks)
again = PeftModel.from_pretrained(copy.deepcopy(base), "saved")
assert len(remarks) == 1 and "0.lora_B.bias:(8,)" in remarks[0] and "were not gathered" in remarks[0]
assert torch.equal(again(x), network(x)) and not torch.allclose(network(x), base(x))
PYTHON
echo "as described"
