"""Peak memory and time of `musiclm encode` for 100 and for 5,000 files: bounded by the batch, not by the corpus.

    python -m benchmarks.memory

The files are real ones: pieces of the corpus inside music21, written as MIDI, each fifty times under changed
transpositions. A copy's last note is longer than that of the copy before: otherwise all copies would be the same music,
and all but one left out. Every build runs in a process of its own; the figure is the largest resident set of that
process or of any of its workers, beside that of a process that only imports the library.
"""
import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import READING, machine
from musiclm.corpus import Corpus
from musiclm.build import music21_corpus
from musiclm.notes import transpose, write_midi, atomic_write

HERE = Path(__file__).parent
COMMAND = '''import musiclm.build
from musiclm.cli import main
musiclm.build.MIN_PARALLEL_COST = 0 # start the workers that are asked for, however little there is to do
raise SystemExit(main())'''


def make_files(folder:Path, n_pieces:int, copies:int) -> None:
    "Pieces as MIDI files, `copies` of each."
    corpus = music21_corpus(['bach', 'monteverdi', 'palestrina'])
    for i in corpus.sample(n_pieces):
        notes = corpus.notes(i)
        for k in range(copies):
            copy = transpose(notes, k % 12 - 6)
            copy.loc[copy.index[-1], 'duration'] += k
            write_midi(copy, folder/corpus.manifest.composer[i]/f'work {i:04d}-{k}.mid')


def run(*command) -> tuple: # Seconds, and the largest resident set of it or its children in MB
    "Run a process to its end."
    began = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, *map(str, command)], os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    if status: raise SystemExit(f'{command} failed')
    return time.perf_counter() - began, usage.ru_maxrss/1024


def measure(copies:int, n_pieces:int, workers:int) -> dict: # One row
    "Build a store of `n_pieces*copies` files."
    with tempfile.TemporaryDirectory() as d:
        make_files(Path(d)/'midi', n_pieces, copies)
        seconds, peak = run('-c', COMMAND, 'encode', Path(d)/'midi', '--out', Path(d)/'store', '--workers', workers)
        corpus = Corpus.load(Path(d)/'store')
        size = sum(p.stat().st_size for p in (Path(d)/'store').iterdir())/2**20
        return dict(files=n_pieces*copies, workers=workers, pieces=len(corpus), tokens=int(corpus.manifest.n_tokens.sum()),
                    store_mb=size, seconds=seconds, peak_mb=peak)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pieces', type=int, default=100)
    parser.add_argument('--out', default=HERE/'results', type=Path)
    args = parser.parse_args()
    _, idle = run('-c', 'import musiclm.corpus')
    rows = [measure(copies, args.pieces, workers) for workers in (1, 2) for copies in (1, 50)]
    show = lambda v: f'{v:,}' if isinstance(v, int) else f'{v:,.1f}'
    lines = ['# Memory of a build', '', 'Made by `python -m benchmarks.memory`; ' + ', '.join(f'{k} {v}' for k, v in machine(*READING).items())
             + f'. A process that only imports the library: {idle:.0f} MB.', '', '| ' + ' | '.join(rows[0]) + ' |', '|---'*len(rows[0]) + '|',
             *('| ' + ' | '.join(map(show, row.values())) + ' |' for row in rows)]
    print('\n'.join(lines))
    atomic_write(args.out/'memory.json', json.dumps(dict(machine=machine(*READING), import_mb=idle, rows=rows), indent=1).encode())
    atomic_write(args.out/'memory.md', ('\n'.join(lines) + '\n').encode())


if __name__ == '__main__': main()
