"""How fast generators train on the processor: the `Learner`, beside a bare PyTorch loop and beside fastai's own AWD-LSTM.

    python -m benchmarks.train

All rows train on the same chorales, `--bs` rows of `--seq-len` tokens, with the same loss, regularisation, clipping and
AdamW. The bare loops read batches made beforehand and step PyTorch's fused AdamW; the `Learner` of `generator_learner`
reads its own loader, which moves every piece to a random key, and neither validates nor draws a bar. fastai's AWD-LSTM is its modules
as they are, in fp32. The rows take turns, a pass over the music each; of all rounds median, slowest and quickest are
given, and the ratios are medians of the ratios within a round.
"""
import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from fastai.callback.core import Callback, CancelValidException
from fastai.text.models.awdlstm import AWD_LSTM
from fastai.text.models.core import LinearDecoder
from benchmarks.machine import machine
from torch import nn

from musiclm.build import music21_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import generator_learner
from musiclm.architectures import make_model, use_bf16
from musiclm.notes import atomic_write

HERE = Path(__file__).parent
RATIOS = {'AWD-LSTM: Learner to a bare loop': ('awd_lstm, Learner', 'awd_lstm, bare loop'),
          "AWD-LSTM: bare loop to fastai's modules in fp32": ('awd_lstm, bare loop', "fastai's AWD_LSTM in fp32, bare loop"),
          "AWD-LSTM: Learner to fastai's modules in fp32": ('awd_lstm, Learner', "fastai's AWD_LSTM in fp32, bare loop"),
          'Transformer: Learner to a bare loop': ('transformer, Learner', 'transformer, bare loop')}


def fastai_awd_lstm(n_vocab:int) -> nn.Module: # Sizes and dropouts are those of our 'small'
    "A language model of fastai's modules alone."
    body = AWD_LSTM(n_vocab, 256, 256, 2, pad_token=0, hidden_p=.05, input_p=.05, embed_p=.01, weight_p=.05)
    return nn.Sequential(body, LinearDecoder(n_vocab, 256, .05, tie_encoder=body.encoder))


def bare_loop(model, batches:list): # A function that trains for one pass
    "What `generator_learner` does in a step, in plain PyTorch."
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(.9, .99), eps=1e-8, weight_decay=.01, fused=True)
    def run():
        model.train()
        for m in model.modules():
            if isinstance(m, AWD_LSTM): m.reset()
        for x, y in batches:
            out = model(x)
            logits, raw, dropped = out if isinstance(out, tuple) else (out, None, None)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
            if raw is not None: loss = loss + .2*dropped.pow(2).mean() + .1*(raw[:, 1:] - raw[:, :-1]).pow(2).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.)
            optimizer.step()
            optimizer.zero_grad()
    return run


class NoValidation(Callback):
    "Train only."
    def before_validate(self): raise CancelValidException


def learner(dls, arch:str): # A function that trains for one pass
    "The same by fastai's `Learner`."
    learn = generator_learner(dls, arch, 'small', lr=1e-3, cbs=NoValidation())
    def run():
        with learn.no_bar(), learn.no_logging(): learn.fit(1)
    return run


def excerpt(tokens:int): # A corpus
    "Chorales to train on, as many as hold so many tokens, and those to validate on."
    corpus, train, n = music21_corpus(['bach']), [], 0
    for i in corpus.indices('train'):
        if n > tokens: break
        train.append(i)
        n += len(corpus.tokens(i))
    return corpus.select(train + list(corpus.indices('valid')))


def rows(dls) -> dict: # Name -> function that trains for one pass
    "What is timed."
    batches, n_vocab = [(x.as_subclass(torch.Tensor), y.as_subclass(torch.Tensor)) for x, y in dls.train], len(dls.vocab)
    out = {"fastai's AWD_LSTM in fp32, bare loop": bare_loop(fastai_awd_lstm(n_vocab), batches)}
    for arch in ('awd_lstm', 'transformer'):
        out[f'{arch}, bare loop'] = bare_loop(make_model(n_vocab, arch, 'small'), batches)
        out[f'{arch}, Learner'] = learner(dls, arch)
    return out


def race(rows:dict, rounds:int) -> dict: # Name -> [seconds of every round]
    "Time every function, in turn, each round from another one on."
    seconds, names = {name: [] for name in rows}, list(rows)
    for k in range(rounds + 1): # the first round warms up
        for name in names[k%len(names):] + names[:k%len(names)]:
            began = time.perf_counter()
            rows[name]()
            if k: seconds[name].append(time.perf_counter() - began)
    return seconds


def measure(tokens:int, bs:int, seq_len:int, rounds:int) -> dict: # `rows` and `ratios` by name, with all rounds
    "Train by all ways in turn."
    torch.manual_seed(0)
    dls = lm_dataloaders(excerpt(tokens), bs=bs, seq_len=seq_len, device='cpu')
    n = bs*dls.train.row
    speed = {name: [n/s for s in seconds] for name, seconds in race(rows(dls), rounds).items()}
    ratios = {name: [a/b for a, b in zip(speed[over], speed[under])] for name, (over, under) in RATIOS.items()}
    about = lambda values: dict(median=statistics.median(values), lowest=min(values), highest=max(values), rounds=values)
    here = machine('torch', 'fastai') | dict(threads=torch.get_num_threads(), bfloat16=use_bf16('auto'))
    return dict(machine=here, bs=bs, seq_len=seq_len, tokens_a_pass=n, steps_a_pass=len(dls.train), rounds=rounds,
                rows={k: about(v) for k, v in speed.items()}, ratios={k: about(v) for k, v in ratios.items()})


def as_markdown(result:dict) -> str:
    "The tables, for people."
    about = ', '.join(f'{k} {v}' for k, v in result['machine'].items())
    lines = ['# Training on the processor', '', f'Made by `python -m benchmarks.train`; {about}.', '',
             f'Size `small`, {result["bs"]} rows of {result["seq_len"]} tokens; {result["rounds"]} rounds, each a pass over '
             f'{result["tokens_a_pass"]:,} tokens in {result["steps_a_pass"]} steps.', '',
             '| tokens a second | median | slowest round | quickest round |', '|---|---|---|---|']
    keys = 'median', 'lowest', 'highest'
    lines += [f'| {name} | ' + ' | '.join(f'{row[k]:,.0f}' for k in keys) + ' |' for name, row in result['rows'].items()]
    lines += ['', '| ratio | median | lowest round | highest round |', '|---|---|---|---|']
    lines += [f'| {name} | ' + ' | '.join(f'{row[k]:.2f}' for k in keys) + ' |' for name, row in result['ratios'].items()]
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--tokens', type=int, default=80_000, help='music of at least so many tokens')
    parser.add_argument('--bs', type=int, default=64)
    parser.add_argument('--seq-len', type=int, default=128)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, help='of PyTorch; default: all cores')
    parser.add_argument('--out', default=HERE/'results', type=Path)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    if args.threads: torch.set_num_threads(args.threads)
    result = measure(args.tokens, args.bs, args.seq_len, args.rounds)
    text = as_markdown(result)
    print(text)
    atomic_write(args.out/'train.json', json.dumps(result, indent=1).encode())
    atomic_write(args.out/'train.md', text.encode())


if __name__ == '__main__': main()
