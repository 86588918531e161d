"""Writes tests/data/v0_1: two stores and three models of version 0.1, all tiny, and the output of the models.

Run once, with version 0.1 on the path: `PYTHONPATH=CLONE_OF_0.1 python tests/data/make_v0_1.py`.
"""
import json
from pathlib import Path

import torch

from musiclm.composer import probabilities
from musiclm.corpus import clips, folder_corpus, toy_corpus
from musiclm.models import make_classifier, make_model, save_model
from musiclm.ngram import NGram
from musiclm.notes import write_midi

OUT = Path(__file__).parent/'v0_1'

corpus = toy_corpus(n=8, beats=24)
corpus.save(OUT/'store')
for i, row in enumerate(corpus.manifest.itertuples()):
    if i >= 6: break
    (folder := OUT/'scores'/row.composer).mkdir(parents=True, exist_ok=True)
    write_midi(corpus.notes(i), folder/f'{i}.mid')
folder_corpus(OUT/'scores', out=OUT/'built', seed=1)
(OUT/'built'/'sources.json').write_text('[]') # no path of this machine
torch.manual_seed(0)
lstm = make_model(len(corpus.vocab), 'awd_lstm', 'tiny', emb_sz=8, n_hid=8, n_layers=2)
composer = make_classifier(len(corpus.vocab), ['alto', 'basso'], 'awd_lstm', 'tiny', n_emb=4, clip_length=32, none=True,
                           emb_sz=8, n_hid=8, n_layers=2)
for model in (lstm, composer): model.vocab, model.encoding = corpus.vocab, corpus.encoder.config
ngram = NGram.of(corpus, 2)
for name, model in dict(lstm=lstm, composer=composer, ngram=ngram).items(): save_model(model, OUT/name, data='toy corpus', seed=0)
x, _ = clips(corpus, 32, per_piece=1)
tokens = torch.as_tensor(x[:3].astype(int))
lstm.eval(); lstm.reset()
answers = dict(clips=x[:3].tolist(), lstm=lstm(tokens)[0].detach()[:, -1].tolist(), composer=probabilities(composer, x[:3]).tolist(),
               ngram=ngram.nats(x[:3].tolist()).tolist())
(OUT/'answers.json').write_text(json.dumps(answers))
