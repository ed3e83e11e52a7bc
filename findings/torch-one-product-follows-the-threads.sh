#!/usr/bin/env bash
# torch 2.13.0 on x86: with MKL asked for the same sums whatever the number of threads (MKL_CBWR=AUTO,STRICT), the last
# bits of one small product still follow that number. Those of a batch of two do not.
#
# MKL shares one product among its threads and chooses by what each gets; of a batch each thread has whole products. So
# torch.bmm of (1, M, K) with (1, K, N), and torch.nn.functional.linear of few rows, give other numbers on a machine with
# other cores, and torch.bmm of (2, M, K) gives the same. Seen on a Zen 5 processor: "of 120 shapes differ with 1 to 7
# threads: one product 18, linear 41, batches of two 0".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6

MKL_CBWR=AUTO,STRICT "$folder/venv/bin/python" - <<'PYTHON'
import itertools

import torch
import torch.nn.functional as F

torch.manual_seed(0)


def differs(call):
    found = []
    for threads in (1, 2, 3, 4, 5, 7):
        torch.set_num_threads(threads)
        found.append(call())
    return any(not torch.equal(found[0], other) for other in found)


shapes = list(itertools.product((2, 16, 64, 77), (8, 16, 64, 128, 320), (16, 64, 77, 128, 256, 300)))
one = linear = two = 0
for rows, shared, columns in shapes:
    left, right, weight = torch.randn(2, rows, shared), torch.randn(2, shared, columns), torch.randn(columns, shared)
    one += differs(lambda: torch.bmm(left[:1], right[:1]))
    linear += differs(lambda: F.linear(left[0], weight))
    two += differs(lambda: torch.bmm(left, right))
print(f"of {len(shapes)} shapes differ with 1 to 7 threads: one product {one}, linear {linear}, batches of two {two}")
assert one and linear and not two
PYTHON
echo "as described"
