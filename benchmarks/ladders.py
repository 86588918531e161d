"""Does the score order what it should order? Ladders, gates and attacks.

    python benchmarks/ladders.py --models out/contestants           (an hour on two cores; goes on where it was interrupted)

A ladder is a row of seven rungs from music to worse: corruptions of the same held-out clips, n-gram models of rising order,
checkpoints of one training, sampling temperatures. Every rung has 256 clips and is scored under two judges, with all
companions beside the score; five seeds choose clips, corruptions and samples. An attack is a set of clips made to score high.
"""
import argparse
import json
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from contestants import contestant, judge, ngram, open_corpus
from machine import machine
from scipy.stats import kendalltau, spearmanr

from musiclm.compare import Judged, evaluate, judge_clips
from musiclm.corruptions import KEPT_BACK, LADDERS, corrupt_clips, passages, real_clips
from musiclm.critic import generated_clips
from musiclm.generator import token_nats
from musiclm.metrics import inception_score
from musiclm.notes import write_whole
from musiclm.report import plain

HERE = Path(__file__).parent
LENGTH, PROMPT = 256, 64
OPEN = dict(random_freq=1., top_k=None) # every token is drawn, at temperature 1 unless another is said
ORIGINAL = dict(random_freq=.5, top_k=5)
RUNGS = {
    'pitch_noise': (0, .05, .1, .2, .3, .4, .5), 'onset_jitter': (0, 1/12, 1/6, 1/4, 1/2, 3/4, 1), 'shuffle_bars': (0, .1, .25, .4, .6, .8, 1),
    'ngram': (7, 6, 5, 4, 3, 2, 1), 'checkpoints': (12, 8, 6, 4, 3, 2, 1), 'temperature': (.3, .6, .8, 1, 1.2, 1.5, 1.8),
    'invert': (0, .1, .2, .4, .6, .8, 1)}
WORSE_IS_LOWER = ['score', 'plain', 'second', 'conditional', 'precision', 'recall', 'density', 'coverage', 'descriptor_overlap']
WORSE_IS_HIGHER = ['kernel_distance', 'frechet_distance', 'descriptor_distance', 'structure_distance', 'nats', 'class_divergence']


class Bench:
    "Corpus, judges, generators, and what was measured."
    def __init__(self, models:Path, n:int, seeds:int):
        self.models, self.n, self.seeds = models, n, seeds
        self.corpus = open_corpus(models)
        self.judges = [judge(name, self.corpus, models) for name in ('judge', 'second')]
        self.reference = contestant('reference', self.corpus, models)
        self.works = self.corpus.manifest.drop_duplicates('work').set_index('work')['composer']
    @cached_property
    def ngram(self): return ngram(self.corpus)
    def generator(self, name): return contestant(name, self.corpus, self.models)
    @cached_property
    def real(self):
        "Clips of test works under each judge."
        clips, info = real_clips(self.corpus, 'test', self.n, LENGTH, PROMPT, seed=99)
        return [judge_clips(clips, j, info['work'], info['composer']) for j in self.judges]
    def generated(self, model, n, seed, **rule):
        return generated_clips(model, self.corpus, 'test', n, LENGTH, PROMPT, seed, **{**OPEN, **rule})
    def floor_clips(self, n, seed):
        model = self.ngram
        model.order, kept = 1, model.order
        try: return self.generated(model, n, seed)
        finally: model.order = kept


def measure(bench:Bench, clips, info) -> dict:
    "A set of clips under both judges, with all companions."
    first, second = (judge_clips(clips, j, info['work'], info['composer']) for j in bench.judges)
    row = evaluate(first, bench.real[0], bench.judges[0]).iloc[0].to_dict()
    given = (first.probs - first.none[:, None]/first.probs.shape[1])/(1 - first.none[:, None])
    plain_score = inception_score(given/given.sum(1, keepdims=True), info['work'], strata=info['composer'])
    other = inception_score(second.probs, info['work'], strata=info['composer'])
    heard = token_nats(bench.reference, [np.r_[1, c] for c in clips])
    keep = {k: v for k, v in row.items() if isinstance(v, (int, float, np.number)) and not isinstance(v, bool)}
    return dict(keep, plain=plain_score.value, second=other.value, second_low=other.low, second_high=other.high,
                nats=np.mean([o[16:].mean() for o in heard]))


def rung_clips(bench:Bench, ladder:str, rung, seed:int, n:int=None) -> tuple: # Clips and info
    "The clips of a rung; the same places or prompts at each rung of a ladder."
    n = n or bench.n
    if ladder in {**LADDERS, **KEPT_BACK}:
        places = passages(bench.corpus, 'test', n, LENGTH, PROMPT, seed)
        clips = corrupt_clips(bench.corpus, places, {**LADDERS, **KEPT_BACK}[ladder], rung, LENGTH, seed)
        there = [k for k, c in enumerate(clips) if c is not None]
        return np.stack([clips[k] for k in there]), places.iloc[there].reset_index(drop=True)
    if ladder == 'ngram':
        bench.ngram.order = rung
        return bench.generated(bench.ngram, n, seed)
    if ladder == 'checkpoints': return bench.generated(bench.generator(f'lstm@{rung}'), n, seed)
    return bench.generated(bench.generator('lstm'), n, seed, temperature=rung)


def kept(place:Path, make) -> dict: # JSON
    "What a file holds, or what `make` gives, which is then written there."
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, json.dumps(plain(make())).encode())
    return json.loads(place.read_text())


def ladders(bench:Bench, place:Path) -> list: # Rows: ladder, rung, seed, and all figures
    "Every rung of every ladder for every seed."
    rows = []
    for seed in range(bench.seeds):
        for name, rungs in RUNGS.items():
            for at, rung in enumerate(rungs):
                make = lambda: measure(bench, *rung_clips(bench, name, rung, seed))
                file = f'real-{seed}' if rung == 0 else f'{name}-{at}-{seed}' # the lowest rung is the same clips everywhere
                rows.append(dict(ladder=name, at=at, rung=rung, seed=seed, **kept(place/f'{file}.json', make)))
            print('seed', seed, name, [round(r['log_score'], 3) for r in rows[-len(rungs):]], flush=True)
    return rows


def rank_figures(rows:list) -> dict: # By ladder and measure, the median over seeds of Spearman's rank correlation with the rung
    "1 where a measure falls (a distance: rises) from rung to rung without exception."
    table, found = pd.DataFrame(rows), {}
    for name, ladder in table.groupby('ladder'):
        rho = {}
        for sign, measures in ((-1, WORSE_IS_LOWER), (1, WORSE_IS_HIGHER)):
            for m in measures:
                each = [sign*spearmanr(o['at'], o[m])[0] if o[m].nunique() > 1 else 0. for _, o in ladder.groupby('seed')]
                rho[m] = dict(median=float(np.median(each)), low=min(each), high=max(each))
        found[name] = rho
    return found


GENERATORS = {'lstm': {}, 'lstm, original rule': ORIGINAL, 'lstm@1': {}, 'lstm@3': {}, 'tiny': {}, 'tiny, original rule': ORIGINAL,
              'transformer': {}, 'transformer, original rule': ORIGINAL, '6-gram': {}, '3-gram': {}, '2-gram': {}, '1-gram': {}}

def generators(bench:Bench, place:Path) -> list: # Rows: generator, set, and all figures
    "At least eight generators, each with two fresh sets of clips."
    rows = []
    for name, rule in GENERATORS.items():
        for which in (0, 1):
            def make():
                model = name.split(',')[0]
                if model.endswith('gram'): bench.ngram.order, model = int(model[0]), bench.ngram
                else: model = bench.generator(model)
                return measure(bench, *bench.generated(model, bench.n, 500 + which, **rule))
            rows.append(dict(generator=name, set=which, **kept(place/f'{name.replace(" ", "_")}-{which}.json', make)))
        print(name, [round(r['log_score'], 3) for r in rows[-2:]], flush=True)
    return rows


def agreement(a:pd.DataFrame, b:pd.DataFrame) -> dict: # Both with columns score, score_low, score_high, rows the generators
    "Kendall's tau of two rankings over the pairs whose intervals separate in both."
    apart = lambda t, i, j: t['score_low'].iloc[i] > t['score_high'].iloc[j] or t['score_low'].iloc[j] > t['score_high'].iloc[i]
    pairs = [(i, j) for i, j in combinations(range(len(a)), 2) if apart(a, i, j) and apart(b, i, j)]
    same = [np.sign(a['score'].iloc[i] - a['score'].iloc[j]) == np.sign(b['score'].iloc[i] - b['score'].iloc[j]) for i, j in pairs]
    return dict(tau=float(2*np.mean(same) - 1) if pairs else None, pairs=len(pairs), of=len(a)*(len(a) - 1)//2,
                tau_all=float(kendalltau(a['score'], b['score'])[0]))


def gates(bench:Bench, place:Path) -> dict:
    "Floor, ceiling, and the width of intervals at 256 and 1,024 clips."
    found = {}
    for n in (256, 1024):
        for name, (clips, info) in dict(ceiling=real_clips(bench.corpus, 'test', n, LENGTH, PROMPT, seed=7), floor=bench.floor_clips(n, 7),
                                        lstm=bench.generated(bench.generator('lstm'), n, 7)).items():
            def make():
                p = [judge_clips(clips, j).probs for j in bench.judges]
                scores = [inception_score(q, info['work'], strata=info['composer']) for q in p]
                return dict(n=len(clips), works=info['work'].nunique(), scores=[dict(vars(s), half_width=s.half_width) for s in scores])
            found[f'{name} {n}'] = kept(place/f'{name}-{n}.json', make)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='where generators, judges and rungs are kept')
    parser.add_argument('--n', type=int, default=256)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--out', type=Path, default=HERE/'results')
    args = parser.parse_args()
    bench = Bench(args.models, args.n, args.seeds)
    place = args.models/'rungs'
    rows = ladders(bench, place/'ladders')


if __name__ == '__main__': main()
