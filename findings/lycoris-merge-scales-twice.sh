#!/usr/bin/env bash
# lycoris-lora 4.1.3: merging a LoKr or a LoHa into a model multiplies it by alpha / rank twice, its forward does so once.
#
# With alpha 1 and rank 4 a merged model is changed a quarter as much as the same network changes it while it is
# applied. A LoCon comes out alike both ways. Seen: "lokr 0.25", "loha 0.25", "locon 1.00". Who merges what he tested
# unmerged, or takes the merge for what other programs should compute, is off by alpha / rank.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 lycoris-lora==4.1.3

"$folder/venv/bin/python" - <<'PYTHON'
import torch
from lycoris import LycorisNetwork, create_lycoris
from torch import nn

torch.manual_seed(0)
torch.set_grad_enabled(False)
LycorisNetwork.apply_preset({"target_module": ["Linear", "Sequential"]})
shares = {}
for algo, options in {"lokr": {"factor": 2}, "loha": {}, "locon": {}}.items():
    model, x = nn.Sequential(nn.Linear(32, 32)), torch.randn(3, 32)
    plain = model(x)
    network = create_lycoris(model, 1.0, linear_dim=4, linear_alpha=1, algo=algo, **options)
    network.apply_to()
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.3)
    applied = model(x) - plain
    network.restore()
    network.merge_to(1.0)
    merged = model(x) - plain
    shares[algo] = f"{(merged.norm() / applied.norm()).item():.2f}"
    print(algo, shares[algo])
assert shares == {"lokr": "0.25", "loha": "0.25", "locon": "1.00"}, shares
PYTHON
echo "as described"
