"""The generators and judges that the benchmarks of the judges use: trained once, kept in a folder.

    python -m experiments.contestants --models out/contestants        (an hour on two cores; goes on where it was interrupted)

All learn from the training works of the built-in corpus, except `reference`, which sees one half of them only: it lends a
judge its first weights and a critic its surprise, while the critic's real clips come from the other half.
"""
import argparse
import time
from pathlib import Path

from fastai.torch_core import set_seed

from musiclm.callbacks import KeepCopies
from musiclm.composer import calibrate_judge, composer_clips, composer_dataloaders, composer_learner
from musiclm.corpus import Corpus
from musiclm.build import music21_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import Checkpoints, generator_learner, default_hparams
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram

RUNS = { # name: architecture, size, epochs, works, epochs after which a copy is kept
    'lstm': ('awd_lstm', 'small', 12, 'train', (1, 2, 3, 4, 6, 8, 12)),
    'reference': ('awd_lstm', 'small', 8, 'half', ()),
    'tiny': ('awd_lstm', 'tiny', 4, 'train', ()),
    'transformer': ('transformer', 'small', 6, 'train', ()),
}


def open_corpus(models:Path) -> Corpus:
    "The built-in corpus."
    if not (models/'store').is_dir(): music21_corpus().save(models/'store')
    return Corpus.load(models/'store')


def contestant(name:str, corpus:Corpus, models:Path, seed:int=0): # A generator
    "Train a run of `RUNS`, or read it."
    arch, size, epochs, works, kept = RUNS[name.partition('@')[0]]
    if (models/name/'model.json').is_file(): return load_model(models/name)
    set_seed(seed, reproducible=True)
    usual = default_hparams(arch, size)
    dls = lm_dataloaders(corpus.split_train_halves() if works == 'half' else corpus, usual['bs'], usual['seq_len'], seed=seed)
    learn = generator_learner(dls, arch, size)
    begin = time.perf_counter()
    keep = KeepCopies(kept, lambda epoch: save_model(learn, models/f'{name}@{epoch}'))
    with learn.no_bar(): learn.fit_one_cycle(epochs, cbs=[Checkpoints(models/f'.{name}.training'), keep])
    names = learn.recorder.metric_names[1:-1]
    history = [dict(zip(names, map(float, row))) for row in learn.recorder.values]
    save_model(learn, models/name, data=str(corpus), history=history, seconds=time.perf_counter() - begin, seed=seed, **usual)
    return load_model(models/name)


JUDGES = { # name: how it is built, epochs, seed
    'judge': (dict(arch='awd_lstm', size='small', lr=4e-3), 'reference', 5, 0), # begins with the language model's weights
    'second': (dict(arch='roll_cnn', size='small', lr=6e-3), None, 12, 1),
    'scratch': (dict(arch='awd_lstm', size='tiny', lr=1e-2), None, 10, 2), # that of the demo
}


def judge(name:str, corpus:Corpus, models:Path, n:int=2400, length:int=256): # A composer classifier
    "Train one of `JUDGES`, or read it."
    if (models/name/'model.json').is_file(): return load_model(models/name)
    build, start, epochs, seed = JUDGES[name]
    set_seed(seed, reproducible=True)
    clips, info = composer_clips(corpus, n, length, seed=seed)
    dls = composer_dataloaders(clips, info, corpus.encoder, seed=seed)
    learn = composer_learner(dls, **build, start=start and contestant(start, corpus, models))
    begin = time.perf_counter()
    with learn.no_bar(): learn.fit_one_cycle(epochs)
    calibrate_judge(learn, clips, info)
    save_model(learn, models/name, data=str(corpus), seconds=time.perf_counter() - begin, seed=seed, start=start or '')
    return load_model(models/name)


def ngram(corpus:Corpus, order:int=8) -> NGram:
    "The n-gram model of the training works in twelve keys."
    return NGram.of(corpus, order)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='where they are kept')
    parser.add_argument('--runs', nargs='*', default=[*RUNS, *JUDGES], choices=[*RUNS, *JUDGES])
    args = parser.parse_args()
    corpus = open_corpus(args.models)
    for name in args.runs:
        made = contestant(name, corpus, args.models) if name in RUNS else judge(name, corpus, args.models)
        print(name, made.card.get('history', [''])[-1], flush=True)


if __name__ == '__main__': main()
