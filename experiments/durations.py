"""Ends or durations: how often notes hang when the same network learns the same music in two encodings.

    python -m experiments.durations notes-off=STORE durations=STORE [--minutes 10] [--seeds 0 1 2] [--arch awd_lstm]

Each store holds the same pieces with the same splits. The same network trains for the same time in each encoding. Then it
continues the openings of test pieces by drawing from all tokens, without a limit on the length of notes. Measured: bits per
note of the test pieces; the share of notes of eight beats and longer; the notes that sound at once, in the mean over time, by
part. The same figures of the test pieces themselves are the reference.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from musiclm.compare import evaluate_lm
from musiclm.corpus import Corpus
from musiclm.notes import atomic_write
from musiclm.pieces import held_out_prompts
from musiclm.sampling import sample
from musiclm.training import TrainingConfig, train_generator


def texture(
    tables, # Note tables
    starts, # For each the step from which on its notes count
    parts:tuple, # Names of the parts
    spb:int=12, # Steps per beat
) -> dict: # By part: notes, the share of 8 beats and more, and how many sound at once
    "How long notes are, and how many sound at once, over all tables together."
    found = {}
    for k, name in enumerate(parts):
        lengths, steps = [], 0
        for notes, start in zip(tables, starts):
            mine = notes[(notes['part'] == k) & (notes['onset'] >= start)]
            if not len(mine): continue # a piece without this part
            lengths.append(mine['duration'].to_numpy())
            steps += int((notes['onset']).max() - start + 1)
        if not lengths: continue
        all_lengths = np.concatenate(lengths)
        found[name] = dict(notes=len(all_lengths), eight_beats=float((all_lengths >= 8*spb).mean()),
                           four_beats=float((all_lengths > 4*spb).mean()), at_once=float(all_lengths.sum()/max(steps, 1)))
    return found


def measure(corpus:Corpus, config:TrainingConfig, n:int, n_tokens:int) -> dict:
    "Train on a store, generate, and measure."
    begin = time.perf_counter()
    learn = train_generator(corpus, config, cbs=[])
    seconds = time.perf_counter() - begin
    test = corpus.indices('test')
    bits = evaluate_lm(learn, corpus)['bits_per_note']
    prompts, _ = held_out_prompts(corpus, 'test', min(n, len(test)), seed=config.seed)
    pieces = sample(learn, n, n_tokens, prompts, random_freq=1., top_k=None, max_note=None, seed=config.seed)
    parts = corpus.encoder.config.parts
    return dict(seconds=round(seconds), bits=bits.value, low=bits.low, high=bits.high,
                generated=texture([p.notes for p in pieces], [p.prompt_steps for p in pieces], parts),
                real=texture([corpus.notes(i) for i in test], [0]*len(test), parts))


def as_markdown(result:dict) -> str:
    "The table of a result."
    lines = ['# Ends or durations', '', *__doc__.split('\n\n', 2)[2].strip().splitlines(), '',
             f'{result["arch"]}, {result["minutes"]:g} minutes each, {result["threads"]} threads; {result["n"]} pieces of '
             f'{result["n_tokens"]} tokens.', '',
             '| encoding | seed | bits per note, 95% | notes of 8 beats and more | at once, by part |', '|---|---|---|---|---|']
    share = lambda t: sum(p['notes']*p['eight_beats'] for p in t.values())/sum(p['notes'] for p in t.values())
    row = lambda name, seed, bits, t: f'| {name} | {seed} | {bits} | {share(t):.2%} | ' + ', '.join(
        f'{part} {p["at_once"]:.2f}' for part, p in t.items()) + ' |'
    for r in result['rows']:
        lines.append(row(r['encoding'], r['seed'], f'{r["bits"]:.2f} ({r["low"]:.2f} to {r["high"]:.2f})', r['generated']))
    return '\n'.join([*lines, row('real pieces', '', '', result['rows'][0]['real'])]) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('stores', nargs='+', metavar='NAME=STORE')
    parser.add_argument('--minutes', type=float, default=10)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--arch', default='awd_lstm')
    parser.add_argument('--n', type=int, default=64, help='pieces')
    parser.add_argument('--tokens', type=int, default=1000)
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'durations')
    args, rows = parser.parse_args(), []
    for seed in args.seeds:
        for name, _, store in (s.partition('=') for s in args.stores):
            found = measure(Corpus.load(store), TrainingConfig(args.arch, 'small', minutes=args.minutes, seed=seed), args.n,
                            args.tokens)
            rows.append(dict(encoding=name, seed=seed, **found))
            result = dict(arch=args.arch, minutes=args.minutes, threads=torch.get_num_threads(), n=args.n,
                          n_tokens=args.tokens, rows=rows)
            atomic_write(args.out.with_suffix('.json'), (json.dumps(result, indent=1) + '\n').encode())
            atomic_write(args.out.with_suffix('.md'), as_markdown(result).encode())
            print(as_markdown(result).splitlines()[-2], flush=True)


if __name__ == '__main__': main()
