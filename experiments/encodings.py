"""Encodings on equal terms: bits per note of held-out music under one kind of model.

    python -m experiments.encodings                        # Bach of music21
    python -m experiments.encodings --folder NAME=PATH

For each encoding the same scores are read on the same grid (12 steps a beat), split by work in the same way, and an n-gram
model (interpolated Witten-Bell) is counted on the training works in all twelve keys, its order, up to 8, chosen on the
validation works. Measured on the test works: all bits of a piece, its end included, over the notes of the score as it was
read. `kept` is the share of those notes that the tokens give back; an encoding that drops notes saves their bits. BPE (1,000
tokens) and chords (of all keys) are learnt from the training works. The chordwise row has 4 steps a beat, since its texts
would be three times as long otherwise: it spells less, and is here for its order of size only.

An n-gram sees the last seven tokens, whatever they hold: an encoding with fewer tokens per note sees more music. A network with
a long memory may rank the encodings otherwise.
"""
import argparse
import json
import time
from pathlib import Path

from musiclm.build import folder_corpus, music21_corpus
from musiclm.encoders import TOKENIZERS, miditok_encoder, train_bpe
from musiclm.compare import evaluate_lm
from musiclm.ngram import NGram
from musiclm.notes import atomic_write
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig
from musiclm.chordwise import ChordwiseEncoder

KEYS = range(-5, 7)


def encodings(
    make, # Function of an encoder that gives the corpus
): # Generates (name, encoder)
    "All rows of the table; what is learnt is learnt from the training works."
    training = lambda corpus: [corpus.notes(i) for i in corpus.indices('train')]
    notewise = lambda **options: NotewiseEncoder(EncodingConfig(durations=False, **options))
    yield 'notewise', notewise()
    yield 'notewise, piano first', notewise(part_order=('p', 'v'))
    yield 'notewise, waits uncapped', notewise(max_wait=None)
    notes = training(make(notewise()))
    for name in TOKENIZERS:
        yield name, (encoder := miditok_encoder(name))
        yield f'{name}, BPE', train_bpe(encoder, notes, 1000)
    coarse = training(make(notewise(steps_per_beat=4)))
    yield 'chordwise, 4 steps', ChordwiseEncoder().fit(coarse, semitones=(KEYS[0], KEYS[-1]))


def measure(corpus) -> dict:
    "A row of the table."
    pieces = {s: [corpus.tokens(i) for i in corpus.indices(s)] for s in ('train', 'valid')}
    model = NGram.fit(pieces['train'], corpus.vocab, corpus.encoder.config, 8, KEYS)
    model.order = model.best_order(pieces['valid'])
    found = evaluate_lm(model, corpus)
    bits = found['bits_per_note']
    return dict(vocabulary=len(corpus.vocab), order=model.order, tokens=found['n_tokens']/found['n_notes'],
                nats=found['nats_per_token'].value, bits=bits.value, low=bits.low, high=bits.high, kept=found['kept'],
                notes=found['n_notes'], works=found['n_works'])


def as_markdown(result:dict) -> str:
    "The tables of a result."
    lines = ['# Encodings on equal terms', '', *__doc__.split('\n\n', 2)[2].strip().splitlines(), '',
             f'Made by `experiments/encodings.py` in {result["seconds"]:.0f} s.']
    for name, rows in result['corpora'].items():
        first = next(iter(rows.values()))
        lines += ['', f'## {name}: {first["works"]} test works, {first["notes"]:,} notes', '',
                  '| encoding | vocabulary | order | tokens per note | nats per token | bits per note | 95% | kept |',
                  '|---|---:|---:|---:|---:|---:|---:|---:|']
        for encoding, r in rows.items():
            cells = [encoding, r['vocabulary'], r['order'], f'{r["tokens"]:.2f}', f'{r["nats"]:.3f}', f'{r["bits"]:.2f}',
                     f'{r["low"]:.2f}–{r["high"]:.2f}', f'{r["kept"]:.3f}']
            lines.append(f'| {" | ".join(map(str, cells))} |')
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--music21', nargs='*', default=['bach'], help='corpora of the music21 package')
    parser.add_argument('--folder', action='append', default=[], metavar='NAME=PATH', help='scores; may be repeated')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results')
    args, begin, corpora = parser.parse_args(), time.perf_counter(), {}
    makers = {n: lambda e, n=n: music21_corpus(n, e, workers=1, progress=False) for n in args.music21}
    for name, _, path in (f.partition('=') for f in args.folder):
        makers[name] = lambda e, path=path: folder_corpus(path, e, workers=1, progress=False)
    for name, make in makers.items():
        corpora[name] = {}
        for encoding, encoder in encodings(make):
            row = corpora[name][encoding] = measure(make(encoder))
            bits = f'{row["bits"]:.2f} bits per note ({row["low"]:.2f} to {row["high"]:.2f})'
            print(f'{name:12} {encoding:26} {bits}', flush=True)
    result = dict(seconds=round(time.perf_counter() - begin, 1), corpora=corpora)
    atomic_write(args.out/'encodings.json', (json.dumps(result, indent=1) + '\n').encode())
    atomic_write(args.out/'encodings.md', as_markdown(result).encode())


if __name__ == '__main__': main()
