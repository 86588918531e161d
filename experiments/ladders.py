"""Does the score order what it should order? Ladders, gates and attacks.

    python -m experiments.ladders --models out/contestants           (an hour on two cores; goes on where it was interrupted)

A ladder is a row of seven rungs from music to worse: corruptions of the same held-out clips, n-gram models of rising order,
checkpoints of one training, sampling temperatures. Every rung has 256 clips and is scored under two judges, with all
companions beside the score; five seeds (two where there is no gate) choose clips, corruptions and samples. An attack is a set of clips made to score high.
"""
import argparse
import json
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from experiments.contestants import contestant, judge, ngram, open_corpus
from experiments.equal import kept
from benchmarks.machine import machine
from scipy.stats import kendalltau, spearmanr

from musiclm.compare import evaluate, judge_clips
from musiclm.composer import predict, judge_hash
from musiclm.copying import CopyIndex, prompt_echoes
from musiclm.corruptions import HELDOUT_CORRUPTIONS, LADDERS, corrupt_clips, passages, real_clips
from musiclm.critic import generated_clips
from musiclm.generator import token_nll
from musiclm.metrics import inception_score
from musiclm.ngram import NGram
from musiclm.notes import atomic_write
from musiclm.charts import plain
from musiclm.sampling import sample
from musiclm.pieces import Piece, held_out_prompts

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
    plain_score = inception_score(predict(bench.judges[0], clips).given, info['work'], strata=info['composer'])
    other = inception_score(second.probs, info['work'], strata=info['composer'])
    heard = token_nll(bench.reference, [np.r_[1, c] for c in clips])
    keep = {k: v for k, v in row.items() if isinstance(v, (int, float, np.number)) and not isinstance(v, bool)}
    return dict(keep, plain=plain_score.value, second=other.value, second_low=other.low, second_high=other.high,
                nats=np.mean([o[16:].mean() for o in heard]))


def rung_clips(bench:Bench, ladder:str, rung, seed:int, n:int=None) -> tuple: # Clips and info
    "The clips of a rung; the same places or prompts at each rung of a ladder."
    n = n or bench.n
    if ladder in {**LADDERS, **HELDOUT_CORRUPTIONS}:
        places = passages(bench.corpus, 'test', n, LENGTH, PROMPT, seed)
        clips = corrupt_clips(bench.corpus, places, {**LADDERS, **HELDOUT_CORRUPTIONS}[ladder], rung, LENGTH, seed)
        there = [k for k, c in enumerate(clips) if c is not None]
        return np.stack([clips[k] for k in there]), places.iloc[there].reset_index(drop=True)
    if ladder == 'ngram':
        bench.ngram.order = rung
        return bench.generated(bench.ngram, n, seed)
    if ladder == 'checkpoints': return bench.generated(bench.generator(f'lstm@{rung}'), n, seed)
    return bench.generated(bench.generator('lstm'), n, seed, temperature=rung)


TWICE = ('checkpoints', 'temperature', 'invert') # ladders without a gate: two seeds are enough

def ladders(bench:Bench, place:Path, seeds) -> list: # Rows: ladder, rung, seed, and all figures
    "Every rung of every ladder for every seed."
    rows = []
    for seed in seeds:
        for name, rungs in RUNGS.items():
            if name in TWICE and seed > 1: continue
            for at, rung in enumerate(rungs):
                make = lambda: measure(bench, *rung_clips(bench, name, rung, seed))
                file = f'real-{seed}' if rung == 0 else f'{name}-{at}-{seed}' # the lowest rung is the same clips everywhere
                rows.append(dict(ladder=name, at=at, rung=rung, seed=seed, **kept(place/f'{file}.json', make)))
            print('seed', seed, name, [round(r['log_score'], 3) for r in rows[-len(rungs):]], flush=True)
    return rows


def summary(rows:list) -> list: # A row a ladder and rung: means over seeds; intervals are those of seed 0
    "What plots need."
    table = pd.DataFrame(rows)
    measures = [m for m in table.select_dtypes('number') if m not in ('at', 'rung', 'seed', 'temperature', 'n_short', 'length')]
    mean = table.groupby(['ladder', 'at', 'rung'], as_index=False)[measures].mean()
    return mean.round(5).to_dict('records')


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
    "Kendall's tau of two rankings over the pairs whose intervals separate in both, in either, and over all."
    apart = lambda t, i, j: t['score_low'].iloc[i] > t['score_high'].iloc[j] or t['score_low'].iloc[j] > t['score_high'].iloc[i]
    same = lambda i, j: np.sign(a['score'].iloc[i] - a['score'].iloc[j]) == np.sign(b['score'].iloc[i] - b['score'].iloc[j])
    pairs = list(combinations(range(len(a)), 2))
    tau = lambda chosen: dict(tau=float(2*np.mean([same(*p) for p in chosen]) - 1) if chosen else None, pairs=len(chosen))
    return dict(both=tau([p for p in pairs if apart(a, *p) and apart(b, *p)]), either=tau([p for p in pairs if apart(a, *p) or apart(b, *p)]),
                all=dict(tau=float(kendalltau(a['score'], b['score'])[0]), pairs=len(pairs)))


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


def echoes(bench:Bench, n:int) -> tuple: # `Piece`s that repeat their prompts, and clips of them
    "The opening of a test work again and again."
    prompts, rows = held_out_prompts(bench.corpus, 'test', n, PROMPT, 11)
    enc, pieces, bar = bench.corpus.encoder, [], 4*bench.corpus.encoder.config.steps_per_beat
    for prompt, row in zip(prompts, rows.itertuples()):
        notes = enc.decode(prompt)
        length = -(-int((notes['onset'] + notes['duration']).max())//bar)*bar
        again = pd.concat([notes.assign(onset=notes['onset'] + k*length) for k in range(1, 12)], ignore_index=True)
        again.attrs = notes.attrs
        pieces.append(Piece(np.r_[prompt, enc.encode(again)[1:-1]][:2*LENGTH], enc, PROMPT, dict(prompt=0)))
    return pieces, np.stack([enc.clip(p.ids, PROMPT, LENGTH) for p in pieces]), rows


def optimised(bench:Bench, n:int, steps:int=12, flips:int=24) -> tuple: # Clips and info
    "Noise, changed token by token along the gradient of the first judge until it is sure (HotFlip, Ebrahimi et al. 2018)."
    model, (clips, info) = bench.judges[0].eval(), bench.floor_clips(n, 3)
    x, y = torch.from_numpy(clips.astype(np.int64)), torch.tensor([model.labels.index(c) for c in info['composer']])
    return np.concatenate([optimise(model, *o, steps, flips) for o in zip(x.split(64), y.split(64))]).astype(np.uint16), info


def optimise(model, x, y, steps:int, flips:int) -> np.ndarray:
    "Change tokens of some clips, a few a step."
    table, read = model.lm.body.encoder.weight.detach(), model.lm.body
    for _ in range(steps):
        emb = table[x].requires_grad_()
        model.reset()
        f = read(emb, from_embeds=True)
        loss = F.cross_entropy(model.out(model.narrow(torch.cat([f[:, -1], f.amax(1), f.mean(1)], 1))), y, reduction='sum')
        slope, = torch.autograd.grad(loss, emb) # (B, T, d)
        gain = (table[x]*slope).sum(2, keepdim=True) - slope @ table.T # (B, T, V)
        gain[..., :3] = -torch.inf
        best, token = gain.max(2)
        at = best.topk(flips).indices
        x.scatter_(1, at, token.gather(1, at))
    return x.numpy()


def attack_sets(bench:Bench): # Names, and functions that give clips and info
    "Sets that are made to score high."
    n, corpus = bench.n, bench.corpus
    few, who = real_clips(corpus, 'test', 10, LENGTH, PROMPT, seed=5)
    def bag():
        found = []
        for k, c in enumerate(bench.judges[0].labels):
            own = [corpus.tokens(i) for i in corpus.indices('train') if corpus.manifest['composer'][i] == c]
            model, (clips, info) = NGram.fit(own, corpus.vocab, corpus.encoder.config, order=1, transpositions=(0,)), (None, None)
            clips, info = bench.generated(model, n//4, 20 + k)
            found.append((clips, info.assign(composer=c)))
        return np.concatenate([c for c, _ in found]), pd.concat([i for _, i in found], ignore_index=True)
    yield 'training clips', lambda: real_clips(corpus, 'train', n, LENGTH, PROMPT, seed=5)
    yield 'ten clips repeated', lambda: (np.tile(few, (n//10, 1)), pd.concat([who]*(n//10), ignore_index=True))
    yield 'unigram bag of each composer', bag
    yield 'greedy loops', lambda: bench.generated(bench.generator('lstm'), n, 6, random_freq=0.)
    yield 'optimised against the judge', lambda: optimised(bench, n//4)
    yield 'prompt echoed', lambda: echoes(bench, n)[1:]


def attacks(bench:Bench, place:Path) -> dict: # By set, figures; 'real 0' … are fair sets of validation works
    "All measures of the attacks, and of fair sets of real clips to set them beside."
    index, found = CopyIndex.of(bench.corpus), {}
    def with_copies(clips, info):
        first = judge_clips(clips, bench.judges[0], info['work'], info['composer'])
        copies = evaluate(first, bench.real[0], bench.judges[0], copies=index).iloc[0].to_dict()
        return {**measure(bench, clips, info), **{k: v for k, v in copies.items() if 'cop' in k}}
    fair = ((f'real {k}', lambda k=k: real_clips(bench.corpus, 'valid', bench.n, LENGTH, PROMPT, seed=k)) for k in range(5))
    for name, make in (*fair, ('lstm', lambda: bench.generated(bench.generator('lstm'), bench.n, 6)), *attack_sets(bench)):
        found[name] = kept(place/f'{name.replace(" ", "_")}.json', lambda: with_copies(*make()))
        print(name, {k: round(v, 3) for k, v in found[name].items() if k in ('score', 'second', 'kernel_distance', 'recall', 'copied_share')}, flush=True)
    pieces, _, _ = echoes(bench, 64)
    found['prompt echoed']['prompt_echo'] = float(prompt_echoes(pieces)['share'].mean())
    made = sample(bench.generator('lstm'), 64, LENGTH, held_out_prompts(bench.corpus, 'test', 64, PROMPT, 11)[0], seed=6, **OPEN)
    found['lstm']['prompt_echo'] = float(prompt_echoes(made)['share'].mean())
    return found


CATCHERS = dict(score=1, conditional=1, second=1, kernel_distance=-1, frechet_distance=-1, precision=1, recall=1, density=1, coverage=1, unique=1,
                compression_ratio=0, descriptor_distance=-1, structure_distance=-1, nats=-1, copied_share=-1, longest_copy_median=-1)
def verdicts(found:dict) -> dict: # By attack and measure: caught?
    "A measure catches an attack where it lies beyond all fair sets, by four of their standard deviations, on the bad side (0: either)."
    fair, out = pd.DataFrame([v for k, v in found.items() if k.startswith('real ')]), {}
    for name, figures in found.items():
        if name.startswith('real '): continue
        out[name] = {}
        for m, sign in CATCHERS.items():
            far = (figures[m] - fair[m].mean())/max(fair[m].std(), 1e-3*abs(fair[m].mean()), 1e-9)
            out[name][m] = bool(-sign*far > 4 if sign else abs(far) > 4)
    return out


def as_markdown(result:dict) -> str:
    "Tables for people."
    about = ', '.join(f'{k} {v}' for k, v in result['machine'].items())
    judges = '; '.join(f'{k}: {j["arch"]}, {j["hash"]}, temperature {j["temperature"]:.3f}' for k, j in result['judges'].items())
    lines = ['# Ladders', '', f'Made by `python -m experiments.ladders`; {about}.', '', f'{result["corpus"]}; {result["n"]} clips of {result["length"]} tokens '
             f'a rung, {result["seeds"]} seeds, {result["test_works"]} test works. Judges: {judges}.', '', '## Rank correlation with the rung', '',
             'Spearman, median over seeds (least): 1 where a measure worsens from rung to rung without exception.', '']
    measures = [*WORSE_IS_LOWER, *WORSE_IS_HIGHER]
    lines += ['| ladder | ' + ' | '.join(measures) + ' |', '|' + '---|'*(len(measures) + 1)]
    lines += [f'| {k} | ' + ' | '.join(f'{r[m]["median"]:.2f} ({r[m]["low"]:.2f})' for m in measures) + ' |' for k, r in result['spearman'].items()]
    lines += ['', '## Score by rung', '', 'log score in nats, mean over seeds: first judge, second judge.', '', '| ladder | rungs |', '|---|---|']
    for k in result['spearman']:
        rungs = [r for r in result['ladders'] if r['ladder'] == k]
        lines.append(f'| {k} | ' + ', '.join(f'{r["rung"]:.2g}: {r["log_score"]:.3f}, {np.log(r["second"]):.3f}' for r in rungs) + ' |')
    lines += ['', '## Floor, ceiling, intervals', '', '| clips | n | works | log score, judge | half-width | log score, second | half-width |', '|' + '---|'*7]
    for k, g in result['gates'].items():
        lines.append(f'| {k} | {g["n"]} | {g["works"]} | ' + ' | '.join(f'{s["log"]:.3f} | {s["half_width"]:.3f}' for s in g['scores']) + ' |')
    lines += ['', '## Generators', '', '| generator | score, set 0 | set 1 | second judge |', '|' + '---|'*4]
    for k in dict.fromkeys(r['generator'] for r in result['generators']):
        a, b = [r for r in result['generators'] if r['generator'] == k]
        lines.append(f'| {k} | {a["score"]:.2f} ({a["score_low"]:.2f} to {a["score_high"]:.2f}) | {b["score"]:.2f} ({b["score_low"]:.2f} to '
                     f'{b["score_high"]:.2f}) | {a["second"]:.2f} ({a["second_low"]:.2f} to {a["second_high"]:.2f}) |')
    for k, g in result['agreement'].items():
        tau = lambda o: 'none' if o['tau'] is None else f'{o["tau"]:.2f}'
        lines += ['', f'Kendall between two {k}: {tau(g["both"])} over the {g["both"]["pairs"]} pairs whose intervals separate in both, {tau(g["either"])} '
                  f'over the {g["either"]["pairs"]} that separate in either, {tau(g["all"])} over all {g["all"]["pairs"]}.']
    names = list(next(iter(result['verdicts'].values())))
    lines += ['', '## Attacks', '', 'Each figure, and ✓ where it catches the attack: beyond fair sets of real clips by four of their standard deviations.', '',
              '| set | ' + ' | '.join(names) + ' |', '|' + '---|'*(len(names) + 1)]
    lines += [f'| {k} | ' + ' | '.join(f'{result["attacks"][k][m]:.3g}{" ✓" if caught else ""}' for m, caught in v.items()) + ' |'
              for k, v in result['verdicts'].items()]
    fair = pd.DataFrame([v for k, v in result['attacks'].items() if k.startswith('real ')])
    lines += ['| real clips, five sets | ' + ' | '.join(f'{fair[m].min():.3g} to {fair[m].max():.3g}' for m in names) + ' |', '',
              f'Share of notes that repeat the prompt: {result["attacks"]["prompt echoed"]["prompt_echo"]:.2f} where it is echoed, '
              f'{result["attacks"]["lstm"]["prompt_echo"]:.3f} by the generator.']
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='where generators, judges and rungs are kept')
    parser.add_argument('--n', type=int, default=256)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--only', type=int, nargs='*', help='measure the rungs of these seeds and stop: for several processes')
    parser.add_argument('--out', type=Path, default=HERE/'results')
    args = parser.parse_args()
    bench = Bench(args.models, args.n, args.seeds)
    place = args.models/'rungs'/'-'.join(map(judge_hash, bench.judges)) # other judges, other figures
    rows = ladders(bench, place/'ladders', args.only or range(args.seeds))
    if args.only: return
    made, attacked = generators(bench, place/'generators'), attacks(bench, place/'attacks')
    table = pd.DataFrame(made).set_index('generator')
    sets = [table[table['set'] == k] for k in (0, 1)]
    other = sets[0].drop(columns=['score', 'score_low', 'score_high']).rename(columns=lambda c: c.replace('second', 'score'))
    result = dict(
        machine=machine('torch', 'fastai'), corpus=str(bench.corpus), n=args.n, seeds=args.seeds, length=LENGTH, test_works=int(
            bench.corpus.manifest['work'][bench.corpus.indices('test')].nunique()),
        judges={n: dict(hash=judge_hash(j), temperature=j.temperature, arch=j.build['arch']) for n, j in zip(('judge', 'second'), bench.judges)},
        ladders=summary(rows), spearman=rank_figures(rows), gates=gates(bench, place/'gates'), generators=made,
        agreement=dict(judges=agreement(sets[0], other), sets=agreement(*sets)), attacks=attacked, verdicts=verdicts(attacked))
    result = json.loads(json.dumps(plain(result)))
    atomic_write(args.out/'ladders.json', (json.dumps(result) + '\n').encode())
    atomic_write(args.out/'ladders.md', as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == '__main__': main()
