"""Does a critic tell real from generated where it is hard, and are the pieces that it picks better?

    python -m experiments.gain --models out/contestants            (half an hour on two cores; goes on where it was interrupted)

Two critics that share nothing but the idea. The first listens with `reference`, and learns from works that the reference has
not seen; the second looks at piano rolls, at other works, and at fakes by other generators under other rules. Then 64
openings of held-out works, a hundred pieces of each: the first critic picks the best of n, and the second says whether that
is better than chance, while the judges of `contestants.py` watch likeness, variety and copying.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from experiments.contestants import contestant, judge, ngram, open_corpus
from fastai.torch_core import set_seed
from benchmarks.machine import machine
from scipy.special import comb, logit

from musiclm.composer import calibrate, predict
from musiclm.copying import CopyIndex, longest_copies
from musiclm.corruptions import real_clips
from musiclm.critic import critic_clips, evaluate_critic, critic_learner, fit_critic, load_clips, critic_scores, save_clips
from musiclm.data import classifier_dataloaders
from musiclm.metrics import Estimate, bootstrap_interval, kernel_distance, precision_recall_density_coverage
from musiclm.models import load_model, save_model
from musiclm.notes import atomic_write
from musiclm.charts import plain
from musiclm.sampling import sample
from musiclm.pieces import held_out_prompts

HERE = Path(__file__).parent
LENGTH, PROMPT = 256, 64
OPEN = dict(random_freq=1., top_k=None)
RULES = {
    'original': dict(random_freq=.5, top_k=5), 'temperature 1': OPEN, 'temperature 0.9': dict(OPEN, temperature=.9),
    'nucleus 0.9': dict(OPEN, top_p=.9), 'top 10': dict(random_freq=1., top_k=10), 'min-p 0.05': dict(OPEN, min_p=.05)}
CRITICS = { # name: real works, generators, rules, what is held out, clips, how it is built, epochs, seed
    'critic': dict(
        works='other', generators=('ngram', 'tiny', 'lstm@4', 'lstm@8', 'lstm', 'transformer'), held_out=('transformer', 'nucleus 0.9'),
        rules=('original', 'temperature 1', 'temperature 0.9', 'nucleus 0.9'), n=dict(train=1950, valid=700, test=950),
        build=dict(arch='reader', p=.3), reference='reference', epochs=8, seed=1),
    'second critic': dict(
        works='train', generators=('lstm@2', 'lstm@6', 'transformer'), held_out=(), rules=('temperature 1', 'top 10', 'min-p 0.05'),
        n=dict(train=2190, valid=700, test=950), build=dict(arch='roll_cnn', size='small', lr=6e-3), reference=None, epochs=12, seed=2)}
N = (1, 4, 16, 64, 100)
POOL = dict(prompts=64, pieces=100, generator='lstm', rule='temperature 1')


class Bench:
    "The corpus, and what stands in the folder of models."
    def __init__(self, models:Path):
        self.models, self.corpus = models, open_corpus(models)
        self.halves = self.corpus.split_train_halves()
    def generator(self, name): return ngram(self.corpus) if name == 'ngram' else contestant(name, self.corpus, self.models)
    def clips(self, name): # Clips and their table
        place, c = self.models/'clips'/name.replace(' ', '_'), CRITICS[name]
        if not place.is_dir():
            made = critic_clips(self.halves, {g: self.generator(g) for g in c['generators']}, {r: RULES[r] for r in c['rules']}, c['n'],
                                LENGTH, PROMPT, 100*c['seed'], held_out=c['held_out'], splits=dict(train=c['works']))
            save_clips(place.with_name('_' + place.name), *made)
            place.with_name('_' + place.name).rename(place)
        return load_clips(place)


def critic(bench:Bench, name:str): # A critic
    "Train one of `CRITICS`, or read it."
    place, c = bench.models/name.replace(' ', '_'), CRITICS[name]
    if (place/'model.json').is_file(): return load_model(place)
    clips, info = bench.clips(name)
    set_seed(c['seed'], reproducible=True)
    use, valid = (info['split'] != 'test').to_numpy(), (info['split'] == 'valid').to_numpy()
    dls = classifier_dataloaders(clips[use], info['label'][use], valid[use], bench.corpus.encoder, ['fake', 'real'], seed=c['seed'])
    learn = critic_learner(dls, reference=c['reference'] and bench.generator(c['reference']), **c['build'])
    begin = time.perf_counter()
    with learn.no_bar(): fit_critic(learn, c['epochs'])
    calibrate(learn, clips[valid], info['label'][valid])
    save_model(learn, place, seconds=time.perf_counter() - begin, seed=c['seed'], history=[list(map(float, v[:-1])) for v in learn.recorder.values])
    return load_model(place)


def figures_of(bench:Bench, name:str) -> dict:
    "A critic beside the baselines, by kind of fake."
    clips, info = bench.clips(name)
    found = evaluate_critic(critic(bench, name), clips, info, bench.corpus.encoder,
                           {g: bench.generator(g) for g in ('reference', 'lstm')})
    counts = info.groupby(['split', 'label']).size().unstack().to_dict('index')
    return dict(found, clips=counts, test_works=int(info['work'][info['split'] == 'test'].nunique()))


# The pool

def pool(bench:Bench) -> tuple: # Clips (prompts*pieces, LENGTH), and their table: prompt, composer, work
    "A hundred pieces from each opening; a clip of each, from the end of the prompt on."
    place = bench.models/'clips'/'pool'
    if not (place/'clips.npy').is_file():
        prompts, rows = held_out_prompts(bench.corpus, 'test', POOL['prompts'], PROMPT, seed=5)
        order = np.repeat(np.arange(len(prompts)), POOL['pieces'])
        pieces = sample(bench.generator(POOL['generator']), len(order), LENGTH + 64, [prompts[i] for i in order], batch_size=256,
                        min_tokens=LENGTH + 64, seed=50, **RULES[POOL['rule']])
        found = [p.encoder.clip(p.ids, p.prompt_len, LENGTH) for p in pieces]
        there = np.array([c is not None for c in found])
        info = rows.iloc[order][['composer', 'work']].reset_index(drop=True).assign(prompt=order)[there]
        place.mkdir(parents=True, exist_ok=True)
        info.to_csv(place/'clips.csv', index=False)
        np.save(place/'clips.npy', np.stack([c for c in found if c is not None]))
    return np.load(place/'clips.npy'), pd.read_csv(place/'clips.csv')


def heard(bench:Bench, clips, info) -> pd.DataFrame: # One row a clip
    "What the critics, the judge and the search for copies say of each clip of the pool."
    place = bench.models/'clips'/'pool'/'heard.parquet'
    if not place.is_file():
        table, j = info.copy(), judge('judge', bench.corpus, bench.models)
        for name in CRITICS: table[name] = logit(np.clip(critic_scores(critic(bench, name), clips), 1e-9, 1 - 1e-9))
        label = [j.labels.index(c) for c in info['composer']]
        table['conditional'] = np.log(len(j.labels)) + np.log(np.maximum(predict(j, clips).probs[np.arange(len(clips)), label], 1e-12))
        copies = longest_copies(clips, CopyIndex.of(bench.corpus), bench.corpus.encoder)
        table['copied share'], table['longest copy'] = copies['share'].to_numpy(), copies['length'].to_numpy(float)
        table.to_parquet(place)
    return pd.read_parquet(place)


def chances(m:int, n:int) -> np.ndarray: # (m,)
    "How probable it is that the k-th best of m is the best of n drawn from them: no draws are needed."
    k = np.arange(m)
    return comb(m - 1 - k, n - 1)/comb(m, n)


def expected(table:pd.DataFrame, columns, n:int) -> pd.DataFrame: # One row a prompt
    "By prompt, what is to be expected of the piece that the critic finds the best of n."
    def of(rows):
        rows = rows.sort_values('critic', ascending=False)
        return pd.Series(chances(len(rows), min(n, len(rows))) @ rows[columns].to_numpy(), columns)
    return table.groupby('prompt')[['critic', *columns]].apply(of) if 'critic' not in columns else table.groupby('prompt')[columns].apply(of)


def chosen(table:pd.DataFrame, n:int, seed:int) -> np.ndarray: # Rows, one a prompt
    "Draw n pieces of each prompt, and take the one that the critic finds best."
    chance = np.random.default_rng([seed, n])
    drawn = table.iloc[chance.permutation(len(table))].groupby('prompt').head(n)
    return drawn.sort_values('critic', ascending=False).groupby('prompt').head(1).sort_values('prompt').index.to_numpy()


def likeness(embeddings, real, sets, table) -> dict: # `Estimate`s of recall, precision and kernel distance
    "Sets of 64 clips against real ones, the mean over sets; the error by leaving out the prompts of one work at a time."
    def measure(keep):
        found = []
        for rows in sets:
            e = embeddings[rows[keep[table['prompt'].to_numpy()[rows]]]]
            quality = precision_recall_density_coverage(e, real)
            found.append((quality['recall'], quality['precision'], kernel_distance(e, real).value))
        return np.mean(found, 0)
    work = table.groupby('prompt')['work'].first()
    whole, works = measure(np.ones(len(work), bool)), work.unique()
    left = np.stack([measure((work != w).to_numpy()) for w in works])
    return dict(zip(('recall', 'precision', 'kernel_distance'), zip(whole, left.T)))


def jackknife(value:float, left) -> Estimate:
    "An estimate from what is found with one work left out at a time."
    se = np.sqrt((len(left) - 1)*np.var(left))
    return Estimate(float(value), float(se), float(value - 1.96*se), float(value + 1.96*se), len(left))


def gain(bench:Bench, draws:int) -> list: # A row for each n
    "What choosing does, by the number of pieces to choose from."
    clips, info = pool(bench)
    table = heard(bench, clips, info)
    limit = copy_limit(bench)
    kept = table[table['copied share'] <= limit].reset_index(drop=True)
    e = predict(judge('judge', bench.corpus, bench.models), clips).embeddings[(table['copied share'] <= limit).to_numpy()]
    real = predict(judge('judge', bench.corpus, bench.models), real_clips(bench.corpus, 'test', 512, LENGTH, PROMPT, seed=9)[0]).embeddings
    columns = ['critic', 'second critic', 'conditional', 'copied share', 'longest copy']
    about = kept.groupby('prompt')[['work', 'composer']].first()
    interval = lambda v: bootstrap_interval(v, about['work'], strata=about['composer'])
    first, rows, alike = expected(kept, columns, 1), [], {}
    for n in N:
        now = expected(kept, columns, n)
        alike[n] = likeness(e, real, [chosen(kept, n, s) for s in range(1 if n >= POOL['pieces'] else draws)], kept)
        row = dict(n=n, **{k: interval(now[k].to_numpy()) for k in columns}, gain={k: interval((now[k] - first[k]).to_numpy()) for k in columns})
        for k, (value, left) in alike[n].items():
            v1, l1 = alike[1][k]
            row[k] = jackknife(value, left)
            row['gain'][k] = jackknife(value - v1, left - l1)
            if k == 'recall': row['recall_ratio'] = jackknife(value/v1, left/l1)
        rows.append(row)
    spread = kept.groupby('prompt')[['critic', 'second critic']].corr(method='spearman').unstack().iloc[:, 1]
    return dict(rows=rows, pieces=len(kept), left_out=len(table) - len(kept), copy_limit=limit, prompts=len(about),
                works=int(about['work'].nunique()), agreement=interval(spread.loc[about.index].to_numpy()),
                spread={k: float(kept.groupby('prompt')[k].std().mean()) for k in ('critic', 'second critic')})


def copy_limit(bench:Bench) -> float:
    "The share of copied notes that 19 of 20 clips of held-out works do not exceed."
    real, _ = real_clips(bench.corpus, 'test', 512, LENGTH, PROMPT, seed=9)
    return float(longest_copies(real, CopyIndex.of(bench.corpus), bench.corpus.encoder)['share'].quantile(.95))


def as_markdown(result:dict) -> str:
    "Tables for people."
    figure = lambda e, d=3: f'{e["value"]:.{d}f} ({e["low"]:.{d}f} to {e["high"]:.{d}f})'
    lines = ['# Critics', '', f'Made by `python -m experiments.gain`; {", ".join(f"{k} {v}" for k, v in result["machine"].items())}.']
    for name, f in result['critics'].items():
        test = f['clips']['test']
        lines += ['', f'## The {name}', '', f'{test["real"]} real and {test["fake"]} generated clips of {LENGTH} tokens, {f["test_works"]} test works. '
                  f'Area under the curve {figure(f["auc"])}, calibration error {figure(f["calibration_error"])}.', '',
                  '| fakes | held out | area | best baseline | its area | difference |', '|' + '---|'*6]
        lines += [f'| {k} | {"yes" if r["held_out"] else ""} | {figure(r["auc"])} | {r["best_baseline"]} | {figure(r["baseline"])} | {figure(r["difference"])} |'
                  for k, r in f['by_kind'].items()]
        lines += ['', '| baseline, all fakes | area |', '|---|---|'] + [f'| {k} | {figure(v)} |' for k, v in f['baselines'].items()]
    g = result['gain']
    lines += ['', '## Best of n', '', f'{g["prompts"]} openings of {g["works"]} test works, {g["pieces"]} pieces by `{POOL["generator"]}` '
              f'({POOL["rule"]}); {g["left_out"]} more were left out as copies (share of copied notes above {g["copy_limit"]:.2f}). '
              f'Rank correlation of the two critics within an opening: {figure(g["agreement"])}.', '',
              '| n | second critic, logit above chance | conditional, nats above chance | kernel distance | recall, beside n = 1 | share copied |',
              '|' + '---|'*6]
    lines += [f'| {r["n"]} | {figure(r["gain"]["second critic"])} | {figure(r["gain"]["conditional"])} | {figure(r["kernel_distance"])} | '
              f'{figure(r["recall_ratio"])} | {figure(r["copied share"])} |' for r in g['rows']]
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='where generators, judges and critics are kept')
    parser.add_argument('--draws', type=int, default=10, help='sets drawn where n is less than the whole pool')
    parser.add_argument('--out', type=Path, default=HERE/'results')
    args = parser.parse_args()
    bench = Bench(args.models)
    result = dict(machine=machine('torch', 'fastai', 'scikit-learn'), pool=POOL, critics={name: figures_of(bench, name) for name in CRITICS})
    for name, f in result['critics'].items(): print(name, f['auc'], f['calibration_error'], flush=True)
    result['gain'] = gain(bench, args.draws)
    result = json.loads(json.dumps(plain(result)))
    atomic_write(args.out/'gain.json', (json.dumps(result, indent=1) + '\n').encode())
    atomic_write(args.out/'gain.md', as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == '__main__': main()
