"Stores and models of version 0.1 still open, and answer as they did; its names still work for one version."
import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import musiclm.build
from musiclm.build import folder_corpus
from musiclm.composer import probabilities
from musiclm.corpus import Corpus, toy_corpus
from musiclm.models import load_model
from musiclm.sampling import SamplingRule, sample
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

OLD = Path(__file__).parent/'data'/'v0_1'
ENDS = NotewiseEncoder(EncodingConfig(durations=False))
ANSWERS = json.loads((OLD/'answers.json').read_text())


def test_a_store_opens():
    old, new = Corpus.load(OLD/'store'), toy_corpus(n=8, beats=24, encoder=ENDS)
    assert old.vocab == new.vocab and old.manifest['work'].tolist() == new.manifest['work'].tolist()
    for i in range(8): assert np.array_equal(old.tokens(i), new.tokens(i))


def test_a_build_continues_from_an_old_store(tmp_path, monkeypatch):
    old = Corpus.load(shutil.copytree(OLD/'built', tmp_path/'store'))
    scores = shutil.copytree(OLD/'scores', tmp_path/'scores')
    shutil.copy(scores/'basso'/'1.mid', scores/'basso'/'7.mid')
    (scores/'basso'/'7.mid').write_bytes((scores/'basso'/'1.mid').read_bytes().replace(b'\x40', b'\x41'))
    read = []
    monkeypatch.setattr(musiclm.build, 'read_for', lambda encoder, path, *a, _read=musiclm.build.read_for, **how:
                        (read.append(Path(path).name), _read(encoder, path, *a, **how))[1])
    new = folder_corpus(scores, ENDS, out=tmp_path/'store', seed=2, workers=1)
    assert read == ['7.mid'] # the results of version 0.1 are used again
    assert new.manifest['split'][:6].tolist() == old.manifest['split'].tolist() # and its splits are kept
    for i in range(6): assert np.array_equal(new.tokens(i), old.tokens(i))


def test_models_open_and_answer_as_they_did():
    clips = np.array(ANSWERS['clips'], np.uint16)
    lstm, composer, ngram = (load_model(OLD/name) for name in ('lstm', 'composer', 'ngram'))
    with torch.no_grad(): logits = lstm.eval()(torch.as_tensor(clips.astype(int)))[0][:, -1]
    assert np.allclose(logits, ANSWERS['lstm'], atol=1e-5)
    assert np.allclose(probabilities(composer, clips), ANSWERS['composer'], atol=1e-5)
    assert np.allclose(ngram.nats(clips.tolist()), ANSWERS['ngram'], atol=1e-6)
    assert composer.labels == ['alto', 'basso'] and lstm.card['data'] == 'toy corpus'
    for model in (lstm, ngram): assert sample(model, n=2, n_tokens=20)[0].info['rule'] == vars(SamplingRule())


OLD_NAMES = {
    'critic': dict(realness='critic_scores', clips_of='clips_of_pieces'), 'composer': dict(hear='predict', strangeness='ood_score'),
    'generator': dict(together='distributed_context', recipe='default_hparams', token_nats='token_nll'),
    'models': dict(ready_models='pretrained_models', bare_model='unwrap_model'), 'sampling': dict(choose='sample_next_token')}


@pytest.mark.parametrize('module, old, new', [(m, o, n) for m, names in OLD_NAMES.items() for o, n in names.items()])
def test_old_names_warn_and_work(module, old, new):
    module = importlib.import_module(f'musiclm.{module}')
    with pytest.warns(DeprecationWarning, match=f'{old} is called {new} now'): found = getattr(module, old)
    assert found is getattr(module, new)


def test_names_that_moved_are_where_they_were():
    for module, names in dict(notes='read_score write_musicxml', tokens='EncodingConfig Vocab ChordwiseEncoder PAD BOS',
                              corpus='music21_corpus folder_corpus build_corpus', models='ARCHS make_model make_classifier',
                              sampling='Piece held_out_prompts', generator='evaluate_lm').items():
        for name in names.split(): assert hasattr(importlib.import_module(f'musiclm.{module}'), name)
