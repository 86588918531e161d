"""Notewise, chordwise, and MidiTok's REMI and TSD on equal terms: what a network makes of each.

    python -m experiments.peers --models out/models        (a quarter of an hour of one core; goes on where it was interrupted)

The same scores, split alike, are spelt in four ways (`encodings.py` counts n-grams of them and others). The same network, a small
AWD-LSTM, learns each for the same seconds of one core, so that an encoding with longer texts hears fewer pieces. Measured on
the test works: all bits of a piece over its notes, with intervals over works. Then each goes on from the same eight beats of
held-out pieces; what it writes is decoded, encoded for one judge, which reads notewise, and cut to equal length. `through` are the
scores of the composers' own music after it went through the encoding. Speed is of one core: note tables to tokens, and notes written.

Chordwise has 4 steps a beat, since its texts would be three times as long otherwise, and its 8,192 commonest chords, in all keys: a
network spends most of its time on a larger vocabulary. What it cannot spell it replaces by the nearest.
"""
import json
import time

from experiments.equal import OPEN, Jury, all_tables, bits_per_note, kept, parser_of, recoded, to_grid, train_for, work_sums
from benchmarks.machine import machine

from musiclm.composer import judge_hash
from musiclm.corpus import Corpus
from musiclm.encoders import miditok_encoder
from musiclm.models import load_model
from musiclm.notes import atomic_write
from musiclm.charts import plain
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig
from musiclm.chordwise import ChordwiseEncoder


def chordwise(corpus) -> ChordwiseEncoder:
    "Chords of the training works, in all keys."
    encoder = ChordwiseEncoder()
    train = (to_grid(t, encoder.config.steps_per_beat) for t in all_tables(corpus, 'train').values())
    return encoder.fit(train, max_size=8192, semitones=(-5, 6))


ENCODINGS = {'notewise': lambda corpus: NotewiseEncoder(EncodingConfig(durations=False)), 'chordwise, 4 steps': chordwise,
             'REMI': lambda corpus: miditok_encoder('REMI'), 'TSD': lambda corpus: miditok_encoder('TSD')}


def encode_speed(encoder, tables) -> dict: # Pieces and notes a second of one core; the best of three
    "How fast note tables become tokens."
    tables, best = [to_grid(t, encoder.config.steps_per_beat) for t in tables], float('inf')
    for _ in range(3):
        begin = time.process_time()
        for t in tables: encoder.encode(t)
        best = min(best, time.process_time() - begin)
    return dict(pieces=len(tables)/best, notes=sum(map(len, tables))/best)


def measure(encoder, corpus, tables, jury, folder, seconds) -> dict:
    "A row of the table."
    mine = recoded(corpus, encoder, tables)
    speed = encode_speed(encoder, list(jury.tables.values()))
    model = train_for(seconds, mine, folder)
    sums, begin = work_sums(model, mine), time.process_time()
    pieces = jury.write(model, **OPEN)
    took, notes = time.process_time() - begin, [p.notes for p in pieces]
    written = sum(len(t) - len(encoder.decode(p.ids[:p.prompt_len])) for p, t in zip(pieces, notes))
    through = [encoder.decode(encoder.encode(to_grid(jury.tables[p], encoder.config.steps_per_beat))) for p in jury.about['piece']]
    for k in (0, 1, 2): pieces[k].write_midi(folder/f'{k}.mid')
    return dict(sums=sums, score=jury.figures(notes), through=jury.figures(through), encodes=speed, writes=written/took, vocabulary=len(encoder.vocab),
                **{k: model.card[k] for k in ('tokens', 'passes', 'parameters', 'loss')})


def main():
    parser = parser_of('peers', __doc__, n=192, seconds=200)
    parser.add_argument('--encodings', nargs='*', default=[*ENCODINGS], choices=[*ENCODINGS])
    args = parser.parse_args()
    corpus, judge = Corpus.load(args.models/'store'), load_model(args.models/'composer')
    tables, jury, rows = all_tables(corpus), Jury(judge, corpus, args.n), {}
    for name in args.encodings:
        rows[name] = kept(args.keep/f'{name}.json', lambda: measure(ENCODINGS[name](corpus), corpus, tables, jury, args.keep/name, args.seconds))
        print(name, bits_per_note(rows[name]['sums']), rows[name]['score'], flush=True)
    first = next(iter(rows.values()))['sums']
    for row in rows.values():
        total = {k: sum(w[k] for w in row['sums'].values()) for k in ('tokens', 'notes', 'kept')}
        row |= dict(bits=bits_per_note(row['sums']), behind=bits_per_note(row.pop('sums'), first), tokens_a_note=total['tokens']/total['notes'],
                    kept=total['kept']/total['notes'])
    result = dict(machine=machine('torch', 'miditok'), seconds=args.seconds, judge=judge_hash(judge), works=len(first), **jury.limits(),
                  rows=rows)
    atomic_write(args.out/'peers.json', (json.dumps(plain(result), indent=1) + '\n').encode())


if __name__ == '__main__': main()
