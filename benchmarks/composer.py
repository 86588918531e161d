"""Who composed it? Composer classifiers beside a logistic regression on histograms, on the same folds, split by work and at random.

    python benchmarks/composer.py --models out/contestants                          (the built-in corpus; 10 minutes on two cores)
    python benchmarks/composer.py --models out/contestants --store stores/asap --length 1000   (a store of one's own; half an hour)

Without a store the judges of `contestants.py` are measured on the built-in corpus' test works. With one, its works are dealt to folds;
each is the test once, the next the validation, and composers with fewer works than folds are left out. The leak is measured
by dealing clips, not works, to the same number of folds.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from contestants import JUDGES, contestant, judge, open_corpus
from fastai.torch_core import set_seed
from machine import machine

from musiclm.composer import (baseline_probabilities, calibrate_judge, composer_clips, composer_dataloaders, evaluate_composer,
                              composer_learner, embeddings, predict, ood_score)
from musiclm.corpus import Corpus
from musiclm.metrics import bootstrap_interval
from musiclm.notes import atomic_write
from musiclm.report import plain

HERE = Path(__file__).parent
NETS = { # name: how it is built, starts from a language model?, epochs
    'AWD-LSTM tiny, from scratch': (dict(size='tiny', lr=1e-2), False, 12),
    'AWD-LSTM small, from a language model': (dict(lr=4e-3), True, 5),
    'convolutions on the roll, tiny': (dict(arch='roll_cnn', size='tiny', lr=1e-2), False, 8),
}


def in_folds(corpus:Corpus, n:int, seed:int=0): # Corpora, each with another fold as its test split
    "Deal the works of each composer to `n` folds."
    m = corpus.manifest
    works = m.drop_duplicates('work').sample(frac=1, random_state=seed)
    works = works[works.groupby('composer')['work'].transform('size') >= n]
    fold = dict(zip(works['work'], works.groupby('composer').cumcount() % n))
    rows = [i for i, w in enumerate(m['work']) if w in fold]
    for k in range(n):
        part = corpus.select(rows)
        at = np.array([fold[w] for w in part.manifest['work']])
        part.manifest['split'] = np.where(at == k, 'test', np.where(at == (k + 1)%n, 'valid', 'train'))
        yield part


def at_random(clips, info, n:int, seed:int=0): # Tables with another split
    "Deal real clips to folds whatever their work: what must not be done."
    real = info['corruption'].isna().to_numpy()
    at = np.random.default_rng(seed).permutation(real.sum()) % n
    for k in range(n):
        yield clips[real], info[real].assign(split=np.where(at == k, 'test', np.where(at == (k + 1)%n, 'valid', 'train'))).reset_index(drop=True)


def train(clips, info, encoder, build, start, epochs, seed):
    "Train and calibrate a classifier."
    set_seed(seed, reproducible=True)
    learn = composer_learner(composer_dataloaders(clips, info, encoder, bs=32, seed=seed), start=start, **build)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs)
    calibrate_judge(learn, clips, info)
    return learn


def without_confusion(figures): return {k: v for k, v in figures.items() if k != 'confusion'}


def difference(p, base, info, classes) -> dict:
    "Log loss of the baseline less that of the classifier on the same clips, with an interval over works."
    y = np.array([list(classes).index(c) for c in info['composer']])
    gain = np.log(p[np.arange(len(y)), y]) - np.log(np.maximum(base[np.arange(len(y)), y], 1e-12))
    return vars(bootstrap_interval(gain, info['work'].to_numpy(str), strata=y))


def folds(corpus, models:Path, place:Path, length:int, n_clips:int, n:int, names) -> dict:
    "Every classifier on every fold, pooled: the test clips of all folds together."
    lm, kept, tables = contestant('reference', open_corpus(models), models), {}, []
    for k, part in enumerate(in_folds(corpus, n)):
        clips, info = composer_clips(part, n_clips, length, n_test=None, seed=k)
        test, classes = (info['split'] == 'test').to_numpy(), sorted(set(info['composer']))
        tables.append(info[test])
        if k and classes != known: raise ValueError(f'fold {k} has the composers {classes}, and fold 0 {known}: use fewer folds or shorter clips')
        known = classes
        kept.setdefault('logistic regression', []).append(baseline_probabilities(clips, info, part.encoder, classes))
        for name in names:
            build, starts, epochs = NETS[name]
            file = place/f'{name.replace(" ", "_")}-{length}-{k}.npy'
            if not file.is_file():
                begin = time.perf_counter()
                learn = train(clips, info, part.encoder, build, lm if starts else None, epochs, k)
                np.save(file, predict(learn, clips[test]).given)
                print(f'fold {k}, {name}: {time.perf_counter() - begin:.0f} s', flush=True)
            kept.setdefault(name, []).append(np.load(file))
        leak = [(c, i) for c, i in at_random(clips, info, n)][k]
        kept.setdefault('logistic regression, clips dealt at random', []).append(baseline_probabilities(*leak, part.encoder, classes))
        kept.setdefault('of the leak', []).append(leak[1][leak[1]['split'] == 'test'])
    info, leak = pd.concat(tables, ignore_index=True), pd.concat(kept.pop('of the leak'), ignore_index=True)
    p = {k: np.concatenate(v) for k, v in kept.items()}
    tables = {k: leak if 'random' in k else info for k in p}
    return dict(composers=classes, clips=len(info), works=int(info['work'].nunique()), length=length, folds=n,
                figures={k: without_confusion(evaluate_composer(q, tables[k], classes)) for k, q in p.items()},
                gain={k: difference(p[k], p['logistic regression'], info, classes) for k in names},
                confusion={k: evaluate_composer(q, tables[k], classes)['confusion'] for k, q in p.items()})


def built_in(models:Path) -> dict:
    "The judges of `contestants.py` on the test works of the built-in corpus."
    corpus = open_corpus(models)
    clips, info = composer_clips(corpus, 2400, 256, n_test=None, seed=0)
    test = (info['split'] == 'test').to_numpy()
    judges = {name: judge(name, corpus, models) for name in JUDGES}
    classes, p, found = judges['judge'].labels, {}, {}
    p['logistic regression'] = baseline_probabilities(clips, info, corpus.encoder, classes)
    p |= {name: predict(j, clips[test]).given for name, j in judges.items()}
    for c, i in list(at_random(clips, info, 5))[:1]:
        found['logistic regression, clips dealt at random'] = without_confusion(evaluate_composer(
            baseline_probabilities(c, i, corpus.encoder, classes), i[i['split'] == 'test'], classes))
    strange = {name: dict(none=float(predict(j, clips[test]).none.mean()), over=float((ood_score(j, embeddings(j, clips[test])) > 1).mean()))
               for name, j in judges.items()}
    return dict(composers=classes, clips=int(test.sum()), works=int(info['work'][test].nunique()), length=256,
                figures={k: without_confusion(evaluate_composer(q, info[test], classes)) for k, q in p.items()} | found,
                gain={k: difference(q, p['logistic regression'], info[test], classes) for k, q in p.items() if k in judges},
                confusion={k: evaluate_composer(q, info[test], classes)['confusion'] for k, q in p.items()}, strange=strange)


def as_markdown(result:dict) -> str:
    "A table for people."
    between = lambda e, d=3: f'{e["value"]:.{d}f} ({e["low"]:.{d}f} to {e["high"]:.{d}f})'
    lines = ['# Who composed it?', '', f'Made by `python benchmarks/composer.py`; {", ".join(f"{k} {v}" for k, v in result["machine"].items())}.']
    for name, r in result['corpora'].items():
        lines += ['', f'## {name}', '', f'{r["clips"]} clips of {r["length"]} tokens of {r["works"]} test works, {len(r["composers"])} composers '
                  f'({", ".join(r["composers"])})' + (f', {r["folds"]} folds' if 'folds' in r else '') + '.', '',
                  '| classifier | log loss | macro-F1 | clips right | pieces right | calibration error | log loss below the regression |', '|' + '---|'*7]
        for k, f in r['figures'].items():
            gain = between(r['gain'][k]) if k in r['gain'] else ''
            lines.append(f'| {k} | ' + ' | '.join(between(f[m]) for m in ('log_loss', 'macro_f1', 'accuracy', 'piece_accuracy', 'calibration_error'))
                         + f' | {gain} |')
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='where generators and judges are kept')
    parser.add_argument('--store', type=Path, help='a store of several composers')
    parser.add_argument('--length', type=int, default=256)
    parser.add_argument('--clips', type=int, default=900, help='training clips a fold')
    parser.add_argument('--folds', type=int, default=3)
    parser.add_argument('--nets', nargs='*', default=list(NETS), choices=NETS)
    parser.add_argument('--out', type=Path, default=HERE/'results')
    args = parser.parse_args()
    place, kept = args.models/'composer', args.out/'composer.json'
    place.mkdir(exist_ok=True)
    result = json.loads(kept.read_text()) if kept.is_file() else dict(corpora={})
    result['machine'] = machine('torch', 'fastai', 'scikit-learn')
    if args.store: found = folds(Corpus.load(args.store), args.models, place, args.length, args.clips, args.folds, args.nets)
    else: found = built_in(args.models)
    result['corpora'][args.store.name if args.store else 'built-in corpus'] = found
    result = json.loads(json.dumps(plain(result)))
    atomic_write(kept, (json.dumps(result, indent=1) + '\n').encode())
    atomic_write(args.out/'composer.md', as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == '__main__': main()
