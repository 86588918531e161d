"""How many different waits an uncapped encoding needs, as a corpus grows, and what a cap of 12 steps does about it.

    python -m benchmarks.waits [--folder NAME=PATH ...]

The corpora are those inside music21, and folders of your own. Silence is kept as it is (`max_gap=None`), and the
movements of a work are joined into one piece, as they often are in MIDI files of whole works; the pause between two of
them is drawn evenly from 1 to 20 beats, since the scores do not say it. Works are taken in an order drawn by a seed.
For every number of works: how many different waits there are with joined movements and without, how many of them
occur once only, and in what share of the works that follow a wait occurs that was never heard before.
"""
import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.machine import READING, machine
from musiclm.build import folder_corpus, music21_corpus
from musiclm.notes import atomic_write
from musiclm.sources import COMPOSERS
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

HERE = Path(__file__).parent


def waits_of(notes) -> np.ndarray: # Steps
    "How long nothing happens, again and again."
    return np.diff(np.unique(np.concatenate([notes['onset'], notes['onset'] + notes['duration']])))


def works_of(corpus, chance) -> list: # For every work its waits as they stand, and those between its movements
    "The waits of every work, in an order left to chance."
    works = []
    for _, rows in corpus.manifest.groupby('work', sort=True):
        inside = np.concatenate([waits_of(corpus.notes(i)) for i in rows.index])
        works.append((inside, chance.integers(12, 240, len(rows) - 1, endpoint=True)))
    return [works[i] for i in chance.permutation(len(works))]


def growth(works:list, joined:bool) -> dict: # One number for every number of works
    "Different waits, those that occur once, and the share of the works to come with an unknown one."
    told = [np.concatenate(w) if joined else w[0] for w in works]
    seen, rows = Counter(), []
    for k, waits in enumerate(told):
        seen.update(waits.tolist())
        later = [set(w.tolist()) - set(seen) for w in told[k + 1:]]
        rows.append((k + 1, len(seen), sum(n == 1 for n in seen.values()), float(np.mean([bool(x) for x in later])) if later else None))
    works_n, different, once, unknown = map(list, zip(*rows))
    return dict(works=works_n, different=different, once=once, unknown_later=unknown, longest=max(seen),
                wait223=seen[223], over_12=sum(n for w, n in seen.items() if w > 12)/sum(seen.values()))


def length_cost(corpus) -> dict:
    "What the cap costs: tokens per note with it and without."
    capped, free = (NotewiseEncoder(EncodingConfig(max_wait=cap, durations=False)) for cap in (12, None))
    tables = [corpus.notes(i) for i in range(len(corpus))]
    n = sum(map(len, tables))
    return {name: sum(len(e.encode(t)) for t in tables)/n for name, e in (('max_wait_12', capped), ('uncapped', free))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', nargs='*', default=[], metavar='NAME=PATH')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', default=HERE/'results', type=Path)
    args = parser.parse_args()
    sources = {name: lambda name=name: music21_corpus(name, max_gap=None) for name in COMPOSERS}
    sources |= {f.split('=')[0]: lambda f=f: folder_corpus(f.split('=', 1)[1], max_gap=None) for f in args.folder}
    result = dict(machine=machine(*READING), seed=args.seed, corpora={})
    for name, read in sources.items():
        corpus = read()
        works = works_of(corpus, np.random.default_rng(args.seed))
        result['corpora'][name] = dict(pieces=len(corpus), works=len(works), tokens_a_note=length_cost(corpus),
                                       separate=growth(works, False), joined=growth(works, True))
        found = result['corpora'][name]
        print(f'{name}: {len(works)} works; different waits {found["separate"]["different"][-1]}, joined {found["joined"]["different"][-1]} '
              f'(once: {found["joined"]["once"][-1]}); wait223 {found["joined"]["wait223"]} times; tokens per note '
              + ', '.join(f'{k} {v:.3f}' for k, v in found['tokens_a_note'].items()))
    atomic_write(args.out/'waits.json', json.dumps(result).encode())


if __name__ == '__main__': main()
