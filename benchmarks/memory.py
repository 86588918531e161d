"""Peak memory and time of `musiclm encode` for 100 and for 20,000 files: bounded by the batch, not by the corpus.

    python -m benchmarks.memory

The files are real ones: pieces of the corpus inside music21, written as MIDI, each two hundred times under changed
transpositions. A copy's last note is longer than that of the copy before: otherwise all copies would be the same music, and
all but one left out. Every build runs in a process of its own; `peak_mb` is the largest resident set of that process or of any
of its workers, beside that of a process that only imports the library. One build is interrupted (Ctrl-C) after half of its
time and then run again; one uses two workers of a Dask cluster. All stores of the 20,000 files must hold the same tokens.
"""
import argparse
import json
import os
import signal
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


def make_files(folder:Path, n_pieces:int, copies:int) -> Path:
    "Pieces as MIDI files, `copies` of each."
    corpus = music21_corpus(['bach', 'monteverdi', 'palestrina'])
    for i in corpus.sample(n_pieces):
        notes = corpus.notes(i)
        for k in range(copies):
            copy = transpose(notes, k % 12 - 6)
            copy.loc[copy.index[-1], 'duration'] += k
            write_midi(copy, folder/corpus.manifest.composer[i]/f'work {i:04d}-{k}.mid')
    return folder


def run(*command, stop_after:float=None) -> tuple: # Seconds, and the largest resident set of it or its children in MB
    "Run a process to its end, or interrupt it after some seconds."
    began = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, *map(str, command)], os.environ, setsid=True,
                         file_actions=[(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_WRONLY, 0) for n in (1, 2)])
    if stop_after:
        time.sleep(stop_after)
        os.killpg(pid, signal.SIGINT)
    _, status, usage = os.wait4(pid, 0)
    if bool(status) != bool(stop_after): raise SystemExit(f'{command} ended with {status}')
    return time.perf_counter() - began, usage.ru_maxrss/1024


def measure(how:str, midi:Path, store:Path, *options, stop_after:float=None) -> dict: # One row
    "Build a store."
    seconds, peak = run('-c', COMMAND, 'encode', midi, '--out', store, *options, stop_after=stop_after)
    files = sum(1 for _ in midi.rglob('*.mid'))
    row = dict(how=how, files=files, pieces=0, tokens=0, store_mb=0., seconds=seconds, peak_mb=peak)
    if stop_after: return row
    corpus = Corpus.load(store)
    return row | dict(pieces=len(corpus), tokens=int(corpus.manifest.n_tokens.sum()),
                      store_mb=sum(p.stat().st_size for p in store.iterdir())/2**20)


def dask_row(midi:Path, store:Path) -> dict:
    "Build a store on two workers of a Dask cluster."
    from distributed import LocalCluster
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        return measure('2 Dask workers', midi, store, '--scheduler', cluster.scheduler_address)


def measure_all(folder:Path, n_pieces:int, copies:int) -> list: # Rows
    "All builds."
    few, many = (make_files(folder/str(c), n_pieces, c) for c in (1, copies))
    rows = [measure('1 process', few, folder/'few', '--workers', 1), measure('2 processes', few, folder/'few2', '--workers', 2),
            measure('1 process', many, folder/'one', '--workers', 1), measure('2 processes', many, folder/'two', '--workers', 2)]
    half = measure('interrupted', many, folder/'stopped', '--workers', 1, stop_after=rows[2]['seconds']/2)
    rows += [half, measure('run again', many, folder/'stopped', '--workers', 1), dask_row(many, folder/'dask')]
    first = (folder/'one'/'tokens.npy').read_bytes()
    assert all((folder/s/'tokens.npy').read_bytes() == first for s in ('two', 'stopped', 'dask')), 'stores differ'
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pieces', type=int, default=100)
    parser.add_argument('--copies', type=int, default=200)
    parser.add_argument('--out', default=HERE/'results', type=Path)
    args = parser.parse_args()
    _, idle = run('-c', 'import musiclm.corpus')
    with tempfile.TemporaryDirectory() as d: rows = measure_all(Path(d), args.pieces, args.copies)
    one = max((r for r in rows if r['how'] == '1 process'), key=lambda r: r['files'])
    rate = one['files']/one['seconds']
    show = lambda v: v if isinstance(v, str) else f'{v:,}' if isinstance(v, int) else f'{v:,.1f}'
    lines = ['# Memory of a build', '', 'Made by `python -m benchmarks.memory`; ' + ', '.join(f'{k} {v}' for k, v in machine(*READING).items())
             + f'. A process that only imports the library: {idle:.0f} MB.', '',
             f'One core reads {rate:,.0f} files per second; a million files would take {1e6/rate/60:.0f} minutes.', '',
             '| ' + ' | '.join(rows[0]) + ' |', '|---'*len(rows[0]) + '|',
             *('| ' + ' | '.join(map(show, row.values())) + ' |' for row in rows)]
    print('\n'.join(lines))
    atomic_write(args.out/'memory.json', json.dumps(dict(machine=machine(*READING), import_mb=idle, rows=rows), indent=1).encode())
    atomic_write(args.out/'memory.md', ('\n'.join(lines) + '\n').encode())


if __name__ == '__main__': main()
