"What a benchmark ran on, and how fast that is at what generation needs."
import os
import platform
import re
import time
from importlib.metadata import version
from pathlib import Path

READING = ('numpy', 'symusic', 'miditok', 'music21') # the packages that matter where scores are read


def machine(*packages) -> dict: # What is worth knowing of the machine, and the versions of packages
    "What it ran on."
    try: cpu = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text())[1]
    except (OSError, TypeError): cpu = platform.processor()
    return dict(cpu=cpu, cores=os.cpu_count(), python=platform.python_version(), **{p: version(p) for p in packages})


def quickest(f, seconds:float=1.) -> float: # Seconds
    "The quickest of as many calls as fit."
    f()
    best, end = float('inf'), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - begin)
    return best


def rates(device='cpu') -> dict: # FLOP a second by precision, bytes a second
    "What matrix products and memory give at best: products of 2,048 by 2,048 in packed form, and the sum over half a gigabyte."
    import torch

    from musiclm.architectures import Product, can_compute
    n, found = 2048, {}
    for precision in ('fp32', 'bf16', 'int8'):
        if not can_compute(precision, device): continue
        product, x = Product(torch.randn(n, n, device=device), None, precision), torch.rand(n, n, device=device)*2 - 1
        x = product.read(x)
        found[precision] = 2*n**3/quickest(lambda: (product(x), torch.cuda.synchronize() if device != 'cpu' else None))
    big = torch.ones(2**27, device=device)
    found['bytes'] = 4*len(big)/quickest(lambda: float(big.sum()))
    return found
