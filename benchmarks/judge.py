"""How long it takes to judge one generator of the base size: 256 pieces of 2,000 tokens, part by part, and more or fewer.

    python benchmarks/judge.py

The generator is an AWD-LSTM of size `base`, the judge a classifier of size `small` that reads clips of 2,000 tokens. Both
have random weights: time does not depend on them. What a random generator writes is no music, though, and is dense, so
the pieces that are judged (not those whose writing is timed) are made of the corpus: real music, one after another. Copies
are looked for in all training works of the built-in corpus. The clips of the reference, as many, come from the training
works; they are read and described once for any number of generators, and stand in a row of their own.
"""
import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from machine import machine

from musiclm.compare import Judged, distance_figures, judge_clips, prompt_info, score_figures
from musiclm.composer import predict
from musiclm.copying import CopyIndex, longest_copies
from musiclm.build import music21_corpus
from musiclm.critic import MARGIN, clips_of_pieces
from musiclm.metrics import describe, describe_structure
from musiclm.models import make_classifier, make_model
from musiclm.notes import atomic_write
from musiclm.sampling import Piece, held_out_prompts, sample

HERE = Path(__file__).parent
PARTS = {'cut': 'cut clips', 'read': 'read them: probabilities and embeddings', 'describe': 'decode and describe them',
         'structure': 'structure indicators', 'score': 'scores and their bootstrap',
         'distances': 'distances to the reference', 'copying': 'search for copies'}


def models(corpus, tokens:int) -> tuple: # Generator and judge
    "With random weights."
    torch.manual_seed(0)
    generator = make_model(len(corpus.vocab), 'awd_lstm', 'base').eval()
    judge = make_classifier(len(corpus.vocab), sorted(set(corpus.manifest['composer'])), clip_length=tokens).eval()
    for m in (generator, judge): m.vocab, m.encoding = corpus.vocab, corpus.encoder.config
    return generator, judge


def joined_pieces(corpus, n:int, size:int, split:str='train', seed:int=0) -> list: # Of `Piece`
    "Pieces of so many tokens, cut from all music of the corpus joined together, behind prompts as a generator has them."
    prompts, rows = held_out_prompts(corpus, split, n, 64, seed)
    order = np.random.default_rng(seed).permutation(corpus.indices(split))
    music = np.concatenate([corpus.tokens(i)[1:-1] for i in order])
    starts = np.linspace(0, len(music) - size, n).astype(int)
    return [Piece(np.r_[prompt, music[at:at + size]], corpus.encoder, len(prompt), dict(prompt=k, prompt_composer=composer))
            for k, (prompt, composer, at) in enumerate(zip(prompts, rows['composer'], starts))]


def timed(f) -> tuple: # What it gives, seconds
    "Call a function."
    began = time.perf_counter()
    found = f()
    return found, time.perf_counter() - began


def judge_once(pieces:list, reference, judge, index) -> dict: # Seconds by part
    "Judge a generator by its pieces, as `compare.evaluate` does, but part by part."
    seconds, encoder = {}, pieces[0].encoder
    (cut, kept), seconds['cut'] = timed(lambda: clips_of_pieces(pieces, judge.clip_length, 1))
    heard, seconds['read'] = timed(lambda: predict(judge, cut))
    tables, decoding = timed(lambda: [encoder.decode(c) for c in cut])
    described, describing = timed(lambda: describe(tables))
    structure, seconds['structure'] = timed(lambda: describe_structure(tables))
    seconds['describe'] = decoding + describing
    labels = np.array([judge.labels.index(c) for c in prompt_info(pieces, 'prompt_composer')])[kept]
    got = Judged(cut, heard.probs, heard.embeddings, described, structure, heard.none, prompt_info(pieces, 'prompt')[kept], labels)
    _, seconds['score'] = timed(lambda: score_figures(got))
    _, seconds['distances'] = timed(lambda: distance_figures(got, reference))
    _, seconds['copying'] = timed(lambda: longest_copies(pieces, index))
    return seconds


def measure(n:int, tokens:int, sizes:list, rounds:int) -> dict:
    "Everything, by number of pieces."
    corpus = music21_corpus(progress=False)
    generator, judge = models(corpus, tokens)
    prompts, _ = held_out_prompts(corpus, 'test', n, 64)
    sample(generator, 16, 8, prompts) # first calls make ready
    _, writing = timed(lambda: sample(generator, n, tokens + MARGIN, prompts, batch_size=128, min_tokens=tokens + MARGIN))
    index, indexing = timed(lambda: CopyIndex.of(corpus))
    rows = []
    for size in sizes:
        pieces = joined_pieces(corpus, size, tokens + MARGIN)
        reference, real = timed(lambda: judge_clips(joined_pieces(corpus, size, tokens + MARGIN, seed=1), judge))
        found = [judge_once(pieces, reference, judge, index) for _ in range(rounds)]
        row = {k: statistics.median(f[k] for f in found) for k in found[0]}
        row['all'] = statistics.median(sum(f.values()) for f in found)
        rows.append(dict(n=size, **row, reference=real, generate=writing*size/n))
        print(json.dumps(rows[-1]), flush=True)
    return dict(machine=machine('torch', 'fastai', 'numpy') | dict(threads=torch.get_num_threads()), n=n, tokens=tokens,
                rounds=rounds, generate=writing, tokens_a_second=n*(tokens + MARGIN)/writing, index=indexing,
                index_notes=len(index), rows=rows)


def as_markdown(result:dict) -> str:
    "The table, for people."
    rows, about = result['rows'], ', '.join(f'{k} {v}' for k, v in result['machine'].items())
    line = lambda name, cells: f'| {name} | ' + ' | '.join(cells) + ' |'
    seconds = lambda key: [f'{r[key]:.2f}' if r.get(key) is not None else '' for r in rows]
    lines = ['# Judging a generator', '', f'Made by `python benchmarks/judge.py`; {about}.', '',
             f'An AWD-LSTM of size `base`, pieces of {result["tokens"]:,} tokens, judged by a classifier of size `small` that '
             f'reads clips of {result["tokens"]:,}; median of {result["rounds"]}.', '',
             line('seconds, by number of pieces', [str(r['n']) for r in rows]), '|---|' + '---|'*len(rows)]
    lines += [line(name, seconds(key)) for key, name in PARTS.items() if key in rows[0]]
    lines += [line('**all of these**', seconds('all')),
              line(f'writing the pieces (measured at {result["n"]}, the others in proportion)', seconds('generate')),
              line('reading and describing as many clips of the reference, once', seconds('reference')), '',
              f'The generator wrote {result["tokens_a_second"]:,.0f} tokens a second.',
              f'Once a corpus: {result["index"]:.1f} s for the index of {result["index_notes"]:,} notes in which copies are found.']
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--n', type=int, default=256, help='pieces that the generator writes')
    parser.add_argument('--tokens', type=int, default=2000, help='of a piece, and of the clip that is cut from it')
    parser.add_argument('--sizes', type=int, nargs='*', default=[64, 128, 256, 512], help='numbers of pieces to judge')
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--threads', type=int, help='of PyTorch; default: all cores')
    parser.add_argument('--out', default=HERE/'results', type=Path)
    args = parser.parse_args()
    if args.threads: torch.set_num_threads(args.threads)
    result = measure(args.n, args.tokens, args.sizes, args.rounds)
    text = as_markdown(result)
    print(text)
    atomic_write(args.out/'judge.json', json.dumps(result, indent=1).encode())
    atomic_write(args.out/'judge.md', text.encode())


if __name__ == '__main__': main()
