"""How fast scores become tokens, beside the field's tokenizers, on the same files in one run on one thread.

    python -m benchmarks.encode                     MIDI files made from the corpus inside music21
    python -m benchmarks.encode --folder my_midi    and a folder of your own

Files of some 300 notes are Bach's chorales; files of some 3,000 are stretches of Beethoven's quartets. Rows: reading
alone (symusic), `encode_file`, which `musiclm encode` calls, `encode(read_score(f))`, which goes by way of a data
frame, MidiTok's MIDILike, TSD and REMI with their default settings, reading included, and the way of the original work
(music21 to a stream, note by note to text), on a few files only, since it is slow. Then tokens back to a MIDI file.
All take turns: in every round each goes through all files. Of all rounds the quickest and the slowest are given.
"""
import argparse
import json
import os
import tempfile
import time
import warnings
from itertools import count
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
import numpy as np
import symusic
from benchmarks.machine import READING, machine

from musiclm.corpus import encode_file
from musiclm.build import music21_corpus
from musiclm.notes import write_midi, atomic_write
from musiclm.scores import MIDI_SUFFIXES, read_notes, read_score
from musiclm.tokens import NotewiseEncoder

HERE = Path(__file__).parent


def make_files(folder:Path, most:int) -> dict: # Name of a set -> paths
    "MIDI files of the two sizes: the chorales nearest to 300 notes, and the quartets in stretches of 3,000."
    corpus = music21_corpus(['bach', 'beethoven'])
    bach = corpus.manifest.composer == 'bach'
    chorales = (corpus.manifest.n_notes[bach] - 300).abs().sort_values(kind='stable').index[:most]
    quartets = [(i, k) for i in corpus.manifest.index[~bach] for k in range(0, corpus.manifest.n_notes[i] - 3500, 3000)][:most]
    return {'some 300 notes': [write_midi(corpus.notes(i), folder/'300'/f'{i}.mid') for i in chorales],
            'some 3,000 notes': [write_midi(corpus.notes(i).iloc[k:k + 3000], folder/'3000'/f'{i}-{k}.mid') for i, k in quartets]}


def by_music21(path, encoder): # Tokens as text
    "The way of the original work: a stream, then every note by itself."
    from music21 import converter
    events = []
    for part, stream in enumerate(converter.parse(str(path), forceSource=True, storePickle=False).parts):
        name = encoder.config.parts[min(part, 1)]
        for el in stream.flatten().notes:
            start, end = round(float(el.offset)*12), round(float(el.offset + el.quarterLength)*12)
            for pitch in el.pitches:
                events += [(start, 1, f'{name}{pitch.midi}'), (max(end, start + 1), 0, f'end{name}{pitch.midi}')]
    text, now = ['xxbos'], 0
    for step, _, token in sorted(events):
        while now < step:
            wait = min(12, step - now)
            text.append(f'wait{wait}')
            now += wait
        text.append(token)
    return text


def tools(encoder) -> dict: # Name -> function of a path
    "What is timed."
    from miditok import REMI, TSD, MIDILike
    rows = {'reading alone (symusic)': lambda p: symusic.Score(p), 'musiclm encode_file': lambda p: encode_file(p, encoder),
            'musiclm encode(read_score)': lambda p: encoder.encode(read_score(p))}
    return rows | {f'MidiTok {t.__name__}': t().__call__ for t in (MIDILike, TSD, REMI)}


def writers(encoder, paths, folder) -> dict: # Name -> function of the number of a file
    "Tokens to MIDI files, each a new one: file systems take a millisecond to replace a file."
    from miditok import MIDILike
    tokenizer, number = MIDILike(), count()
    ours, theirs = [encode_file(p, encoder) for p in paths], [tokenizer(p) for p in paths]
    return {'musiclm decode and write_midi': lambda i: write_midi(encoder.decode(ours[i]), folder/f'{next(number)}.mid'),
            'MidiTok MIDILike decode and dump_midi': lambda i: tokenizer.decode(theirs[i]).dump_midi(folder/f'{next(number)}.mid')}


def race(rows:dict, items, rounds:int) -> dict: # Name -> [seconds of every round]
    "Time every function on every item, in turn."
    seconds = {name: [] for name in rows}
    for k in range(rounds + 1): # the first round warms up
        for name, f in rows.items():
            began = time.perf_counter()
            for item in items: f(item)
            if k: seconds[name].append(time.perf_counter() - began)
    return seconds


def measure(paths:list, rounds:int, slow:int) -> dict: # Rows by name: notes a second and so on
    "All rows for one set of files."
    encoder = NotewiseEncoder()
    notes = [len(read_notes(p).onset) for p in paths]
    seconds = race(tools(encoder), [str(p) for p in paths], rounds)
    few = paths[:slow]
    seconds_slow = race({'music21, note by note (the original way)': lambda p: by_music21(p, encoder)}, few, 1)
    with tempfile.TemporaryDirectory() as d: back = race(writers(encoder, paths, Path(d)), range(len(paths)), rounds)
    rows = {}
    for found, n in ((seconds, sum(notes)), (seconds_slow, sum(notes[:slow])), (back, sum(notes))):
        for name, s in found.items():
            rows[name] = dict(notes_per_second=n/min(s), slowest_round=n/max(s), microseconds_a_file=1e6*min(s)*sum(notes)/n/len(paths))
    return dict(files=len(paths), notes_a_file=float(np.mean(notes)), rows=rows, ratios=ratios(rows))


def ratios(rows:dict) -> dict:
    "What the rows are to each other."
    rate = lambda name: rows[name]['notes_per_second']
    ours = rate('musiclm encode_file')
    return {**{f'encode_file to {name}': ours/rate(name) for name in rows if name.startswith('MidiTok') and 'decode' not in name},
            'encode_file to the original way': ours/rate('music21, note by note (the original way)'),
            'encode_file to reading alone': ours/rate('reading alone (symusic)'),
            'decoding and writing to MidiTok': rate('musiclm decode and write_midi')/rate('MidiTok MIDILike decode and dump_midi')}


def as_markdown(result:dict) -> str:
    "The tables, for people."
    about = ', '.join(f'{k} {v}' for k, v in result['machine'].items())
    lines = ['# Encoding, one core', '', f'Made by `python -m benchmarks.encode`; {about}.']
    for name, found in result['sets'].items():
        lines += ['', f'## {name}', '', f'{found["files"]} files of {found["notes_a_file"]:,.0f} notes on average.', '',
                  '| | notes a second (quickest round) | slowest round | µs a file |', '|---|---|---|---|']
        columns = ('notes_per_second', 'slowest_round', 'microseconds_a_file')
        lines += [f'| {k} | ' + ' | '.join(f'{r[c]:,.0f}' for c in columns) + ' |' for k, r in found['rows'].items()]
        lines += ['', '| ratio | |', '|---|---|']
        lines += [f'| {k} | {v:.2f} |' if v < 3 else f'| {k} | {v:.1f} |' for k, v in found['ratios'].items()]
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', help='MIDI files of your own, as one more set')
    parser.add_argument('--files', type=int, default=60, help='at most so many of a set')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--slow', type=int, default=3, help='files for the original way')
    parser.add_argument('--out', default=HERE/'results', type=Path)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory() as d:
        sets = make_files(Path(d), args.files)
        if args.folder:
            own = sorted(p for p in Path(args.folder).rglob('*') if p.suffix.lower() in MIDI_SUFFIXES)[:args.files]
            if not own: parser.error(f'no MIDI files in {args.folder}')
            sets[f'a folder: {Path(args.folder).name}'] = own
        result = dict(machine=machine(*READING), sets={name: measure(paths, args.rounds, args.slow) for name, paths in sets.items()})
    text = as_markdown(result)
    print(text)
    atomic_write(args.out/'encode.json', json.dumps(result, indent=1).encode())
    atomic_write(args.out/'encode.md', text.encode())


if __name__ == '__main__': main()
