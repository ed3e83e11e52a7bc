#!/usr/bin/env bash
# torch 2.13.0 on x86: with MKL asked for the same sums whatever the number of threads (MKL_CBWR=AUTO,STRICT), the last
# bits of a small product still follow that number. Those of a batch do so only where there are more than three threads
# for each of its products.
#
# MKL shares one product among its threads and chooses by what each gets; of a batch each thread has whole products, up
# to that number. So torch.bmm of (1, M, K) with (1, K, N), and torch.nn.functional.linear of few rows, give other numbers
# on a machine with other cores, and torch.bmm of (2, M, K) gives the same with one to six. Seen on a Zen 5 processor:
# "of 100 shapes differ with 1 to 6 threads: one product 8, linear 27, batches of two 0;
# with 1 to 7 threads: batches of two 10".
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


def differs(call, most):
    found = []
    for threads in range(1, most + 1):
        torch.set_num_threads(threads)
        found.append(call())
    return any(not torch.equal(found[0], other) for other in found)


shapes = list(itertools.product((2, 16, 64, 100), (8, 16, 30, 64, 100), (16, 64, 77, 100, 256)))
one = linear = two = two_of_seven = 0
for rows, shared, columns in shapes:
    left, right, weight = torch.randn(2, rows, shared), torch.randn(2, shared, columns), torch.randn(columns, shared)
    one += differs(lambda: torch.bmm(left[:1], right[:1]), 6)
    linear += differs(lambda: F.linear(left[0], weight), 6)
    two += differs(lambda: torch.bmm(left, right), 6)
    two_of_seven += differs(lambda: torch.bmm(left, right), 7)
print(f"of {len(shapes)} shapes differ with 1 to 6 threads: one product {one}, linear {linear}, batches of two {two};", end=" ")
print(f"with 1 to 7 threads: batches of two {two_of_seven}")
assert one and linear and two_of_seven and not two
PYTHON
echo "as described"
