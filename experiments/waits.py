"""Waits capped at 12 steps, at 24, or not at all: what a network makes of each, where long pauses occur.

    python -m experiments.waits --models out/models        (a quarter of an hour of one core; goes on where it was interrupted)

`waits.py` counts how many waits there are; here a network learns them. The movements of a work are joined, as in MIDI files of whole
works; the pause between two of them is drawn evenly from 1 to 20 beats, and kept as it is. The same small AWD-LSTM learns each
spelling for the same seconds of one core. Measured on the test works: all bits of a work over its notes, and the score of what it
writes behind the same eight beats, under one judge, whose longest wait is 12 (see `equal.py`).
"""
import json

import numpy as np
import pandas as pd
from experiments.equal import OPEN, Jury, bits_per_note, estimate, kept, parser_of, recoded, train_for, work_sums
from benchmarks.machine import machine

from musiclm.composer import judge_hash
from musiclm.corpus import Corpus
from musiclm.metrics import bootstrap_interval
from musiclm.models import load_model
from musiclm.notes import atomic_write
from musiclm.charts import plain
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

CAPS = {'at 12': 12, 'at 24': 24, 'not at all': None}
PAUSE = (12, 240) # steps between movements
SILENCE = 24 # steps in which nothing sounds: a pause


def joined(corpus:Corpus, seed:int=0) -> tuple: # A corpus of one row a work, its tokens those of the first movements; note tables by work
    "Join the movements of each work, in the order of the manifest."
    chance, rows, tables = np.random.default_rng(seed), [], {}
    for work, m in corpus.manifest.groupby('work', sort=True):
        at, parts = 0, []
        for i in m.index:
            notes = corpus.notes(i)
            parts.append(notes.assign(onset=notes['onset'] + at))
            at += int((notes['onset'] + notes['duration']).max()) + int(chance.integers(*PAUSE, endpoint=True))
        tables[work] = pd.concat(parts, ignore_index=True)
        tables[work].attrs = dict(steps_per_beat=corpus.encoder.config.steps_per_beat)
        rows.append(m.iloc[0].to_dict() | dict(piece=work))
    return recoded(Corpus(pd.DataFrame(rows), corpus.store, corpus.encoder), corpus.encoder, tables), tables


def pauses(notes:pd.DataFrame, start:int) -> int:
    "How many stretches of silence there are behind a step."
    late = notes[notes['onset'] >= start].sort_values('onset')
    ends = (late['onset'] + late['duration']).cummax().to_numpy()
    return int((late['onset'].to_numpy()[1:] - ends[:-1] >= SILENCE).sum())


def rare(corpus:Corpus) -> dict: # Waits in use, those heard once in training, and test works with one that training never had
    "How well the waits of a corpus are known."
    encoder, used = corpus.encoder, {}
    for split in ('train', 'test'): used[split] = [encoder.wait_of[corpus.tokens(i)] for i in corpus.indices(split)]
    waits, n = np.unique(np.concatenate(used['train']), return_counts=True)
    new = [bool(set(o.tolist()) - set(waits.tolist())) for o in used['test']]
    return dict(vocabulary=len(corpus.vocab), waits=int((waits > 0).sum()), once=int((n == 1).sum()), works_with_unknown=float(np.mean(new)))


def measure(cap, corpus, tables, jury, folder, seconds) -> dict:
    "A row of the table."
    mine = recoded(corpus, NotewiseEncoder(EncodingConfig(max_wait=cap, durations=False)), tables)
    model = train_for(seconds, mine, folder)
    notes = [p.notes for p in jury.write(model, **OPEN)]
    start = jury.beats*mine.encoder.config.steps_per_beat
    found = bootstrap_interval([pauses(t, start) > 0 for t in notes], jury.about['work'].to_numpy(), strata=jury.about['composer'].to_numpy())
    return dict(sums=work_sums(model, mine), score=jury.figures(notes), with_pause=estimate(found), **rare(mine),
                **{k: model.card[k] for k in ('tokens', 'passes', 'parameters', 'loss')})


def main():
    args = parser_of('waits', __doc__, n=192, seconds=200).parse_args()
    corpus, judge = Corpus.load(args.models/'store'), load_model(args.models/'composer')
    works, tables = joined(corpus)
    jury, rows = Jury(judge, works, args.n), {}
    for name, cap in CAPS.items():
        rows[name] = kept(args.keep/f'{name}.json', lambda: measure(cap, works, tables, jury, args.keep/name, args.seconds))
        print(name, bits_per_note(rows[name]['sums']), rows[name]['score'], flush=True)
    first = rows['at 12']['sums']
    for row in rows.values():
        total = {k: sum(w[k] for w in row['sums'].values()) for k in ('tokens', 'notes')}
        row |= dict(bits=bits_per_note(row['sums']), behind=bits_per_note(row.pop('sums'), first), tokens_a_note=total['tokens']/total['notes'])
    result = dict(machine=machine('torch'), seconds=args.seconds, judge=judge_hash(judge), works=len(first), **jury.limits(), rows=rows)
    atomic_write(args.out/'waits.json', (json.dumps(plain(result), indent=1) + '\n').encode())


if __name__ == '__main__': main()
