"The judge: calibrated, named by its weights, and strict about what it is given."
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax

from musiclm.composer import (Guess, baseline_probabilities, calibrate, calibrate_judge, clip_learner, composer_clips,
                              composer_dataloaders, evaluate_composer, composer_learner, embeddings, predict, histogram_features, judge_hash,
                              probabilities, run_clips, ood_score)
from musiclm.corpus import clips, toy_corpus
from musiclm.corruptions import NO_COMPOSER
from musiclm.data import classifier_dataloaders
from musiclm.models import load_model, save_model
from musiclm.architectures import make_classifier, make_model
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

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
    return composer_learner(dls, **{'size': 'tiny', 'lr': 1e-2, **kwargs})


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
    enc = NotewiseEncoder(EncodingConfig(durations=False))
    x = np.stack([enc.from_text('v60 p40 wait1 v67 wait1 v60 p43'), enc.from_text('p90 p91 wait2 wait2 wait2 p30 v50')])
    h = histogram_features(x, enc)
    V = len(enc.vocab)
    assert h.shape == (2, V + 98 + 98) and h[:, :V].sum(1).tolist() == [7, 7]
    assert h[0, enc.vocab.stoi['v60']] == 2 and h[1, enc.vocab.stoi['wait2']] == 3
    v, p, long, gap = (h[:, V + 49*k:V + 49*(k + 1)] for k in range(4))
    assert np.flatnonzero(v[0]).tolist() == [24 - 7, 24 + 7] and v[1].sum() == 0
    assert np.flatnonzero(p[0]).tolist() == [24 + 3] and np.flatnonzero(p[1]).tolist() == [0, 24 + 1] # -61 counts as -24
    assert long.sum(1).tolist() == [5, 4] and gap[0, 1] == 2 and gap[1, 6] == 1 and gap.sum() == 3


def test_the_baseline_learns_and_keeps_the_order_of_classes(corpus):
    x, info = composer_clips(corpus, 60, LENGTH, 16, spoilt=0, n_test=None)
    about = info[info['split'] == 'test']
    p = baseline_probabilities(x, info, corpus.encoder, ['alto', 'basso'])
    q = baseline_probabilities(x, info, corpus.encoder, ['basso', 'alto'])
    assert p == pytest.approx(q[:, ::-1], abs=1e-4) and p.sum(1) == pytest.approx(1)
    assert len(p) == len(about) and loss(p, about['composer'], ['alto', 'basso']) < .3


def test_figures_by_hand():
    p = np.array([[.8, .2], [.6, .4], [.3, .7], [.9, .1]])
    info = pd.DataFrame(dict(composer=list('abba'), work=list('wxyz'), piece=[0, 1, 2, 3]))
    f = evaluate_composer(p, info, ['a', 'b'])
    assert f['confusion'].tolist() == [[2, 0], [1, 1]]
    assert f['accuracy'].value == f['piece_accuracy'].value == .75
    assert f['log_loss'].value == pytest.approx(-np.log([.8, .4, .7, .9]).mean())
    assert f['macro_f1'].value == pytest.approx((.8 + 2/3)/2)
    pooled = evaluate_composer(p, info.assign(piece=[0, 1, 1, 2], work=list('wxxz')), ['a', 'b'])['piece_accuracy']
    assert pooled.value == 1 and pooled.n == 3 # .45 against .55


@pytest.fixture(scope='module')
def judged(corpus):
    x, info = composer_clips(corpus, 160, LENGTH, 16, n_test=None)
    torch.manual_seed(0)
    learn = composer_learner(composer_dataloaders(x, info, corpus.encoder, bs=16, device='cpu'), size='tiny', lr=1e-2)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(6)
    calibrate_judge(learn, x, info)
    return learn, x, info


def test_clips_of_a_judge_keep_to_their_splits(judged, corpus):
    _, x, info = judged
    split = corpus.manifest.set_index('work')['split']
    assert len(x) == len(info) and (info['work'].map(split.groupby(level=0).first()) == info['split']).all()
    assert info.loc[info['split'] == 'test', 'corruption'].isna().all()
    spoilt = info[info['corruption'].notna()]
    assert set(spoilt['label']) == {'alto', 'basso', NO_COMPOSER}
    none = spoilt['label'] == NO_COMPOSER
    assert spoilt['level'][none].mean() > .5 > spoilt['level'][~none].mean()


def test_no_composer_is_spread_over_all(judged):
    learn, x, info = judged
    p, none, e = predict(learn, x)
    assert e == pytest.approx(embeddings(learn, x), abs=1e-6)
    z = run_clips(learn, x).astype(float)/learn.model.temperature
    assert z.shape == (len(x), 3) and learn.model.labels == ['alto', 'basso']
    assert none == pytest.approx(softmax(z, axis=1)[:, 2]) and p == pytest.approx(softmax(z[:, :2], axis=1))
    assert probabilities(learn, x) == pytest.approx(p*(1 - none[:, None]) + none[:, None]/2)
    noise = np.random.default_rng(0).permuted(x, axis=1)
    test = (info['split'] == 'test').to_numpy()
    assert none[test].mean() < predict(learn, noise).none.mean()
    without = make_learner_without(x, info)
    assert (predict(without, x).none == 0).all() and not without.model.none


def make_learner_without(x, info):
    real = info['corruption'].isna().to_numpy()
    return composer_learner(composer_dataloaders(x[real], info[real].reset_index(drop=True), toy_corpus(4).encoder, device='cpu'), size='tiny')


def test_a_guess(judged, corpus, tmp_path):
    learn, x, info = judged
    again = load_model(save_model(learn, tmp_path/'m'))
    assert float(again.limit) == float(learn.model.limit) < np.inf and judge_hash(again) == judge_hash(learn)
    valid = ((info['split'] == 'valid') & info['corruption'].isna()).to_numpy()
    far = pd.Series(ood_score(again, embeddings(again, x[valid]))).groupby(info['piece'][valid].to_numpy()).median()
    assert far.quantile(.95) == pytest.approx(1)
    found = [again.guess(corpus.notes(i)) for i in corpus.indices('test')]
    assert [g.composers.index[0] for g in found] == list(corpus.manifest.composer[corpus.indices('test')])
    assert all(g.composers.sum() == pytest.approx(1) and g.composers.is_monotonic_decreasing and not g.unlike_any for g in found)
    same = again.guess(corpus.tokens(corpus.indices('test')[0]))
    assert same.composers.to_dict() == found[0].composers.to_dict() and same.n == found[0].n > 1
    with pytest.raises(ValueError, match='too short'): again.guess(corpus.tokens(0)[:20])
    fresh = make_learner_without(x, info).model
    assert np.isnan(ood_score(fresh, embeddings(fresh, x[:3]))).all() # nothing is usual before it is learnt
    noise = np.r_[1, np.random.default_rng(1).integers(3, len(corpus.vocab), 400)]
    assert again.guess(noise).unlike_any and 'unlike any' in str(again.guess(noise)) and again.guess(noise).answer == 'unlike any'


def test_a_composer_without_test_works_is_left_out(corpus):
    m = corpus.select(range(len(corpus)))
    m.manifest.loc[(m.manifest.composer == 'basso') & (m.manifest.split == 'test'), 'composer'] = 'carlo'
    with pytest.raises(ValueError, match='only alto has clips of 48 tokens'): composer_clips(m, 40, LENGTH, 16)


def test_an_encoder_starts_from_a_language_model(corpus, cut):
    lm = make_model(len(corpus.vocab), 'awd_lstm', 'tiny')
    lm.vocab, lm.encoding = corpus.vocab, corpus.encoder.config
    learn = make_learner(corpus, cut, start=lm)
    for k, w in lm.state_dict().items(): assert torch.equal(learn.model.lm.state_dict()[k], w)
    assert all(p.requires_grad for p in learn.model.parameters())
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert not torch.equal(learn.model.lm.body.encoder.weight, lm.body.encoder.weight)
    with pytest.raises(ValueError, match='other layers'): make_learner(corpus, cut, start=lm, options=dict(n_hid=32, emb_sz=32))
    with pytest.raises(ValueError, match='cannot start'): make_learner(corpus, cut, start=lm, arch='roll_cnn', options=dict(channels=(4, 4)))


def test_weights_of_classes_count_in_the_loss(corpus, cut):
    learn = make_learner(corpus, cut, weights=dict(alto=3.))
    z, y = torch.tensor([[1., 0.], [0., 2.]]), torch.tensor([0, 0])
    by_hand = -(3*torch.log_softmax(z, 1)[:, 0]).sum()/6
    assert float(learn.loss_func(z, y)) == pytest.approx(float(by_hand))


def test_the_roll_is_drawn_as_the_notes_are(corpus, cut):
    x, enc = cut['test'][0], corpus.encoder
    model = make_classifier(len(enc.vocab), ['a', 'b'], 'roll_cnn', 'tiny', clip_length=LENGTH, encoding=enc.config)
    drawn = model.roll(torch.tensor(x.astype(int))).numpy()
    for clip, roll in zip(x, drawn):
        notes, by_hand = enc.decode(clip), np.zeros_like(roll)
        for n in notes.itertuples():
            if n.onset >= by_hand.shape[2]: continue
            by_hand[n.part, n.pitch, n.onset] = 1
            by_hand[2 + n.part, n.pitch, n.onset:n.onset + n.duration] = 1
        whole = [n for n in notes.itertuples()] # a note that the clip does not end goes on in the roll
        last = notes['onset'].max()
        assert np.array_equal(roll[..., :last], by_hand[..., :last]), len(whole)


def test_a_convolutional_judge(corpus, cut, tmp_path):
    learn = make_learner(corpus, cut, arch='roll_cnn', options=dict(channels=(4, 8)))
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(10)
    x, info = cut['test']
    again, p = load_model(save_model(learn, tmp_path/'m')), probabilities(learn, x)
    assert np.array_equal(probabilities(again, x), p) and again.build['arch'] == 'roll_cnn'
    assert np.mean(np.array(again.labels)[p.argmax(1)] == info['composer']) > .8
    with pytest.raises(ValueError, match='chordwise'):
        make_classifier(9, ['a', 'b'], 'roll_cnn', encoding=EncodingConfig(scheme='chordwise', steps_per_beat=4))


def test_any_architecture_judges(corpus, cut):
    (x, info) = cut['train']
    dls = classifier_dataloaders(x, info['composer'], np.arange(len(x)) < 8, corpus.encoder, bs=16, device='cpu')
    learn = clip_learner(dls, 'transformer', 'tiny', n_emb=7)
    assert probabilities(learn, x[:5]).shape == (5, 2) and embeddings(learn, x[:5]).shape == (5, 7)


def test_there_is_a_share_of_spoilt_clips_for_each_real_one_there_is(corpus):
    _, info = composer_clips(corpus, 2400, LENGTH, 16) # many more than there are
    by = info.assign(real=info['corruption'].isna()).groupby(['split', 'real']).size().unstack(fill_value=0)
    assert by.loc['train', True] < 400
    for split in ('train', 'valid'): assert .5 < by.loc[split, False]/by.loc[split, True] <= .68
    assert by.loc['test', False] == 0


@pytest.mark.parametrize('none, strange, said', [
    (.17, .8, 'bach 60%, alto 40% (2 clips)'), (.17, 1.08, 'unlike any (OOD score 1.08, over 1); nearest: bach 60%, alto 40% (2 clips)'),
    (.6, .8, 'unlike any (no composer 60%, over 50%); nearest: bach 60%, alto 40% (2 clips)'), (.17, float('nan'), 'bach 60%, alto 40% (2 clips)')])
def test_a_guess_says_why_it_is_unlike_any(none, strange, said):
    assert str(Guess(pd.Series({'bach': .6, 'alto': .4}), none, strange, 2)) == said
