"""What experiments share: trainings of equal length, and one judge for music of any encoding.

A training ends after so many seconds of *one core*, which is the processor's own count, so that a busy machine takes longer
and changes nothing else. The learning rate follows that clock, and is back at the end of its cycle when time is up.

A judge reads one encoding. What was written in another is decoded; what begins behind the prompt is encoded for the judge, and
cut to the length that it hears. Prompts are openings of so many beats, closed at that beat, so that they hold the same
music in every encoding.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException, CancelValidException
from fastai.torch_core import set_seed

from musiclm.composer import predict
from musiclm.corpus import Corpus
from musiclm.corruptions import cut_at
from musiclm.data import lm_dataloaders
from musiclm.encoders import make_encoder
from musiclm.generator import generator_learner, default_hparams, token_nll
from musiclm.metrics import bootstrap_interval, conditional_inception_score, inception_score, normalised_score
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram
from musiclm.notes import atomic_write
from musiclm.charts import plain
from musiclm.sampling import sample
from musiclm.pieces import stratified_order

HERE = Path(__file__).parent
MODELS, KEEP, RESULTS = HERE.parent/'out'/'models', HERE.parent/'out'/'experiments', HERE/'results'
OPEN = dict(random_freq=1., top_k=None) # every token is drawn


def kept(place:Path, make) -> dict: # JSON
    "What a file holds, or what `make` gives, which is then written there."
    if not place.is_file():
        atomic_write(place, json.dumps(plain(make())).encode())
    return json.loads(place.read_text())


def parser_of(
    name:str, # Of the folder where what is done is kept
    about:str, # Its first line says what the script does
    n:int, # Pieces, by default
    seconds:float=None, # Of each training, by default; None: nothing is trained
) -> argparse.ArgumentParser:
    "The options that the scripts share."
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument('--models', type=Path, default=MODELS, help='of data/make_models.py: store, composer, critic, generators')
    parser.add_argument('--n', type=int, default=n, help='pieces to be judged')
    if seconds: parser.add_argument('--seconds', type=float, default=seconds, help='of one core, for each training')
    parser.add_argument('--keep', type=Path, default=KEEP/name, help='where what is done is kept')
    parser.add_argument('--out', type=Path, default=RESULTS)
    return parser


def recoded(corpus:Corpus, encoder, tables:dict) -> Corpus: # The pieces that have a note table, in another encoding
    "A corpus of note tables, which stand by piece, on the grid of the encoding."
    m = corpus.manifest[corpus.manifest['piece'].isin(tables)].reset_index(drop=True)
    ids = [encoder.encode(to_grid(tables[p], encoder.config.steps_per_beat)) for p in m['piece']]
    sizes = np.array([len(o) for o in ids])
    m = m.assign(n_notes=[len(tables[p]) for p in m['piece']], n_tokens=sizes, offset=sizes.cumsum() - sizes)
    return Corpus(m, np.concatenate(ids), encoder)


def all_tables(corpus:Corpus, split:str=None) -> dict: return {corpus.manifest['piece'][i]: corpus.notes(i) for i in corpus.indices(split)}


class CoreBudget(Callback):
    "Ends a training after so many seconds of the processor; nothing is validated meanwhile."
    order = 50 # the schedule reads `pct_train` behind it
    def __init__(self, seconds): self.seconds = seconds
    def before_fit(self): self.begin, self.tokens, self.losses = time.process_time(), 0, []
    def before_batch(self):
        done = (time.process_time() - self.begin)/self.seconds
        if done >= 1: raise CancelFitException
        self.learn.pct_train, self.tokens = done, self.tokens + self.x.numel()
    def after_batch(self): self.losses.append(float(self.loss_grad.detach()))
    def before_validate(self): raise CancelValidException


def train_for(
    seconds:float, # Of one core
    corpus:Corpus,
    folder:Path, # Where the model is kept; one that is there already is read
    arch:str='awd_lstm', size:str='small', seed:int=0,
): # The model; its card has tokens read, passes over the music, and the last training loss
    "Train a generator."
    if (folder/'model.json').is_file(): return load_model(folder)
    torch.set_num_threads(1)
    set_seed(seed, reproducible=True)
    usual = default_hparams(arch, size)
    dls = lm_dataloaders(corpus, usual['bs'], usual['seq_len'], seed=seed)
    learn, budget = generator_learner(dls, arch, size, metrics=[]), CoreBudget(seconds)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(100_000, cbs=budget)
    card = dict(core_seconds=seconds, tokens=budget.tokens, passes=budget.tokens/dls.train.n_tokens, seed=seed,
                parameters=sum(p.numel() for p in learn.model.parameters()), loss=float(np.mean(budget.losses[-50:])))
    save_model(learn, folder, data=str(corpus), **card, **usual)
    print(folder.name, {k: round(v, 3) for k, v in card.items()}, flush=True)
    return load_model(folder)


def work_sums(model, corpus:Corpus, split:str='test') -> dict: # By work: composer, bits of its pieces, tokens and notes
    "What a model needs to spell held-out works, work by work."
    rows = corpus.indices(split)
    nats = token_nll(model, [corpus.tokens(i) for i in rows], bs=8)
    about = corpus.manifest.iloc[rows]
    sums = about.assign(bits=[o.sum(dtype=float)/np.log(2) for o in nats], tokens=[len(o) for o in nats],
                        kept=[len(corpus.notes(i)) for i in rows])
    table = sums.groupby('work').agg(composer=('composer', 'first'), bits=('bits', 'sum'), tokens=('tokens', 'sum'),
                                     notes=('n_notes', 'sum'), kept=('kept', 'sum'))
    return table.to_dict('index')


def estimate(e) -> dict: return dict(value=e.value, low=e.low, high=e.high)


def bits_per_note(sums:dict, other:dict=None) -> dict: # value, low, high
    "Bits per note with an interval over works; beside another model's on the same works: the difference."
    t = pd.DataFrame.from_dict(sums, orient='index')
    bits = t['bits'] if other is None else t['bits'] - pd.DataFrame.from_dict(other, orient='index').loc[t.index, 'bits']
    return estimate(bootstrap_interval(np.c_[bits, t['notes']], None, lambda m: m[..., 0]/m[..., 1], strata=t['composer']))


def to_grid(notes:pd.DataFrame, steps:int) -> pd.DataFrame:
    "Notes on a grid of so many steps a beat; each lasts a step at least."
    by = steps/notes.attrs['steps_per_beat']
    if by == 1: return notes
    onset, end = (np.rint(o*by).astype(int) for o in (notes['onset'], notes['onset'] + notes['duration']))
    moved = notes.assign(onset=onset, duration=np.maximum(end - onset, 1))
    moved.attrs = dict(steps_per_beat=steps)
    return moved


def opening(notes:pd.DataFrame, beats:int) -> pd.DataFrame:
    "What begins in the first beats, ended with them."
    end = beats*notes.attrs['steps_per_beat']
    first = notes[notes['onset'] < end]
    return first.assign(duration=np.minimum(first['duration'], end - first['onset']))


def scores(p, labels, works) -> dict: # score, conditional
    "The Inception score of what a judge says of clips, and the conditional one; works are drawn within composers."
    return dict(score=inception_score(p, works, strata=labels), conditional=conditional_inception_score(p, labels, works, strata=labels))


def placed(got:dict, floor:dict, ceiling:dict) -> dict: # normalised, conditional_normalised
    "Both scores, 0 for noise and 1 for what the composers wrote, with their intervals."
    names = dict(score='normalised', conditional='conditional_normalised')
    return {name: estimate(normalised_score(got[k], floor[k], ceiling[k])) for k, name in names.items()}


class Jury:
    "A judge, and the held-out openings that generators of any encoding go on from."
    def __init__(self, judge, corpus:Corpus, n:int=192, beats:int=8, n_notes:int=150, seed:int=0):
        self.judge, self.beats, self.n_notes, self.seed, self.n, self.length = judge, beats, n_notes, seed, n, judge.clip_length
        self.encoder = make_encoder(judge.encoding, judge.vocab.itos)
        m = corpus.manifest
        self.tables = all_tables(corpus, 'test')
        there = m[m['piece'].isin(p for p, t in self.tables.items() if self.cut(t) is not None)]
        self.about = there.iloc[stratified_order(there, n, seed)][['piece', 'composer', 'work']].reset_index(drop=True)
        train = [self.encoder.encode(corpus.notes(i)) for i in corpus.indices('train')]
        self.noise = NGram.fit(train, self.encoder.vocab, self.encoder.config, order=1, transpositions=(0,))
    def cut(self, notes): # A clip of what begins behind the opening, or None
        fine = to_grid(notes, self.encoder.config.steps_per_beat)
        return cut_at(fine, self.beats*self.encoder.config.steps_per_beat, self.encoder, self.length)
    def heard(self, tables): # `scores` of note tables, one for each row of `about`; and how many gave a clip
        "What the judge says of music behind the openings."
        clips = [self.cut(t) for t in tables]
        keep = [i for i, c in enumerate(clips) if c is not None]
        about = self.about.iloc[keep]
        labels = np.array([self.judge.labels.index(c) for c in about['composer']])
        p = predict(self.judge, np.stack([clips[i] for i in keep])).probs
        return scores(p, labels, about['work'].to_numpy()), len(keep)
    def write(self, model, **rule): # `Piece`s, one for each row of `about`
        "Let a generator go on from the openings, in tokens of its own, for about `n_notes` notes."
        encoder = make_encoder(model.encoding, model.vocab.itos)
        mine = {p: to_grid(t, encoder.config.steps_per_beat) for p, t in self.tables.items()}
        prompts = [encoder.encode(opening(mine[p], self.beats))[:-1] for p in self.about['piece']]
        some = list(mine.values())[::4]
        n_tokens = int(self.n_notes*sum(len(encoder.encode(t)) for t in some)/sum(map(len, some)))
        return sample(model, self.n, n_tokens, prompts, batch_size=64, min_tokens=n_tokens, seed=self.seed, **rule)
    def bounds(self): # `scores` of floor and ceiling
        "What the judge says of noise and of the works themselves, behind the same openings."
        if not hasattr(self, '_bounds'):
            self._bounds = self.heard([p.notes for p in self.write(self.noise, **OPEN)])[0], \
                self.heard([self.tables[p] for p in self.about['piece']])[0]
        return self._bounds
    def figures(self, tables) -> dict:
        "Both scores of note tables, as they are and beside noise and the works themselves, with their intervals."
        got, n = self.heard(tables)
        return dict(placed(got, *self.bounds()), **{k: estimate(s) for k, s in got.items()}, clips=n)
    def limits(self) -> dict: # floor, ceiling
        "What a result says of both."
        return {name: {k: estimate(s) for k, s in got.items()} for name, got in zip(('floor', 'ceiling'), self.bounds())}
