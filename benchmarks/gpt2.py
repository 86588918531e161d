"""The peer of `generate.py`: `generate` of Hugging Face's transformers, with a GPT-2 of given width, depth and vocabulary.

    python -m benchmarks.gpt2 '{"d": 256, "layers": 4, "heads": 4, "vocab": 367, "tokens": 512, "batches": [1, 32], "threads": 2}'

It is a script of its own since transformers wants an environment without torchvision; it prints JSON: tokens a second by
batch in single precision, with the cache that was quickest in a short run at batch 32.
"""
import json
import sys
import time

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def rate(model, batch:int, tokens:int, cache) -> float: # Tokens a second
    "Draw `tokens` tokens of `batch` pieces from the likeliest five, none of which ends early."
    ids = torch.ones(batch, 1, dtype=torch.long)
    begin = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=5, min_new_tokens=tokens,
                         max_new_tokens=tokens, pad_token_id=0, eos_token_id=2, **({} if cache == 'dynamic' else {'cache_implementation': cache}))
    seconds = time.perf_counter() - begin
    assert out.shape == (batch, tokens + 1)
    return batch*tokens/seconds


def main():
    ask = json.loads(sys.argv[1])
    torch.set_num_threads(ask['threads'])
    config = GPT2Config(vocab_size=ask['vocab'], n_positions=max(ask['tokens'], 64) + 1, n_embd=ask['d'], n_layer=ask['layers'],
                        n_head=ask['heads'], bos_token_id=1, eos_token_id=2)
    model, tried = GPT2LMHeadModel(config).eval(), {}
    for cache in ('dynamic', 'static'):
        try:
            rate(model, 32, 8, cache)
            tried[cache] = rate(model, 32, 64, cache)
        except Exception as e: tried[cache] = f'failed: {type(e).__name__}'
    best = max((c for c in tried if not isinstance(tried[c], str)), key=tried.get)
    found = dict(cache=best, tried=tried, rates={b: rate(model, b, ask['tokens'], best) for b in ask['batches']})
    print(json.dumps(found))


if __name__ == '__main__': main()
