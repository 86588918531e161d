"""What each encoding keeps of real music, and what it costs.

    python -m benchmarks.fidelity                                   # Bach and Beethoven of music21
    python -m benchmarks.fidelity --folder asap=SCORES --folder NAME=PATH

Every score is read once on a fine grid: a MIDI file on its own ticks, a notated score at 480 steps a beat. That is the
truth. Its notes are rounded to the grid of an encoding as the reader does it, encoded, decoded, and compared.

A note of the truth survives where the result has one of the same pitch whose onset lies within half a step of the
encoding's grid. Parts do not matter. Each note of the result answers for one note of the truth, in the order of time
(of notes struck together the longest first). All shares are of all notes of the truth:

- `onset`: survives as just said; `onset exact`: to the tick
- `duration`: survives, and ends up with a duration within half a step; `duration exact`: both onset and duration to the tick
- `unisons`: merged with another note of the same part and pitch at the same step; `folded`: moved by octaves into the range
- `tokens`: tokens for a note of the truth; `vocabulary`: tokens there are

The rows of MidiTok `alone` are its tokenizers as they come (8 steps a beat, longer notes in steps of 4, velocities, a text
for each track), fed with the truth directly; the others go through the adapter of musiclm, which merges unisons before.
The chordwise vocabulary is learnt from four works of five; that row is measured on the pieces of the fifth.
"""
import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import symusic
from tqdm import tqdm

from musiclm.build import default_cache
from musiclm.encoders import TOKENIZERS, miditok_encoder, need_miditok
from musiclm.notes import ScoreError, note_table, table_rows, to_grid, atomic_write
from musiclm.scores import MIDI_SUFFIXES, read_notes
from musiclm.sources import folder_manifest, music21_manifest, subsample
from musiclm.tokens import NotewiseEncoder, fold_octaves
from musiclm.vocab import EncodingConfig
from musiclm.chordwise import ChordwiseEncoder

FINE = 480 # steps a beat at which notated scores are read
NOTEWISE = { # an option of the encoding a row
    'notewise': {}, 'notewise, piano first': dict(part_order=('p', 'v')), 'notewise, 4 steps': dict(steps_per_beat=4),
    'notewise, 24 steps': dict(steps_per_beat=24), 'notewise, waits uncapped': dict(max_wait=None),
    'notewise, 33..94, violin folded': dict(pitch_range=(33, 94), fold_violin=True),
    'notewise, 16 loudnesses, 24 tempos': dict(velocity_bins=16, tempo_bins=24)}
CHORDWISE = 'chordwise, 4 steps'


def encodings() -> dict: # Name -> encoder, or a tokenizer of MidiTok as it comes
    "All rows of the table but the chordwise one."
    made = {name: NotewiseEncoder(EncodingConfig(durations=False, **options)) for name, options in NOTEWISE.items()}
    made |= {f'{n}, 12 steps': miditok_encoder(n) for n in TOKENIZERS}
    return made | {f'{n}, alone': getattr(need_miditok(), n)() for n in TOKENIZERS}


def ticks_in_a_beat(path:Path) -> int:
    "The grid on which a score is read."
    if path.suffix.lower() not in MIDI_SUFFIXES: return FINE
    with open(path, 'rb') as f: division = int.from_bytes(f.read(14)[12:14], 'big')
    return division if 0 < division < 1 << 15 else FINE


def read_truth(
    manifest:pd.DataFrame, # With columns path and work, and perhaps tune and part_map
    part_map:str, # Which track is which part, where the manifest does not say
) -> tuple: # (work, note table on the score's own grid) of each piece, and how many could not be read
    "Read the scores of a corpus."
    found = []
    for row in manifest.to_dict('records'):
        grid = ticks_in_a_beat(row['path'])
        try: *columns, info = read_notes(row['path'], row.get('tune'), default_cache(), steps_per_beat=grid, max_gap=None,
                                         part_map=row.get('part_map') or part_map)
        except ScoreError: continue
        notes = note_table(*columns, steps_per_beat=grid)
        notes.attrs['tempos'] = info['tempos']
        found.append((row['work'], notes))
    return found, len(manifest) - len(found)


def on_grid(notes:pd.DataFrame, grid:int) -> pd.DataFrame:
    "Notes rounded to a grid of so many steps a beat, as the reader does it."
    onset, length, _, _, _ = table_rows(notes)
    times = np.concatenate([onset, onset + length])
    onset, length, done = to_grid(times, notes.attrs['steps_per_beat'], grid, None, notes.attrs['tempos'])
    coarse = note_table(onset, length, notes['pitch'], notes['velocity'], notes['part'], grid)
    coarse.attrs['tempos'] = done['tempos']
    return coarse


def in_beats(notes:pd.DataFrame) -> np.ndarray: # (n, 3): pitch, onset and duration, sorted; the longest of a chord first
    "What is compared."
    rows = notes[['pitch', 'onset', 'duration']].to_numpy(float)
    rows = rows/[1, *[notes.attrs['steps_per_beat']]*2]
    return rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]


def survivors(truth:np.ndarray, kept:np.ndarray, half:float) -> tuple: # Indices of the pairs, in `truth` and in `kept`
    "Pair notes of equal pitch whose onsets differ by no more than `half`, each once."
    pairs, i, j, half = [], 0, 0, half + 1e-9
    a, b = truth[:, :2].tolist(), kept[:, :2].tolist()
    while i < len(a) and j < len(b):
        (p, t), (q, u) = a[i], b[j]
        if p == q and abs(t - u) <= half:
            pairs.append((i, j)); i += 1; j += 1
        elif (q, u) < (p, t): j += 1
        else: i += 1
    return np.array(pairs, int).reshape(-1, 2).T


def alone(tokenizer, notes:pd.DataFrame) -> tuple: # The notes that MidiTok gives back, and tokens used
    "Encode and decode by MidiTok itself."
    score = symusic.Score(notes.attrs['steps_per_beat'])
    for part, rows in notes.groupby('part'):
        times = (np.ascontiguousarray(rows[c], np.int32) for c in ('onset', 'duration'))
        sounds = (np.ascontiguousarray(rows[c], np.int8) for c in ('pitch', 'velocity'))
        score.tracks.append(symusic.Track('', 40*(part == 0), False, notes=symusic.Note.from_numpy(*times, *sounds)))
    texts = tokenizer.encode(score)
    n_tokens = sum(len(t.ids) for t in texts) # before decoding: MidiTok changes the list
    back = tokenizer.decode(texts)
    found = [t.notes.numpy() for t in back.tracks]
    columns = [np.concatenate([f[k] for f in found] or [[]]) for k in ('time', 'duration', 'pitch')]
    return note_table(*columns, steps_per_beat=back.ticks_per_quarter), n_tokens


def through(encoder, notes:pd.DataFrame) -> tuple: # Notes given back, tokens, unisons merged, notes folded
    "Encode and decode by an encoder."
    config, coarse = encoder.config, on_grid(notes, encoder.config.steps_per_beat)
    ids = encoder.encode(coarse)
    lowest = np.array([config.lowest(p) for p in config.parts])[coarse['part']]
    folded = fold_octaves(coarse['pitch'].to_numpy(), lowest, config.pitch_range[1]) != coarse['pitch']
    unisons = coarse.duplicated(['onset', 'pitch', 'part']).sum()
    return encoder.decode(ids), len(ids), int(unisons), int(folded.sum())


def measure(encoder, pieces:list) -> dict: # A row of the table
    "What an encoding keeps of pieces."
    own = not hasattr(encoder, 'vocab') or not hasattr(encoder.vocab, 'itos') # a tokenizer of MidiTok as it comes
    half = .5/(encoder.config.max_num_pos_per_beat if own else encoder.config.steps_per_beat)
    n, found = 0, np.zeros(7)
    for notes in pieces:
        kept, n_tokens, *lost = (*alone(encoder, notes), 0, 0) if own else through(encoder, notes)
        a, b = in_beats(notes), in_beats(kept)
        i, j = survivors(a, b, half)
        onset, duration = (np.abs(a[i, k] - b[j, k]) for k in (1, 2))
        exact = onset < 1e-6
        found += [len(i), exact.sum(), (duration <= half + 1e-9).sum(), (exact & (duration < 1e-6)).sum(), *lost, n_tokens]
        n += len(a)
    names = ['onset', 'onset_exact', 'duration', 'duration_exact', 'unisons', 'folded', 'tokens']
    row = dict(zip(names, (found/n).tolist())) | dict(vocabulary=len(encoder) if own else len(encoder.vocab), notes=n)
    return row | (dict(unisons=None, folded=None) if own else {})


def measure_chords(pieces:list) -> dict: # Of (work, note table)
    "The row of the chordwise encoding: learnt from four works of five."
    works = sorted({w for w, _ in pieces})
    held_out = set(works[::5])
    encoder = ChordwiseEncoder()
    encoder.fit((on_grid(n, encoder.config.steps_per_beat) for w, n in pieces if w not in held_out), max_size=1 << 14)
    return measure(encoder, [n for w, n in pieces if w in held_out])


def as_markdown(result:dict) -> str:
    "The tables of a result."
    share = lambda x: '–' if x is None else f'{100*x:.1f}'
    head = ['encoding', 'onset', 'onset exact', 'duration', 'duration exact', 'unisons', 'folded', 'tokens', 'vocabulary']
    lines = ['# What each encoding keeps', '', *(__doc__.split('\n\n', 2)[2].strip().splitlines()), '',
             'Shares in percent of all notes. Made by `benchmarks/fidelity.py` in '
             f'{result["seconds"]:.0f} s; {result["versions"]}.']
    for name, corpus in result['corpora'].items():
        lines += ['', f'## {name}: {corpus["pieces"]} pieces, {corpus["notes"]:,} notes', '', f'| {" | ".join(head)} |',
                  '|---' + '|---:'*(len(head) - 1) + '|']
        for encoding, r in corpus['rows'].items():
            shares = [share(r[k]) for k in ('onset', 'onset_exact', 'duration', 'duration_exact', 'unisons', 'folded')]
            cells = [encoding, *shares, format(r['tokens'], '.2f'), str(r['vocabulary'])]
            lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--music21', nargs='*', default=['bach', 'beethoven'], help='corpora of the music21 package')
    parser.add_argument('--folder', action='append', default=[], metavar='NAME=PATH', help='scores; may be repeated')
    parser.add_argument('--max-pieces', type=int, help='about so many pieces of each corpus')
    parser.add_argument('--out', type=Path, default=Path(__file__).parent/'results')
    args, begin, corpora = parser.parse_args(), time.perf_counter(), {}
    sources = {n: (music21_manifest(n), 'top') for n in args.music21}
    for name, _, path in (f.partition('=') for f in args.folder):
        sources[name] = folder_manifest(path).assign(split=''), 'auto'
    for name, (manifest, part_map) in sources.items():
        if args.max_pieces: manifest = subsample(manifest, args.max_pieces)
        pieces, n_failed = read_truth(manifest, part_map)
        tables = [notes for _, notes in pieces]
        rows = {k: measure(e, tables) for k, e in tqdm(encodings().items(), desc=name, delay=1)}
        rows[CHORDWISE] = measure_chords(pieces)
        corpora[name] = dict(pieces=len(pieces), unreadable=n_failed, notes=sum(map(len, tables)), rows=rows)
    versions = ', '.join(f'{p} {version(p)}' for p in ('miditok', 'symusic', 'music21'))
    result = dict(versions=versions, seconds=round(time.perf_counter() - begin, 1), corpora=corpora)
    atomic_write(args.out/'fidelity.json', (json.dumps(result, indent=1) + '\n').encode())
    atomic_write(args.out/'fidelity.md', as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == '__main__': main()
