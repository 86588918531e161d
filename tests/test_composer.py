"The judge: calibrated, named by its weights, and strict about what it is given."
from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.special import softmax

from musiclm.composer import (baseline_probabilities, calibrate, clip_learner, composer_figures, composer_learner, embeddings,
                              histograms, judge_hash, probabilities, run_clips)
from musiclm.corpus import clips, toy_corpus
from musiclm.data import classifier_dataloaders
from musiclm.models import load_model, save_model

LENGTH = 48


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=40, beats=32)


@pytest.fixture(scope='module')
def cut(corpus): return {s: clips(corpus, LENGTH, s) for s in ('train', 'valid', 'test')}


def make_learner(corpus, cut, **kwargs):
    (a, info), (b, more) = cut['train'], cut['valid']
    names = np.r_[info['composer'], more['composer']]
    torch.manual_seed(0)
    dls = classifier_dataloaders(np.r_[a, b], names, np.arange(len(names)) >= len(a), corpus.encoder, bs=16, device='cpu')
    return composer_learner(dls, size='tiny', lr=1e-2, **kwargs)


@pytest.fixture(scope='module')
def learn(corpus, cut):
    learn = make_learner(corpus, cut)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(4)
    calibrate(learn, cut['valid'][0], cut['valid'][1]['composer'])
    return learn


def loss(p, names, labels): return -np.log(p[np.arange(len(p)), [labels.index(o) for o in names]]).mean()


def test_it_learns_to_tell_composers(learn, cut):
    x, info = cut['test']
    p = probabilities(learn, x)
    assert p.shape == (len(x), 2) and p.sum(1) == pytest.approx(1) and p.dtype == np.float64
    assert np.mean(np.array(learn.model.labels)[p.argmax(1)] == info['composer']) > .85
    assert learn.model.clip_length == LENGTH and learn.model.labels == ['alto', 'basso']


def test_probabilities_divide_logits_by_the_temperature(learn, cut):
    x = cut['test'][0]
    z, t = run_clips(learn, x), learn.model.temperature
    assert probabilities(learn, x) == pytest.approx(softmax(z.astype(float)/t, axis=1))
    learn.model.temperature = 3.
    assert probabilities(learn, x) == pytest.approx(softmax(z.astype(float)/3, axis=1))
    learn.model.temperature = t


def test_calibration_finds_the_best_temperature(learn, cut):
    model, (x, info) = deepcopy(learn.model), cut['valid']
    with torch.no_grad(): model.out[-1].weight.mul_(40)
    labels = info['composer'].where(np.arange(len(x))%9 != 0, 'alto') # some wrong, so that no certainty is right
    t = calibrate(model, x, labels)
    assert t == model.temperature and t > 1.5
    at = {}
    for f in (.25, .6, 1, 1.7, 4):
        model.temperature = f*t
        at[f] = loss(probabilities(model, x), labels, model.labels)
    assert min(at, key=at.get) == 1


def test_clips_are_read_the_same_in_any_batch_and_order(learn, cut):
    x = cut['test'][0]
    p, order = probabilities(learn, x), np.random.default_rng(0).permutation(len(x))
    assert probabilities(learn, x, bs=1) == pytest.approx(p, abs=1e-5)
    assert probabilities(learn, x, bs=7) == pytest.approx(p, abs=1e-5)
    assert probabilities(learn, x[order]) == pytest.approx(p[order], abs=1e-5)


def test_reading_leaves_the_model_in_its_mode(learn, cut):
    for training in (True, False):
        learn.model.train(training)
        probabilities(learn, cut['test'][0][:3])
        assert learn.model.training is training


def test_embeddings(learn, cut):
    e = embeddings(learn, cut['test'][0])
    assert e.shape == (len(cut['test'][0]), 50) and np.isfinite(e).all() and e.std() > 0


def test_other_clips_than_it_learnt_from_are_refused(learn, cut):
    x = cut['test'][0]
    with pytest.raises(ValueError, match='clips of 40 tokens for a classifier trained on clips of 48'): probabilities(learn, x[:, :40])
    with pytest.raises(ValueError, match='beyond'): probabilities(learn, np.full((2, LENGTH), 5000))
    with pytest.raises(ValueError, match='shape'): probabilities(learn, x[0])
    assert probabilities(learn, x[:0]).shape == (0, 2)


def test_one_composer_is_too_few(corpus, cut):
    x = cut['train'][0]
    dls = classifier_dataloaders(x, ['alto']*len(x), np.arange(len(x)) < 3, corpus.encoder, device='cpu')
    with pytest.raises(ValueError, match='at least two composers'): composer_learner(dls, size='tiny')


def test_the_hash_names_weights_and_temperature(learn, tmp_path):
    name, t = judge_hash(learn), learn.model.temperature
    assert len(name) == 12 and judge_hash(learn.model) == name
    learn.model.temperature = t + .01
    assert judge_hash(learn) != name
    learn.model.temperature = t
    w = learn.model.out[-1].weight
    with torch.no_grad(): w[0, 0] += 1e-3
    assert judge_hash(learn) != name
    with torch.no_grad(): w[0, 0] -= 1e-3
    learn.model.labels = ['basso', 'alto']
    assert judge_hash(learn) != name
    learn.model.labels = ['alto', 'basso']


def test_a_stored_judge_is_the_same_judge(learn, cut, tmp_path):
    again = load_model(save_model(learn, tmp_path/'m'))
    assert np.array_equal(probabilities(again, cut['test'][0]), probabilities(learn.model.eval(), cut['test'][0]))
    assert judge_hash(again) == judge_hash(load_model(tmp_path/'m'))


def test_the_hash_of_a_judge_is_that_of_its_file(corpus, cut, tmp_path):
    "Training and loading give one name, so that figures of the same judge can be told to be."
    learn = make_learner(corpus, cut)
    assert judge_hash(load_model(save_model(learn, tmp_path/'m'))) == judge_hash(learn)


def test_training_repeats_under_a_seed(corpus, cut):
    def train():
        learn = make_learner(corpus, cut)
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1)
        return learn.recorder.values[-1][:2]
    assert train() == train()


def test_histograms_by_hand(corpus):
    enc = corpus.encoder
    x = np.stack([enc.from_text('v60 p40 wait1 v67 wait1 v60 p43'), enc.from_text('p90 p91 wait2 wait2 wait2 p30 v50')])
    h = histograms(x, enc)
    V = len(enc.vocab)
    assert h.shape == (2, V + 98) and h[:, :V].sum(1).tolist() == [7, 7]
    assert h[0, enc.vocab.stoi['v60']] == 2 and h[1, enc.vocab.stoi['wait2']] == 3
    v, p = h[:, V:V + 49], h[:, V + 49:]
    assert np.flatnonzero(v[0]).tolist() == [24 - 7, 24 + 7] and v[1].sum() == 0
    assert np.flatnonzero(p[0]).tolist() == [24 + 3] and np.flatnonzero(p[1]).tolist() == [0, 24 + 1] # -61 counts as -24


def test_the_baseline_learns_and_keeps_the_order_of_classes(corpus, cut):
    (x, info), (test, about) = cut['train'], cut['test']
    p = baseline_probabilities(x, info['composer'], test, corpus.encoder, ['alto', 'basso'])
    q = baseline_probabilities(x, info['composer'], test, corpus.encoder, ['basso', 'alto'])
    assert np.array_equal(p, q[:, ::-1]) and p.sum(1) == pytest.approx(1)
    assert loss(p, about['composer'], ['alto', 'basso']) < .3


def test_figures_by_hand():
    p = np.array([[.8, .2], [.6, .4], [.3, .7], [.9, .1]])
    f = composer_figures(p, ['a', 'b', 'b', 'a'], ['w', 'x', 'y', 'z'], ['a', 'b'])
    assert f['confusion'].tolist() == [[2, 0], [1, 1]]
    assert f['accuracy'].value == .75
    assert f['log_loss'].value == pytest.approx(-np.log([.8, .4, .7, .9]).mean())
    assert f['macro_f1'].value == pytest.approx((.8 + 2/3)/2)


def test_any_architecture_judges(corpus, cut):
    (x, info) = cut['train']
    dls = classifier_dataloaders(x, info['composer'], np.arange(len(x)) < 8, corpus.encoder, bs=16, device='cpu')
    learn = clip_learner(dls, 'transformer', 'tiny', n_emb=7)
    assert probabilities(learn, x[:5]).shape == (5, 2) and embeddings(learn, x[:5]).shape == (5, 7)
