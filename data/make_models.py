"""Train the models that musiclm ships, and those of the leaderboard, from the free part of the built-in corpus.

    python data/make_models.py --out out/models            (two to three hours of one core; goes on where it was interrupted)

The corpus: chorales by Bach, madrigals by Monteverdi and quartets by Beethoven, as music21 brings them, without what reserves
rights to derived works. Generators learn from its training works. `reference` hears one half of them, and the critic, which
listens with it, compares clips of the other half with what generators wrote. The judges begin with random weights. All
weights are rounded to bfloat16 before anything is measured on them.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.torch_core import set_seed

from musiclm.composer import calibrate_judge, composer_clips, composer_dataloaders, composer_learner
from musiclm.corpus import Corpus, music21_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import Checkpoints, generator_learner, recipe
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram

COMPOSERS = ('bach', 'monteverdi', 'beethoven')
GENERATORS = { # name: architecture, size, epochs, training works, epochs after which a copy is kept
    'lstm-small': ('awd_lstm', 'small', 24, 'all', (2, 8)),
    'transformer-small': ('transformer', 'small', 12, 'all', (3,)),
    'lstm-base': ('awd_lstm', 'base', 10, 'all', (3,)),
    'transformer-base': ('transformer', 'base', 3, 'all', ()),
    'reference': ('awd_lstm', 'small', 12, 'half', ()),
}
JUDGES = { # name: how it is built, epochs, seed
    'composer': (dict(arch='roll_cnn', size='small', lr=6e-3), 12, 1),
    'second-judge': (dict(arch='awd_lstm', size='tiny', lr=1e-2), 10, 2),
}
ORDERS = (2, 4, 6, 8)


class KeepCopies(Callback):
    "Save the model after some epochs."
    def __init__(self, epochs, save): self.epochs, self.save = epochs, save
    def after_epoch(self):
        if self.epoch + 1 in self.epochs: self.save(self.epoch + 1)


class CoreSeconds(Callback):
    "The processor's time that a training takes, however busy the machine is; kept beside its checkpoints."
    order = -90
    def __init__(self, path): self.path = Path(path)
    def before_fit(self):
        self.before = json.loads(self.path.read_text()) if self.path.is_file() else 0.
        self.begin = time.process_time()
    def seconds(self): return self.before + time.process_time() - self.begin
    def after_epoch(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.seconds()))
        print(f'{self.path.stem}: epoch {self.epoch + 1}, {self.seconds():.0f} s', *map(str, self.learn.recorder.log[1:]), flush=True)


def open_corpus(out:Path) -> Corpus:
    "The free part of the built-in corpus."
    if not (out/'store').is_dir():
        whole = music21_corpus(COMPOSERS)
        whole.select((~whole.manifest['reserved']).to_numpy().nonzero()[0]).save(out/'store')
    return Corpus.load(out/'store')


def halves(corpus:Corpus) -> Corpus: # Training works are in the split 'train' or 'other'
    "Every second training work of each composer goes over to another split."
    half, m = corpus.select(range(len(corpus))), corpus.manifest
    works = m[m['split'] == 'train'].drop_duplicates('work').sort_values(['composer', 'work'])
    other = works['work'][works.groupby('composer').cumcount() % 2 == 1]
    half.manifest['split'] = np.where(m['work'].isin(other), 'other', m['split'])
    return half


def train_generator(name:str, corpus:Corpus, out:Path, seed:int=0):
    "Train one of `GENERATORS`."
    arch, size, epochs, works, kept = GENERATORS[name]
    set_seed(seed, reproducible=True)
    usual = recipe(arch, size)
    dls = lm_dataloaders(halves(corpus) if works == 'half' else corpus, usual['bs'], usual['seq_len'], seed=seed)
    learn = generator_learner(dls, arch, size)
    clock = CoreSeconds(out/f'.{name}.seconds.json')
    def save(epoch):
        card = dict(data=str(corpus), works=works, epochs=epoch, of=epochs, core_seconds=clock.seconds(), seed=seed, **usual)
        save_model(learn, out/(name if epoch == epochs else f'{name}@{epoch}'), **card)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, cbs=[Checkpoints(out/f'.{name}.training'), clock, KeepCopies((*kept, epochs), save)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='where they are kept')
    parser.add_argument('--only', nargs='*', default=[*GENERATORS, *JUDGES, 'critic'])
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpus = open_corpus(args.out)
    for name in args.only:
        if (args.out/name/'model.json').is_file(): continue
        if name in GENERATORS: train_generator(name, corpus, args.out)


if __name__ == '__main__': main()
