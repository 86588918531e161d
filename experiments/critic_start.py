"""Why did a critic that began with the generator's weights end worse than one that began with random weights?

    python -m experiments.critic_start --models out/contestants      (half an hour on one core; goes on where it was interrupted)

The works of the built-in corpus are dealt out so that nobody has seen what he should not: a third of the training works for
the generator, a third for a language model of other works, a third for the critic's real clips; validation and test works
for the measurement. All models are tiny. A cell is one critic: how its encoder starts, which layers learn, how features are
pooled, and on which clips it learns; after each epoch its loss on training clips and its area under the curve on held-out
clips are written down, so that cells can be compared after equal steps and at equal training loss.
"""
import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from experiments.contestants import open_corpus
from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from benchmarks.machine import machine

from musiclm.composer import run_clips
from musiclm.corpus import Corpus
from musiclm.corruptions import real_clips
from musiclm.critic import critic_clips, critic_learner, fit_critic, generated_clips
from musiclm.data import classifier_dataloaders, lm_dataloaders
from musiclm.generator import generator_learner, default_hparams
from musiclm.metrics import _weighted_auc, bootstrap_weights, cluster_codes, estimate_from, stratum_codes
from musiclm.models import load_model, save_model
from musiclm.notes import atomic_write
from musiclm.charts import plain

HERE = Path(__file__).parent
RULES = {'original': dict(random_freq=.5, top_k=5), 'temperature 1': dict(random_freq=1., top_k=None)}
SIZES = dict(train=1200, test=1000) # real clips, and as many fakes
EPOCHS, LR, BS = 8, 3e-3, 32
STARTS = ('random', 'generator', 'permuted', 'other works')
CELLS = [ # start, schedule, pooling, data
    *product(STARTS, ('head', 'all', 'gradual'), ['concat'], ['clean']),
    *product(STARTS, ['all'], ['last'], ['clean']), *product(STARTS[:2], ['head'], ['last'], ['clean']),
    *product(STARTS[:2], ['all', 'head'], ['signs'], ['clean']),
    *product(STARTS[:2], ['all', 'head'], ['concat'], ['published']),
    ('random', 'all, long', 'concat', 'clean'), ('generator', 'head, long', 'concat', 'clean'), ('generator', 'all, long', 'concat', 'clean')]
LONG = 3 # times as many epochs


def dealt(corpus:Corpus) -> Corpus: # Splits 'generator', 'other works', 'critic' and 'test'
    "Deal the training works of each composer out to three; validation works join the test."
    new, m = corpus.select(range(len(corpus))), corpus.manifest
    works = m[m['split'] == 'train'].drop_duplicates('work').sort_values(['composer', 'work'])
    names = np.array(['generator', 'other works', 'critic'])
    to = dict(zip(works['work'], names[works.groupby('composer').cumcount() % 3]))
    new.manifest['split'] = [to.get(w, 'test') for w in m['work']]
    return new


def language_model(corpus:Corpus, split:str, place:Path): # A tiny generator
    "Train a language model on the works of a split, or read it."
    place = place/split.replace(' ', '_')
    if not (place/'model.json').is_file():
        own = corpus.select(range(len(corpus)))
        own.manifest['split'] = own.manifest['split'].replace({split: 'train', 'test': 'valid'})
        usual = default_hparams('awd_lstm', 'tiny')
        set_seed(0, reproducible=True)
        learn = generator_learner(lm_dataloaders(own, usual['bs'], usual['seq_len'], seed=0), 'awd_lstm', 'tiny')
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(20)
        save_model(learn, place, nats=float(learn.recorder.values[-1][1]))
    return load_model(place)


def clips_for(data:str, corpus:Corpus, generator, place:Path) -> tuple: # Clips and their table
    "Clips to learn from, 'clean' or as 'published', and held-out ones, which are the same for both."
    clips, info = critic_clips(corpus, dict(tiny=generator), RULES, SIZES, splits=dict(train='critic'), seed=1)
    if data == 'clean': return clips, info
    parts, tables, test = [], [], (info['split'] == 'test').to_numpy() # real music that the generator has seen; fakes go on from openings
    for k, (rule, options) in enumerate(RULES.items()):
        c, i = generated_clips(generator, corpus, 'generator', SIZES['train']//2, seed=7 + k, **options)
        parts.append(c); tables.append(i.assign(label='fake', split='train', generator='tiny', rule=rule))
    c, i = real_clips(corpus, 'generator', SIZES['train'], seed=1)
    parts, tables = [*parts, c, clips[test]], [*tables, i.assign(label='real', split='train', generator='', rule=''), info[test]]
    return np.concatenate(parts), pd.concat(tables, ignore_index=True)


def margins(learn, clips): # (n,) logit of 'real' less that of 'fake'
    z = run_clips(learn, clips).astype(float)
    return z[:, 1] - z[:, 0]


class Watch(Callback):
    "After each epoch: loss on some training clips, in evaluation mode, and scores of held-out clips."
    def __init__(self, train, y, test): self.train_clips, self.y, self.test, self.losses, self.scores = train, y, test, [], []
    def after_epoch(self):
        z = margins(self.model, self.train_clips)
        self.losses.append(float(np.logaddexp(0, np.where(self.y, -z, z)).mean()))
        self.scores.append(margins(self.model, self.test).astype(np.float32))


def run_cell(cell, seed, clips, info, corpus, starts, place:Path): # Writes losses, scores and seconds
    "Train one critic."
    start, schedule, pooling, data = cell
    train, y = (info['split'] == 'train').to_numpy(), (info['label'] == 'real').to_numpy()
    few = np.random.default_rng(0).permutation(np.flatnonzero(train))[:512]
    watch = Watch(clips[few], y[few], clips[~train])
    set_seed(seed, reproducible=True)
    valid = np.arange(len(clips)) >= len(clips) - 32 # looked at by nobody
    use = train | valid
    dls = classifier_dataloaders(clips[use], info['label'][use], valid[use], corpus.encoder, ['fake', 'real'], bs=BS, seed=seed)
    model = starts['generator'] if start == 'permuted' else starts.get(start)
    options = dict(starts['generator'].build['options'])
    learn = critic_learner(dls, arch='awd_lstm', size='tiny', options=options, pooling='concat' if pooling == 'signs' else pooling,
                           start=model, shuffle_start=start == 'permuted', seed=seed, lr=LR,
                           reference=starts['generator'] if pooling == 'signs' else None)
    begin, (schedule, _, more) = time.perf_counter(), schedule.partition(', ')
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(watch): fit_critic(learn, EPOCHS*(LONG if more else 1), schedule)
    np.savez(place, losses=watch.losses, scores=np.stack(watch.scores), seconds=time.perf_counter() - begin)


def name_of(cell, seed): return '_'.join([*cell, str(seed)]).replace(',', '').replace(' ', '-')


def at_loss(losses, areas, level): # Areas as the training loss falls to `level`, between two epochs; None where it never does
    losses, areas = [np.log(2), *losses], [np.full_like(areas[0], .5), *areas] # before the first step: a guess
    e = next((e for e, loss in enumerate(losses) if loss <= level), None)
    if e is None: return None
    share = (losses[e - 1] - level)/(losses[e - 1] - losses[e])
    return areas[e - 1] + share*(areas[e] - areas[e - 1])


class Held:
    "Held-out clips, and areas under the curve of critics' scores of them, resampled by work all alike."
    def __init__(self, info):
        self.y, self.works, self.composers = (info['label'] == 'real').to_numpy(), info['work'].to_numpy(), info['composer'].to_numpy()
        codes, n = cluster_codes(len(info), self.works)
        self.weights = bootstrap_weights(n, 1000, 0, stratum_codes(codes, n, self.composers))[:, codes]
    def areas(self, scores): # (1001,): of all clips, and of each resample
        return np.concatenate([_weighted_auc(scores, self.y, w) for w in (np.ones((1, len(scores))), self.weights)])
    def estimate(self, areas): return estimate_from(areas[0], areas[1:], len(self.y))


QUESTIONS = { # what is asked: one cell, and the cell that it is set against
    'a start from the generator, against a random start': (('generator', 'all', 'concat', 'clean'), ('random', 'all', 'concat', 'clean')),
    'the same, encoder frozen': (('generator', 'head', 'concat', 'clean'), ('random', 'all', 'concat', 'clean')),
    'frozen, against all layers free': (('generator', 'head', 'concat', 'clean'), ('generator', 'all', 'concat', 'clean')),
    'gradual, against all at once': (('generator', 'gradual', 'concat', 'clean'), ('generator', 'all', 'concat', 'clean')),
    'what was learnt, against its spread alone (permuted)': (('generator', 'all', 'concat', 'clean'), ('permuted', 'all', 'concat', 'clean')),
    'permuted, against random': (('permuted', 'all', 'concat', 'clean'), ('random', 'all', 'concat', 'clean')),
    'the generator, against a language model of other works': (('generator', 'all', 'concat', 'clean'), ('other works', 'all', 'concat', 'clean')),
    'frozen layers of the generator, against frozen random layers': (('generator', 'head', 'concat', 'clean'), ('random', 'head', 'concat', 'clean')),
    'concat pooling, against the last state (generator)': (('generator', 'all', 'concat', 'clean'), ('generator', 'all', 'last', 'clean')),
    'concat pooling, against the last state (random)': (('random', 'all', 'concat', 'clean'), ('random', 'all', 'last', 'clean')),
    'signs of surprise beside the frozen generator': (('generator', 'head', 'signs', 'clean'), ('generator', 'head', 'concat', 'clean')),
    'signs of surprise beside the free generator': (('generator', 'all', 'signs', 'clean'), ('generator', 'all', 'concat', 'clean')),
    'signs of surprise beside a random start': (('random', 'all', 'signs', 'clean'), ('random', 'all', 'concat', 'clean')),
    'with signs: a start from the generator, against a random start': (('generator', 'all', 'signs', 'clean'), ('random', 'all', 'signs', 'clean')),
    'clips as published, against clean ones (generator)': (('generator', 'all', 'concat', 'published'), ('generator', 'all', 'concat', 'clean')),
    'clips as published, against clean ones (random)': (('random', 'all', 'concat', 'published'), ('random', 'all', 'concat', 'clean')),
    'after three times the steps: frozen generator, against a random start': (
        ('generator', 'head, long', 'concat', 'clean'), ('random', 'all, long', 'concat', 'clean')),
    'after three times the steps: a start from the generator, against a random start': (
        ('generator', 'all, long', 'concat', 'clean'), ('random', 'all, long', 'concat', 'clean')),
    'as published altogether: frozen generator, against a random start': (('generator', 'head', 'concat', 'published'), ('random', 'all', 'concat', 'published')),
}


def summary(found:dict, held:Held, level:float) -> dict: # Cells and answers
    "Figures of cells, and of what was asked of them, after equal steps and at equal training loss."
    areas = {c: [[held.areas(s) for s in r['scores']] for r in runs] for c, runs in found.items()} # by seed and epoch
    end = {c: np.mean([a[-1] for a in each], 0) for c, each in areas.items()}
    matched = {c: [at_loss(r['losses'], a, level) for r, a in zip(found[c], each)] for c, each in areas.items()}
    matched = {c: np.mean(a, 0) for c, a in matched.items() if all(o is not None for o in a)}
    cells = [dict(zip(('start', 'schedule', 'pooling', 'data'), c), auc=held.estimate(end[c]), seeds=len(runs),
                  auc_by_seed=[a[-1][0] for a in areas[c]], by_epoch=[np.mean([a[0] for a in e]) for e in zip(*areas[c])],
                  loss=np.mean([r['losses'] for r in runs], 0).tolist(), seconds=float(np.mean([r['seconds'] for r in runs])),
                  at_equal_loss=held.estimate(matched[c]) if c in matched else None) for c, runs in found.items()]
    answer = lambda table, a, b: held.estimate(table[a] - table[b]) if a in table and b in table else None
    return dict(cells=cells, answers={q: dict(a=a, b=b, equal_steps=answer(end, a, b), equal_loss=answer(matched, a, b))
                                      for q, (a, b) in QUESTIONS.items()})


def as_markdown(result:dict) -> str:
    "Tables for people."
    figure = lambda e: '–' if e is None else f'{e["value"]:.3f} ({e["low"]:.3f} to {e["high"]:.3f})'
    lines = ['# Starts of a critic', '', f'Made by `python -m experiments.critic_start`; {", ".join(f"{k} {v}" for k, v in result["machine"].items())}.',
             '', f'Area under the curve on {result["clips"]:,} held-out clips; equal training loss: {result["level"]:.2f}.', '',
             '| start | layers that learn | pooling | clips | area, equal steps | area, equal loss | training loss |', '|' + '---|'*7]
    lines += [f'| {c["start"]} | {c["schedule"]} | {c["pooling"]} | {c["data"]} | {figure(c["auc"])} | {figure(c["at_equal_loss"])} | {c["loss"][-1]:.3f} |'
              for c in result['cells']]
    lines += ['', '| difference of areas | equal steps | equal loss |', '|' + '---|'*3]
    lines += [f'| {q} | {figure(a["equal_steps"])} | {figure(a["equal_loss"])} |' for q, a in result['answers'].items()]
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='where the corpus is, and where cells are kept')
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--level', type=float, default=.5, help='training loss at which critics are compared')
    parser.add_argument('--out', type=Path, default=HERE/'results')
    args = parser.parse_args()
    place = args.models/'critic_start'
    place.mkdir(exist_ok=True)
    corpus = dealt(open_corpus(args.models))
    starts = {split: language_model(corpus, split, place) for split in ('generator', 'other works')}
    sets = {data: clips_for(data, corpus, starts['generator'], place) for data in ('clean', 'published')}
    todo = [(cell, seed) for seed in range(args.seeds) for cell in CELLS]
    for i, (cell, seed) in enumerate(todo):
        file = place/f'{name_of(cell, seed)}.npz'
        if file.is_file(): continue
        run_cell(cell, seed, *sets[cell[3]], corpus, starts, file)
        r = np.load(file)
        print(f'{i + 1}/{len(todo)}', *cell, seed, f'loss {r["losses"][-1]:.3f}, {r["seconds"]:.0f} s', flush=True)
    found = {cell: [dict(np.load(place/f'{name_of(cell, seed)}.npz')) for seed in range(args.seeds)] for cell in CELLS}
    test = sets['clean'][1]
    test = test[test['split'] == 'test']
    result = dict(machine=machine('torch', 'fastai'), clips=len(test), works=int(test['work'].nunique()), level=args.level, seeds=args.seeds,
                  nats={k: m.card['nats'] for k, m in starts.items()}, sizes=SIZES, epochs=EPOCHS, **summary(found, Held(test), args.level))
    result = json.loads(json.dumps(plain(result)))
    atomic_write(args.out/'critic_start.json', (json.dumps(result, indent=1) + '\n').encode())
    atomic_write(args.out/'critic_start.md', as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == '__main__': main()
