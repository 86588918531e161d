"""How fast pieces are generated, beside the loops one would write first, transformers' `generate`, and the hardware's own bounds.

    python -m benchmarks.generate --peer python_with_transformers     everything (a quarter of an hour)
    python -m benchmarks.generate --model MODEL --store STORE         and the held-out loss of a trained model by precision

Each row is `sample` as a user calls it, start-up included, with models of random weights that never end a piece early. The
loops of `nn.LSTM` do what `sample` does by the original rule and nothing else: no grammar, no seeds by piece. The bound of a row
is what the packed products of the machine allow at its precision, or what its memory allows where that is less: the weights
are read once a step, and keys and values once a token. The peer is GPT-2 of the same width, depth and vocabulary.
"""
import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.machine import machine, rates
from torch import nn

from musiclm.corpus import Corpus
from musiclm.models import load_model
from musiclm.architectures import ARCHS, choose_precision, make_model
from musiclm.notes import atomic_write
from musiclm.sampling import DecodingBatch, GenerationConfig, sample
from musiclm.tokens import NotewiseEncoder

HERE, ENC = Path(__file__).parent, NotewiseEncoder()
V, BATCHES = len(ENC.vocab), (1, 16, 32, 100, 256)
SIZES = {'AWD-LSTM small': ('awd_lstm', 'small', {}), 'AWD-LSTM base': ('awd_lstm', 'base', {}),
         'Transformer 256×4': ('transformer', 'small', dict(d=256, n_layers=4, n_heads=4, context=1024)),
         'Transformer 512×8': ('transformer', 'base', {})}
LARGEST = {'Transformer 512×8': 100} # 256 pieces at once would take five minutes
CONTROLS = dict(temperature={'v': 1.1, 'p': .9}, random_freq={'v': 1., 'p': .5}, top_k={'v': 20, 'p': 5}, min_p=.01)


def with_tokens(model, encoder=ENC):
    model.vocab, model.encoding = encoder.vocab, encoder.config
    return model.eval()


def ours(model, batch:int, tokens:int, **options) -> float: # Tokens a second
    "`sample`."
    begin = time.perf_counter()
    pieces = sample(model, batch, tokens, batch_size=batch, min_tokens=tokens, **options)
    seconds = time.perf_counter() - begin
    assert sum(len(p) - 1 for p in pieces) == batch*tokens
    return batch*tokens/seconds


class PlainLSTM(nn.Module):
    "Layers of `nn.LSTM` as wide as those of an AWD-LSTM."
    def __init__(self, emb_sz, n_hid, n_layers, **_):
        super().__init__()
        widths = [emb_sz] + [n_hid]*(n_layers - 1) + [emb_sz]
        self.emb, self.out = nn.Embedding(V, emb_sz), nn.Linear(emb_sz, V)
        self.layers = nn.ModuleList(nn.LSTM(a, b, batch_first=True) for a, b in zip(widths, widths[1:]))


@torch.no_grad()
def plain_loop(model:PlainLSTM, batch:int, tokens:int) -> float: # Tokens a second
    "The loop one would write first: one call of each layer a token, then the original rule."
    token, states = torch.ones(batch, 1, dtype=torch.long), [None]*len(model.layers)
    begin = time.perf_counter()
    for _ in range(tokens):
        x = model.emb(token)
        for l, layer in enumerate(model.layers): x, states[l] = layer(x, states[l])
        values, ids = model.out(x[:, 0]).topk(5)
        drawn = torch.multinomial(values.softmax(1), 1)
        token = ids.gather(1, torch.where(torch.rand(batch, 1) < .5, drawn, 0))
    return batch*tokens/(time.perf_counter() - begin)


def flop(model) -> int: # A token, without attention
    "Twice the weights of the products; the first LSTM layer's input is looked up."
    skip = sum(p.numel() for n, p in model.named_parameters() if n.endswith('rnns.0.module.weight_ih_l0'))
    return 2*(sum(p.numel() for n, p in model.named_parameters() if p.ndim == 2) - skip)


def bound(model, batch:int, tokens:int, precision:str, rate:dict) -> float: # Tokens a second
    "What products or memory allow."
    size = {'fp32': 4, 'bf16': 2, 'int8': 1}[precision]
    work, read = batch*flop(model)/rate[precision], flop(model)/2*size/rate['bytes']
    if hasattr(model, 'context'):
        seen = np.minimum(np.arange(1, tokens + 1), model.context).mean()
        work += batch*4*seen*model.width*len(model.blocks)/rate[precision]
        read += batch*2*seen*model.width*len(model.blocks)*size/rate['bytes']
    return batch/max(work, read)


def measure(name:str, rate:dict, args) -> list: # Rows
    "All rows of one model; those of a batch size follow each other, so that a slow minute meets them all."
    arch, size, options = SIZES[name]
    torch.manual_seed(0)
    model, rows = with_tokens(make_model(V, arch, size, **options)), []
    plain = PlainLSTM(**ARCHS[arch]['sizes'][size]).eval() if arch == 'awd_lstm' else None
    best, tokens = choose_precision(model, 'auto', 'cpu'), args.tokens
    ours(model, 16, 8)
    for batch in (b for b in args.batches if b <= LARGEST.get(name, b)):
        runs = {p: lambda p=p: ours(model, batch, tokens, precision=p) for p in dict.fromkeys(('fp32', best))}
        runs['all controls'] = lambda: ours(model, batch, tokens, **CONTROLS)
        if plain is not None: runs['plain loop'] = lambda: plain_loop(plain, batch, min(tokens, 128))
        found = {k: [f() for _ in range(args.rounds if batch in (32, 100) else 1)] for k, f in runs.items()}
        row = dict(model=name, batch=batch, precision=best, **{k: float(np.median(v)) for k, v in found.items()})
        rows.append(row | {f'bound {p}': bound(model, batch, tokens, p, rate) for p in ('fp32', best)})
        if arch == 'awd_lstm' and 'bf16' in rate: rows[-1]['bound bf16'] = bound(model, batch, tokens, 'bf16', rate)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def peers(args) -> dict: # What `gpt2.py` prints, by model
    "transformers, in its own environment."
    found = {}
    for name, (arch, size, options) in SIZES.items():
        if arch != 'transformer' or not args.peer: continue
        o = {**ARCHS[arch]['sizes'][size], **options}
        ask = dict(d=o['d'], layers=o['n_layers'], heads=o['n_heads'], vocab=V, tokens=args.tokens, threads=args.threads,
                   batches=[b for b in args.batches if b <= 100])
        out = subprocess.run([args.peer, HERE/'gpt2.py', json.dumps(ask)], capture_output=True, text=True, check=True).stdout
        found[name] = json.loads(out.splitlines()[-1])
        print(name, found[name], flush=True)
    return found


def lengths(args) -> list: # Rows
    "Milliseconds a step of 16 pieces, around the 500th to the 8,000th token."
    rows = []
    for name, (arch, options) in {'AWD-LSTM small': ('awd_lstm', {}), 'Transformer small, looking 128 back': ('transformer', {}),
                                  'Transformer small, looking 8,192 back': ('transformer', dict(context=8192))}.items():
        model = with_tokens(make_model(V, arch, 'small', **options))
        pieces = DecodingBatch(GenerationConfig(model, 8000, min_tokens=8000), 16)
        pieces.fill_slots(np.arange(16), range(16))
        seconds = []
        for _ in range(7999):
            begin = time.perf_counter()
            pieces.advance()
            seconds.append(time.perf_counter() - begin)
        rows.append(dict(model=name, **{str(n): float(np.median(seconds[n - 200:n])*1e3) for n in (500, 1000, 2000, 4000, 7999)}))
        print(rows[-1], flush=True)
    return rows


@torch.no_grad()
def losses(args) -> list: # Rows
    "Nats a token of a trained model on held-out openings, step by step, in each precision."
    rows = []
    for path in args.model:
        model, corpus = load_model(path), Corpus.load(args.store)
        long = [i for i in corpus.indices('test') if corpus.manifest.n_tokens[i] >= 500][:64]
        x = torch.from_numpy(np.stack([corpus.tokens(i)[:500].astype(np.int64) for i in long]))
        row = dict(model=path.name, parameters=sum(p.numel() for p in model.parameters()), pieces=len(long))
        for precision in dict.fromkeys(('fp32', choose_precision(model, 'auto', 'cpu'))):
            state, nats = model.init_state(len(x), precision), []
            for t in range(x.shape[1] - 1):
                logits, state = model.step(x[:, t], state)
                nats.append(F.cross_entropy(logits.float(), x[:, t + 1]).item())
            row[precision] = float(np.mean(nats))
        rows.append(row)
        print(row, flush=True)
    return rows


def number(x): return '' if x is None else f'{x:,.0f}' if x >= 100 else f'{x:.3g}'


def as_markdown(result:dict) -> str:
    "Tables for people."
    about, rate = ', '.join(f'{k} {v}' for k, v in result['machine'].items()), result['rates']
    lines = ['# Generating', '', f'Made by `python -m benchmarks.generate`; {about}; {result["threads"]} threads.', '',
             'Products at best: ' + ', '.join(f'{rate[p]/1e9:,.0f} GFLOP/s in {p}' for p in ('fp32', 'bf16', 'int8') if p in rate)
             + f'; memory {rate["bytes"]/1e9:.0f} GB/s.', '',
             f'Tokens a second, {result["tokens"]} tokens a piece; at batch 32 and 100 the median of {result["rounds"]}. *Quickest* is `sample` at the precision it chooses; *controls* adds '
             'a rule for each part.', '',
             '| model | batch | plain loop | transformers | ours, fp32 | quickest | controls | of its bound | to the plain loop | fp32 to transformers | quickest to transformers |',
             '|' + '---|'*11]
    for r in result['rows']:
        peer = result['peers'].get(r['model'], {}).get('rates', {}).get(str(r['batch']))
        best, plain = r[r['precision']], r.get('plain loop')
        over = lambda a, b: '' if b is None else f'{a/b:.2f}'
        lines.append(f'| {r["model"]} | {r["batch"]} | {number(plain)} | {number(peer)} | {number(r["fp32"])} | {number(best)} ({r["precision"]}) | '
                     f'{number(r["all controls"])} | {best/r["bound " + r["precision"]]:.2f} | {over(best, plain)} | {over(r["fp32"], peer)} | {over(best, peer)} |')
    base = next((r for r in result['rows'] if r['model'] == 'AWD-LSTM base' and r['batch'] == 100), None)
    if base and 'bound bf16' in base:
        lines += ['', f'The base AWD-LSTM at batch 100 reaches {base[base["precision"]]/base["bound bf16"]:.0%} of the tokens a second that the rate of '
                  f'bf16 products allows ({number(base["bound bf16"])}), {base["all controls"]/base["bound bf16"]:.0%} with all controls on.']
    for name, p in result['peers'].items():
        lines += ['', f'{name} in transformers, fp32: the {p["cache"]} cache is the quicker of '
                  + ', '.join(f'{c} {v if isinstance(v, str) else number(v)}' for c, v in p['tried'].items()) + '.']
    if result['lengths']:
        lines += ['', '## Length', '', 'Milliseconds a step of 16 pieces, at the token', '',
                  '| model | 500 | 1,000 | 2,000 | 4,000 | 8,000 |', '|---|---|---|---|---|---|']
        lines += [f'| {r["model"]} | ' + ' | '.join(f'{v:.2f}' for k, v in r.items() if k != 'model') + ' |' for r in result['lengths']]
    if result['losses']:
        lines += ['', '## What lower precision costs', '', 'Nats a token of held-out openings, step by step.', '',
                  '| model | parameters | pieces | fp32 | lower | difference |', '|---|---|---|---|---|---|']
        for r in result['losses']:
            p = next((k for k in ('int8', 'bf16') if k in r), 'fp32')
            lines.append(f'| {r["model"]} | {r["parameters"]:,} | {r["pieces"]} | {r["fp32"]:.4f} | {r[p]:.4f} ({p}) | {r[p]/r["fp32"] - 1:+.3%} |')
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--peer', help='a Python that has transformers')
    parser.add_argument('--model', type=Path, nargs='*', default=[], help='trained models whose loss is compared')
    parser.add_argument('--store', type=Path, help='a store of their corpus')
    parser.add_argument('--only', nargs='*', choices=SIZES, help='these models alone, to `generate-only`: no peer, no lengths')
    parser.add_argument('--batches', type=int, nargs='*', default=BATCHES)
    parser.add_argument('--tokens', type=int, default=512)
    parser.add_argument('--rounds', type=int, default=3, help='runs at batch 32 and 100, of which the median counts')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--out', type=Path, default=HERE/'results')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rate = rates()
    rows = [r for name in args.only or SIZES for r in measure(name, rate, args)]
    rest = dict(peers={}, lengths=[], losses=[]) if args.only else dict(peers=peers(args), lengths=lengths(args), losses=losses(args))
    result = dict(machine=machine('torch', 'numpy'), threads=args.threads, tokens=args.tokens, rates=rate, rounds=args.rounds, rows=rows, **rest)
    result, name = json.loads(json.dumps(result)), 'generate-only' if args.only else 'generate' # keys as the file has them
    atomic_write(args.out/f'{name}.json', (json.dumps(result, indent=1) + '\n').encode())
    atomic_write(args.out/f'{name}.md', as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == '__main__': main()
