"""End tokens or durations: how often notes hang when the same network learns the same music in different encodings.

    python -m experiments.durations [--steps 2000] [--seeds 0 1 2] [--arch awd_lstm] CORPUS:NAME=STORE...

The stores of a corpus hold the same pieces with the same splits, each in its encoding. The same network trains for the same
number of batches of the same shape in each encoding, which is equal computation. It then continues the openings of test pieces.
All tokens may be drawn, and there is no limit on the length of notes. Reported are: bits per note of the test pieces with a
95% interval over works; the share of notes longer than the 99.9th percentile of their part in the training works; and by part
the mean number of notes that sound at once. The same figures of the test pieces are the reference.
"""
import argparse
import json
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.schedule import combined_cos

from musiclm.compare import evaluate_lm
from musiclm.corpus import Corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import default_hparams, generator_learner
from musiclm.notes import atomic_write
from musiclm.pieces import held_out_prompts
from musiclm.sampling import sample
from musiclm.show import plot_roll

OUT = Path(__file__).parent/'results'/'durations.json'


class StopAfter(Callback):
    "One cycle of the learning rate within `steps` batches, then the end."
    def __init__(self, steps): self.steps, self.schedule = steps, combined_cos(.25, 1/25, 1., 1e-5)
    def before_batch(self):
        if not self.training: return
        if self.learn.train_iter >= self.steps: raise CancelFitException
        for h in self.opt.hypers: h['lr'] = self.learn.lr*self.schedule(self.learn.train_iter/self.steps)


def train(corpus:Corpus, arch:str, steps:int, seed:int):
    "A generator after `steps` batches."
    hparams = default_hparams(arch, 'small')
    torch.manual_seed(seed)
    learn = generator_learner(lm_dataloaders(corpus, hparams['bs'], hparams['seq_len'], seed=seed), arch)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1 + steps//len(learn.dls.train), cbs=StopAfter(steps))
    return learn


def long_note(corpus:Corpus) -> dict: # Part -> steps
    "The 99.9th percentile of the lengths of notes in the training works, by part."
    notes = pd.concat([corpus.notes(i) for i in corpus.indices('train')])
    return {p: float(np.quantile(notes.duration[notes.part == k], .999))
            for k, p in enumerate(corpus.encoder.config.parts) if (notes.part == k).any()}


def texture(
    tables, # Note tables
    starts, # For each the step from which on its notes count
    limits:dict, # From `long_note`
    parts:tuple, # Names of the parts
) -> dict: # By part: notes, how many of them are long, and the mean number that sound at once
    "How long notes are, and how many sound at once, over all tables together."
    found = {}
    for k, name in enumerate(parts):
        lengths, steps = [], 0
        for notes, start in zip(tables, starts):
            if not (notes['part'] == k).any(): continue # a piece without this part
            late = notes[notes['onset'] >= start]
            if not len(late): continue
            lengths.append(late['duration'].to_numpy()[(late['part'] == k).to_numpy()])
            steps += int((late['onset'] + late['duration']).max() - start)
        if not lengths: continue
        every = np.concatenate(lengths)
        found[name] = dict(notes=len(every), long=int((every > limits[name]).sum()), at_once=float(every.sum()/max(steps, 1)))
    return found


def draw(pieces:list, path:Path):
    "The piano rolls of eight pieces, one above the other."
    _, axes = plt.subplots(8, 1, figsize=(14, 20), layout='constrained')
    for ax, p in zip(axes, pieces): plot_roll(p.notes, ax, p.prompt_steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.savefig(path, dpi=60)
    plt.close()


def measure(corpus:Corpus, learn, limits:dict, n:int, n_tokens:int, seed:int, rolls:Path=None) -> dict:
    "Bits per note, and the texture of generated pieces."
    test, parts = corpus.indices('test'), corpus.encoder.config.parts
    bits = evaluate_lm(learn, corpus)['bits_per_note']
    prompts, _ = held_out_prompts(corpus, 'test', min(n, len(test)), seed=seed)
    pieces = sample(learn, n, n_tokens, prompts, random_freq=1., top_k=None, limits=None, seed=seed)
    if rolls: draw(pieces, rolls)
    return dict(bits=bits.value, low=bits.low, high=bits.high,
                generated=texture([p.notes for p in pieces], [p.prompt_steps for p in pieces], limits, parts),
                real=texture([corpus.notes(i) for i in test], [0]*len(test), limits, parts))


def as_markdown(rows:list) -> str:
    "The tables of a result, one for each corpus and architecture."
    lines = ['# End tokens or durations', '', *__doc__.split('\n\n', 2)[2].strip().splitlines()]
    share = lambda t: sum(p['long'] for p in t.values())/sum(p['notes'] for p in t.values())
    row = lambda name, seed, bits, t: (f'| {name} | {seed} | {bits} | {share(t):.2%} | '
                                       + ', '.join(f'{part} {p["at_once"]:.2f}' for part, p in t.items()) + ' |')
    for key in dict.fromkeys((r['corpus'], r['arch'], r['steps']) for r in rows):
        mine = [r for r in rows if (r['corpus'], r['arch'], r['steps']) == key]
        lines += ['', f'## {key[0]}, {key[1]}, {key[2]:,} batches', '',
                  f'{mine[0]["n"]} pieces of {mine[0]["n_tokens"]} tokens.', '',
                  '| encoding | seed | bits per note, 95% | long notes | at once, by part |', '|---|---|---|---|---|']
        lines += [row(r['encoding'], r['seed'], f'{r["bits"]:.2f} ({r["low"]:.2f} to {r["high"]:.2f})', r['generated'])
                  for r in sorted(mine, key=lambda r: (r['encoding'], r['seed']))]
        lines.append(row('real pieces', '', '', mine[0]['real']))
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('stores', nargs='+', metavar='CORPUS:NAME=STORE')
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--arch', default='awd_lstm')
    parser.add_argument('--n', type=int, default=64, help='pieces')
    parser.add_argument('--tokens', type=int, default=1000)
    parser.add_argument('--rolls', type=Path, help='a folder for pictures of eight pieces of each model')
    args = parser.parse_args()
    rows = json.loads(OUT.read_text()) if OUT.exists() else []
    for seed in args.seeds:
        for text in args.stores:
            name, _, store = text.partition('=')
            kind, encoding = name.split(':')
            about = dict(corpus=kind, arch=args.arch, steps=args.steps, encoding=encoding, seed=seed)
            if any(about.items() <= r.items() for r in rows): continue # an earlier run has it
            corpus, begin = Corpus.load(store), time.process_time()
            learn = train(corpus, args.arch, args.steps, seed)
            seconds = time.process_time() - begin
            rolls = args.rolls and args.rolls/f'{kind}-{encoding}-{args.arch}-{seed}.png'
            found = measure(corpus, learn, long_note(corpus), args.n, args.tokens, seed, rolls)
            rows.append(dict(**about, seconds=round(seconds), n=args.n, n_tokens=args.tokens, **found))
            atomic_write(OUT, (json.dumps(rows, indent=1) + '\n').encode())
            atomic_write(OUT.with_suffix('.md'), as_markdown(rows).encode())
            print(kind, encoding, args.arch, seed, f'{seconds:.0f} s', json.dumps({k: found[k] for k in ('bits', 'generated')}),
                  flush=True)


if __name__ == '__main__': main()
