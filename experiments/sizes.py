"""Which architecture and which size, where the time to train is short? Six generators that learn for the same time.

    python -m experiments.sizes --models out/models        (twenty minutes of one core; goes on where it was interrupted)

AWD-LSTM and Transformer, tiny, small and base, learn by the recipe of their size for the same seconds of one core each (`equal.py`
says how). Measured: bits per note over the first 64 beats of every held-out piece, with intervals over works; the Inception score of
what they write behind openings of held-out pieces; tokens a second of one core in training and in writing. Beside them
stand generators of `--models` that learnt longer, measured alike, with the time that each took.
"""
import json
import time

from experiments.equal import OPEN, Jury, all_tables, bits_per_note, kept, opening, parser_of, recoded, train_for, work_sums
from benchmarks.machine import machine

from musiclm.composer import judge_hash
from musiclm.corpus import Corpus
from musiclm.models import load_model
from musiclm.notes import atomic_write
from musiclm.charts import plain

RUNS = {f'{arch} {size}': (kind, size) for arch, kind in (('LSTM', 'awd_lstm'), ('Transformer', 'transformer')) for size in ('tiny', 'small', 'base')}
LONGER = ('lstm-small@2', 'lstm-small@8', 'lstm-small', 'lstm-base@3', 'lstm-base', 'transformer-small@3', 'transformer-small')
BEATS = 64 # of every held-out piece


def figures(model, held_out, jury) -> dict:
    "Bits by work, the score, and how fast it writes."
    sums, begin = work_sums(model, held_out), time.process_time()
    pieces = jury.write(model, **OPEN)
    seconds = time.process_time() - begin
    return dict(sums=sums, writes=sum(len(p) - p.prompt_len for p in pieces)/seconds, score=jury.figures([p.notes for p in pieces]))


def main():
    args = parser_of('sizes', __doc__, n=192, seconds=150).parse_args()
    corpus, judge = Corpus.load(args.models/'store'), load_model(args.models/'composer')
    held_out = recoded(corpus, corpus.encoder, {p: opening(t, BEATS) for p, t in all_tables(corpus, 'test').items()})
    jury, rows, longer = Jury(judge, corpus, args.n), {}, {}
    for name, (arch, size) in RUNS.items():
        def make():
            model = train_for(args.seconds, corpus, args.keep/name, arch, size)
            learnt = {k: model.card[k] for k in ('tokens', 'passes', 'parameters', 'loss')}
            return dict(figures(model, held_out, jury), **learnt, learns=model.card['tokens']/args.seconds)
        rows[name] = kept(args.keep/f'{name}.json', make)
        print(name, bits_per_note(rows[name]['sums']), rows[name]['score'], flush=True)
    for name in LONGER:
        if not (args.models/name/'model.json').is_file(): continue
        def make():
            model = load_model(args.models/name)
            return dict(figures(model, held_out, jury), seconds=model.card['core_seconds'])
        longer[name] = kept(args.keep/f'longer {name}.json', make)
    best = min(rows, key=lambda k: bits_per_note(rows[k]['sums'])['value'])
    for row in rows.values(): row |= dict(bits=bits_per_note(row['sums']), behind=bits_per_note(row['sums'], rows[best]['sums']))
    for row in longer.values(): row['bits'] = bits_per_note(row['sums'])
    result = dict(machine=machine('torch'), seconds=args.seconds, judge=judge_hash(judge), works=held_out.manifest['work'].nunique(),
                  notes=int(held_out.manifest['n_notes'].sum()), best=best, **jury.limits(),
                  rows={k: {m: v for m, v in r.items() if m != 'sums'} for k, r in rows.items()},
                  longer={k: {m: v for m, v in r.items() if m != 'sums'} for k, r in longer.items()})
    atomic_write(args.out/'sizes.json', (json.dumps(plain(result), indent=1) + '\n').encode())


if __name__ == '__main__': main()
