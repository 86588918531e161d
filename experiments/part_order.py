"""Violin first or piano first? What the order of the parts within a step does to music for violin and piano.

    python -m experiments.part_order --folder PATH        (ten minutes of one core; goes on where it was interrupted)

PATH is a folder of pieces for violin and piano in which the violin rests now and then. Its works are dealt into three folds.
For each fold and each order a small AWD-LSTM learns from the other two folds, for equal time, once with each seed; then it goes on
from the openings of the fold's own pieces, by each of four rules, and is set beside what the composer wrote there: the last
500 tokens of 800. So every work is prompted, by a model that never heard it. Intervals are clustered by work.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from experiments.equal import KEEP, OPEN, RESULTS, bits_per_note, estimate, kept, train_for, work_sums
from benchmarks.machine import machine

from musiclm.build import folder_corpus
from musiclm.metrics import bootstrap_interval, entropy
from musiclm.notes import atomic_write
from musiclm.charts import plain
from musiclm.sampling import sample
from musiclm.pieces import Piece
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

FOLDS, PROMPT, LENGTH, FAR, WINDOW = 3, 64, 800, 500, 100 # tokens but for the folds
ORDERS = {'violin first': ('v', 'p'), 'piano first': ('p', 'v')}
RULES = {'drawn': OPEN, 'original': dict(random_freq=.5, top_k=5),
         'violin freer': dict(random_freq=dict(v=1., p=0., other=.5), top_k=5),
         'piano freer': dict(random_freq=dict(v=0., p=1., other=.5), top_k=5)}
CONSONANT = np.isin(np.arange(12), [0, 3, 4, 5, 7, 8, 9]) # unison, thirds, fourth, fifth, sixths: the same upside down
MELODY = 40 # violin notes that the variety of a melody is measured on


def fold_of(corpus, seed:int=0) -> np.ndarray: # (pieces,) 0 … FOLDS-1
    "Deal works into folds."
    works = np.random.default_rng(seed).permutation(sorted(corpus.manifest['work'].unique()))
    return corpus.manifest['work'].map({w: k%FOLDS for k, w in enumerate(works)}).to_numpy()


def split_for(corpus, fold:int): # The corpus: one fold is the test, one work of the others is for validation
    "Leave a fold out."
    mine, m = fold_of(corpus), corpus.manifest
    valid = m['work'][mine != fold].iloc[0] # fastai wants one; nothing is chosen by it, and it is trained on, too
    split = np.where(mine == fold, 'test', 'train')
    more = corpus.select([*range(len(corpus)), *np.flatnonzero(m['work'] == valid)])
    more.manifest['split'] = [*split, *['valid']*int((m['work'] == valid).sum())]
    return more


def sounding(notes:pd.DataFrame, start:int, end:int) -> np.ndarray: # (steps, 2, 128) bool
    "Which pitches of which part sound at each step."
    grid = np.zeros((end - start, 2, 128), bool)
    for n in notes.itertuples(): grid[max(n.onset - start, 0):max(n.onset + n.duration - start, 0), n.part, n.pitch] = True
    return grid


def consonance(grid:np.ndarray) -> tuple: # Share of the pairs of violin and piano, and of all pairs, that are consonant
    "How often what sounds together is consonant, over steps and pairs."
    violin, piano = (np.stack([grid[:, part, k::12].sum(1) for k in range(12)], 1).astype(float) for part in (0, 1)) # (steps, 12) notes
    apart = lambda a, b: np.array([(a*np.roll(b, -k, 1)).sum() for k in range(12)]) # pairs by semitones between their classes
    share = lambda n: float(n[CONSONANT].sum()/n.sum()) if n.sum() else np.nan
    pairs = apart(violin + piano, violin + piano)
    pairs[0] -= (violin + piano).sum() # a note is no pair with itself
    return share(apart(violin, piano)), share(pairs)


def melody(pitch:np.ndarray) -> dict: # Figures of a line of `MELODY` notes; NaN where it is shorter
    "How varied a melody is."
    if len(pitch) < MELODY: return dict(pitch_class_entropy=np.nan, interval_entropy=np.nan, distinct_trigrams=np.nan, repeated_notes=np.nan)
    pitch = pitch[:MELODY]
    bits = lambda o: float(entropy(np.unique(o, return_counts=True)[1]/len(o))/np.log(2))
    steps = np.diff(pitch)
    three = {tuple(o) for o in np.lib.stride_tricks.sliding_window_view(steps, 3)}
    return dict(pitch_class_entropy=bits(pitch%12), interval_entropy=bits(steps), distinct_trigrams=len(three)/(len(steps) - 2),
                repeated_notes=float((steps == 0).mean()))


def figures(piece:Piece) -> dict:
    "What is measured of the last `FAR` tokens, and the share of the violin window by window."
    notes, step = piece.notes, piece.encoder.wait_of[piece.ids].cumsum()
    start, end = int(step[-FAR]), int(step[-1])
    grid = sounding(notes, 0, max(end, 1))
    violin = grid[:, 0].any(1)
    edges = step[np.arange(PROMPT, len(step), WINDOW)]
    late = notes[notes['onset'] >= start]
    far = late[late['part'] == 0].sort_values(['onset', 'pitch'])
    top = far.drop_duplicates('onset', keep='last')['pitch'].to_numpy()
    outer, every = consonance(grid[start:])
    return dict(violin=float(violin[start:].mean()), violin_notes=len(far)/len(late) if len(late) else np.nan, violin_beats=float(far['duration'].mean())/piece.encoder.config.steps_per_beat if len(far) else np.nan,
                consonance_outer=outer, consonance_all=every,
                beats=(end - start)/piece.encoder.config.steps_per_beat, **melody(top),
                by_window=[float(violin[a:b].mean()) if b > a else None for a, b in zip(edges, edges[1:])])


def prompts_of(corpus, fold:int, n:int) -> list: # Rows of pieces, works in turn
    "Pieces of the fold that are long enough to be set beside what is written, repeated to `n`."
    m = corpus.manifest
    long = m[(m['split'] == 'test') & (m['n_tokens'] > LENGTH)]
    turns = long.assign(_turn=long.groupby('work').cumcount()).sort_values('_turn', kind='stable')
    return np.resize(turns.index.to_numpy(), n).tolist()


def measured(pieces, works) -> list: # A row a piece
    return [dict(work=w, **figures(p)) for p, w in zip(pieces, works)]


def fold_results(args, fold:int, name:str, seed:int) -> dict: # bits by work, rows of figures by rule
    "Train one order on one fold, and measure what it writes and what the composer wrote."
    encoder = NotewiseEncoder(EncodingConfig(part_order=ORDERS[name], durations=False))
    corpus = split_for(folder_corpus(args.folder, encoder, workers=1, progress=False), fold)
    chance = fold + FOLDS*seed # no two trainings of an order share it
    model = train_for(args.seconds, corpus, args.keep/f'fold {fold}, {name}, seed {seed}', size=args.size, seed=chance)
    rows = prompts_of(corpus, fold, args.n)
    works = corpus.manifest['work'].iloc[rows].tolist()
    once = sorted(set(rows))
    found = {'real': measured([Piece(corpus.tokens(i)[:LENGTH], encoder, PROMPT) for i in once], corpus.manifest['work'].iloc[once])}
    for rule, options in RULES.items():
        pieces = sample(model, args.n, LENGTH - PROMPT, [corpus.tokens(i)[:PROMPT] for i in rows], min_tokens=LENGTH, batch_size=64,
                        seed=chance, **options)
        found[rule] = measured(pieces, works)
        (args.keep/'pieces').mkdir(exist_ok=True)
        for k in (0, 1): pieces[k].write_midi(args.keep/'pieces'/f'{fold}, {name}, seed {seed}, {rule}, {k}.mid')
    return dict(bits=work_sums(model, corpus), rows=found, card={k: model.card[k] for k in ('tokens', 'passes', 'loss', 'parameters')})


MEASURES = ['violin', 'violin_notes', 'violin_beats', 'pitch_class_entropy', 'interval_entropy', 'distinct_trigrams', 'repeated_notes',
            'consonance_outer', 'consonance_all', 'beats']

def mean_of(values, works) -> dict: # value, low, high, n
    "A mean with its interval over works; what could not be measured is left out."
    v, w = np.array(values, float), np.asarray(works)
    there = np.isfinite(v)
    return dict(estimate(bootstrap_interval(v[there], w[there])), n=int(there.sum()))


def mean_bits(folds:list, name:str) -> dict: # By work
    "What the models of one order need, on average over their seeds."
    table = pd.concat(pd.DataFrame.from_dict(r['bits'], orient='index') for (_, order, _), r in folds if order == name)
    return table.groupby(level=0).agg(dict(composer='first', bits='mean', notes='first')).to_dict('index')


def summary(folds:list) -> dict: # Of (fold, order, seed) results
    "Means by order and rule, what the composer wrote, and differences of the orders on the same prompts."
    once = min(seed for (_, _, seed), _ in folds) # what the composer wrote is the same for all
    table = pd.DataFrame([dict(order=name, rule=rule, fold=fold, seed=seed, **row) for (fold, name, seed), r in folds
                          for rule, rows in r['rows'].items() if rule != 'real' or seed == once for row in rows])
    table['piece'] = table.groupby(['order', 'rule', 'fold', 'seed']).cumcount()
    out = dict(means={}, windows={}, differences={})
    for (name, rule), t in table.groupby(['order', 'rule'], sort=False):
        out['means'].setdefault(name, {})[rule] = {m: mean_of(t[m], t['work']) for m in MEASURES}
        windows = np.array(t['by_window'].tolist(), float)
        out['windows'].setdefault(name, {})[rule] = [mean_of(windows[:, k], t['work']) for k in range(windows.shape[1])]
    first, second = (table[table['order'] == o].set_index(['rule', 'fold', 'seed', 'piece']) for o in ORDERS)
    for rule in RULES:
        a, b = first.loc[rule], second.loc[rule]
        out['differences'][rule] = {m: mean_of(a[m] - b.loc[a.index, m], a['work']) for m in MEASURES}
    bits = {name: mean_bits(folds, name) for name in ORDERS}
    out['bits_per_note'] = {name: bits_per_note(sums) for name, sums in bits.items()}
    out['bits_difference'] = bits_per_note(bits['violin first'], bits['piano first'])
    return dict(out, works=len(bits['violin first']), pieces=int((table['rule'] == 'drawn').sum())//2, real=int((table['rule'] == 'real').sum())//2,
                prompted_works=int(table.loc[table['rule'] == 'drawn', 'work'].nunique()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', type=Path, required=True, help='pieces for violin and piano')
    parser.add_argument('--seconds', type=float, default=40, help='of one core, for each training')
    parser.add_argument('--n', type=int, default=64, help='pieces for each fold, order and rule')
    parser.add_argument('--seeds', type=int, default=2, help='trainings of each fold and order')
    parser.add_argument('--size', default='small', help='of the AWD-LSTM')
    parser.add_argument('--keep', type=Path, default=KEEP/'part_order', help='where what is done is kept')
    parser.add_argument('--out', type=Path, default=RESULTS)
    args = parser.parse_args()
    folds = [((fold, name, seed), kept(args.keep/f'fold {fold}, {name}, seed {seed}.json', lambda: fold_results(args, fold, name, seed)))
             for seed in range(args.seeds) for fold in range(FOLDS) for name in ORDERS]
    alone = [summary([o for o in folds if o[0][2] == seed]) for seed in range(args.seeds)]
    result = dict(machine=machine('torch'), seconds=args.seconds, size=args.size,
                  cards=[dict(fold=f, order=o, seed=s, **r['card']) for (f, o, s), r in folds], **summary(folds),
                  seeds=[{k: o[k] for k in ('differences', 'bits_difference')} for o in alone])
    atomic_write(args.out/'part_order.json', (json.dumps(plain(result), indent=1) + '\n').encode())


if __name__ == '__main__': main()
