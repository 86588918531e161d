"Learners that learn, stop and go on; and held-out nats that do not depend on how they are computed."
import json
import random
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from fastai.callback.core import Callback

from musiclm.corpus import toy_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import HPARAMS, Checkpoints, generator_learner, default_hparams, token_nll
from musiclm.compare import evaluate_lm
from musiclm.models import load_model, save_model
from musiclm.architectures import ARCHS, make_classifier, make_model
from musiclm.ngram import NGram
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import BOS, EncodingConfig

DRY = {'awd_lstm': dict(output_p=0., hidden_p=0., input_p=0., embed_p=0., weight_p=.01), 'transformer': dict(dropout=0.)}


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=40, beats=16)


def random_model(corpus, arch):
    torch.manual_seed(0)
    model = make_model(len(corpus.vocab), arch, 'tiny')
    with torch.no_grad():
        for p in model.parameters(): p.mul_(1.5) # opinions strong enough that a wrong context shows
    model.vocab, model.encoding = corpus.vocab, corpus.encoder.config
    return model.eval()


@pytest.fixture(scope='module', params=['awd_lstm', 'transformer'])
def model(request, corpus): return random_model(corpus, request.param)


@pytest.fixture(scope='module')
def lstm(corpus): return random_model(corpus, 'awd_lstm')


@pytest.fixture(scope='module')
def ngram(corpus):
    return NGram.fit([corpus.tokens(i) for i in corpus.indices('train')], corpus.vocab, corpus.encoder.config, order=3)


@pytest.fixture(scope='module')
def pieces(corpus):
    "Of very different lengths."
    return [corpus.tokens(i)[:n] for i, n in enumerate([500, 2, 57, 30, 69, 500, 31, 400, 64, 65])]


def by_step(model, piece):
    "Nats of all tokens but the first, one token at a time."
    state, nats = model.init_state(1), []
    for a, b in zip(piece[:-1].astype(int), piece[1:].astype(int)):
        logits, state = model.step(torch.tensor([a]), state)
        nats.append(-torch.log_softmax(logits[0].double(), 0)[b].item())
    return np.array(nats)


@pytest.mark.parametrize('arch', ['awd_lstm', 'transformer'])
def test_a_learner_overfits_one_batch(corpus, arch):
    few = corpus.select([corpus.indices('train')[0], corpus.indices('valid')[0]])
    dls = lm_dataloaders(few, bs=2, seq_len=60, semitones=None, device='cpu')
    torch.manual_seed(0)
    learn = generator_learner(dls, arch, 'tiny', options=DRY[arch], lr={'awd_lstm': .03, 'transformer': 5e-3}[arch])
    x, y = (o[:, :60] for o in dls.one_batch())
    learn.dls.train, learn.dls.valid = [(x, y)], [(x, y)]
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(150)
    loss = learn.recorder.values[-1][1]
    assert loss < .1
    assert learn.model.vocab == corpus.vocab and learn.model.encoding == corpus.encoder.config


def test_training_lowers_held_out_loss_and_repeats_under_a_seed(corpus):
    def train(seed):
        torch.manual_seed(seed)
        learn = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny')
        before = learn.model.eval(), evaluate_lm(learn, corpus)['nats_per_token'].value
        with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(3)
        return before[1], evaluate_lm(learn, corpus)['nats_per_token'].value
    before, after = train(0)
    assert after < before - 1
    assert train(0) == (before, after) and train(1)[1] != after


def test_nats_are_those_of_the_steps(model, pieces):
    for nats, p in zip(token_nll(model, pieces), pieces):
        assert nats.shape == (len(p) - 1,) and nats == pytest.approx(by_step(model, p), abs=2e-4)


@pytest.mark.parametrize('bs,window', [(1, 256), (3, 256), (100, 256), (4, 1000)])
def test_nats_do_not_depend_on_the_batch(model, pieces, bs, window):
    for a, b in zip(token_nll(model, pieces), token_nll(model, pieces, bs=bs, window=window)):
        assert a == pytest.approx(b, abs=2e-4)


@pytest.mark.parametrize('window', [1, 7, 64])
def test_an_lstm_hears_across_windows(lstm, pieces, window):
    for a, b in zip(token_nll(lstm, pieces[1:5]), token_nll(lstm, pieces[1:5], bs=2, window=window)): assert a == pytest.approx(b, abs=2e-4)


def test_a_transformer_hears_at_least_one_window_back(corpus, pieces):
    t = random_model(corpus, 'transformer')
    for a, p in zip(token_nll(t, pieces[1:5], window=40), pieces[1:5]): assert a[:80] == pytest.approx(by_step(t, p)[:80], abs=2e-4)


def test_nats_do_not_depend_on_the_order_of_pieces(model, ngram, pieces):
    order = np.random.default_rng(0).permutation(len(pieces))
    for m in (model, ngram):
        whole, mixed = token_nll(m, pieces, bs=3), token_nll(m, [pieces[i] for i in order], bs=3)
        for k, i in enumerate(order): assert mixed[k] == pytest.approx(whole[i], abs=2e-4)


def test_nats_leave_the_model_as_it_was(model, pieces):
    model.train()
    a = token_nll(model, pieces[:3])
    assert model.training
    model.eval()
    assert np.array_equal(a[0], token_nll(model, pieces[:3])[0]) and not model.training


def test_ngrams_are_measured_by_the_same_function(ngram, pieces):
    for nats, p in zip(token_nll(ngram, pieces), pieces): assert nats == pytest.approx(by_step(ngram, p), abs=1e-4)
    before = token_nll(ngram, pieces)[0].mean()
    ngram.order = 1
    assert token_nll(ngram, pieces)[0].mean() > before + .5
    ngram.order = 3


@pytest.mark.parametrize('kind', ['lstm', 'ngram'])
@pytest.mark.parametrize('split', ['valid', 'test'])
def test_evaluation_by_hand(request, corpus, kind, split):
    model, rows = request.getfixturevalue(kind), corpus.indices(split)
    nats = [by_step(model, corpus.tokens(i)) for i in rows]
    total, n_tokens = sum(o.sum() for o in nats), sum(map(len, nats))
    n_notes = sum(len(corpus.notes(i)) for i in rows)
    found = evaluate_lm(model, corpus, split)
    assert found['nats_per_token'].value == pytest.approx(total/n_tokens, rel=1e-4)
    assert found['bits_per_note'].value == pytest.approx(total/n_notes/np.log(2), rel=1e-4)
    assert (found['n_tokens'], found['n_notes']) == (n_tokens, n_notes)
    assert found['n_works'] == corpus.manifest['work'][rows].nunique()
    for k in ('nats_per_token', 'bits_per_note'): assert found[k].low <= found[k].value <= found[k].high


def test_one_token_more_in_the_vocabulary_costs_its_logarithm(corpus):
    "A model that knows nothing says ln V of every token."
    model = random_model(corpus, 'transformer')
    with torch.no_grad(): model.emb.weight.zero_()
    assert evaluate_lm(model, corpus)['nats_per_token'].value == pytest.approx(np.log(len(corpus.vocab)), rel=1e-5)
    assert all(p[0] == BOS for p in (corpus.tokens(i) for i in range(len(corpus))))


def test_a_learner_is_a_model(corpus, lstm, pieces):
    learn = generator_learner(lm_dataloaders(corpus, bs=2, device='cpu'), size='tiny')
    learn.model = lstm
    assert np.array_equal(token_nll(learn, pieces)[0], token_nll(lstm, pieces)[0])


# Trainings that stop and go on

class Stop(Callback):
    "An interrupt in the middle of an epoch."
    def __init__(self, epoch=1, iter=2, error=KeyboardInterrupt): self.at, self.error = (epoch, iter), error
    def after_batch(self):
        if self.training and (self.learn.epoch, self.learn.iter) == self.at: raise self.error


class Spoil(Callback):
    "What a loss is in one batch."
    def __init__(self, value, epoch, iter): self.value, self.at = value, (epoch, iter)
    def after_loss(self):
        if self.training and (self.learn.epoch, self.learn.iter) == self.at: self.learn.loss_grad = self.learn.loss_grad*self.value


def learner(corpus, arch='awd_lstm', bs=8, seed=0, data_seed=0, **kwargs):
    torch.manual_seed(seed)
    return generator_learner(lm_dataloaders(corpus, bs=bs, seq_len=32, seed=data_seed, device='cpu'), arch, 'tiny', **kwargs)


def fit(learn, *cbs, epochs=3, **kwargs):
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, cbs=cbs, **kwargs)
    return learn


def weights(learn): return {n: p.detach().clone() for n, p in learn.model.named_parameters()}


def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope='module')
def small(): return toy_corpus(n=16, beats=32)


@pytest.fixture
def kept(small, tmp_path):
    "A training that stopped in its second epoch."
    with pytest.raises(KeyboardInterrupt): fit(learner(small), Checkpoints(tmp_path/'kept'), Stop())
    return tmp_path/'kept'


@pytest.mark.parametrize('arch', ['awd_lstm', 'transformer'])
def test_an_interrupted_training_goes_on_exactly(small, arch, tmp_path):
    "With dropout and transposition; the second Learner begins with other weights and other random states."
    unbroken = fit(learner(small, arch))
    with pytest.raises(KeyboardInterrupt): fit(learner(small, arch), Checkpoints(tmp_path/'kept'), Stop())
    assert [p.name for p in (tmp_path/'kept').iterdir()] == ['epoch-00001']
    other = learner(small, arch, seed=5)
    for _ in range(3): other.dls.train.one_batch() # its data stand elsewhere
    np.random.seed(9); random.seed(9)
    resumed = fit(other, Checkpoints(tmp_path/'kept'))
    assert same(weights(resumed), weights(unbroken))
    a, b = unbroken.recorder, resumed.recorder
    assert len(a.values) == 3 and a.values == b.values and a.lrs == b.lrs and a.iters == b.iters and a.hps == b.hps
    assert torch.equal(torch.stack(a.losses), torch.stack(b.losses))
    for p, q in zip(unbroken.model.parameters(), resumed.model.parameters()):
        assert all(torch.equal(torch.as_tensor(v), torch.as_tensor(resumed.opt.state[q][k])) for k, v in unbroken.opt.state[p].items())


def test_a_training_goes_on_as_often_as_it_stops(small, tmp_path):
    unbroken, keep = fit(learner(small), epochs=4), Checkpoints(tmp_path/'kept')
    for epoch in (0, 1, 3):
        with pytest.raises(KeyboardInterrupt): fit(learner(small), keep, Stop(epoch), epochs=4)
    assert same(weights(fit(learner(small), keep, epochs=4)), weights(unbroken))
    again = fit(learner(small, seed=3), keep, Stop(0, 0), epochs=4) # whole already: nothing is trained
    assert same(weights(again), weights(unbroken)) and again.recorder.values == unbroken.recorder.values
    more = fit(again, epochs=1) # without the folder a fit begins at its first epoch
    assert len(more.recorder.values) == 1 and not same(weights(more), weights(unbroken))


def test_checkpoints_every_other_epoch(small, tmp_path):
    keep = Checkpoints(tmp_path/'kept', every=2)
    with pytest.raises(KeyboardInterrupt): fit(learner(small), keep, Stop(1))
    assert not keep.found()
    fit(learner(small), keep)
    assert [p.name for p in keep.found()] == ['epoch-00003']


def test_a_checkpoint_is_a_model_and_nothing_is_pickled(small, kept):
    assert sorted(p.name for p in (kept/'epoch-00001').iterdir()) == ['README.md', 'model.json', 'model.safetensors', 'sha256.json', 'training.json',
                                                                      'training.safetensors', 'vocab.json']
    json.loads((kept/'epoch-00001'/'training.json').read_text())
    safetensors.torch.load_file(kept/'epoch-00001'/'training.safetensors')
    model = load_model(kept/'epoch-00001')
    assert model.card == dict(epoch=1, epochs=3) and evaluate_lm(model, small)['nats_per_token'].value < 6
    tuned = generator_learner(lm_dataloaders(small, bs=4, device='cpu'), start=kept/'epoch-00001')
    assert same(weights(tuned), dict(model.named_parameters()))


def test_a_checkpoint_appears_whole_or_not_at_all(small, kept, monkeypatch):
    before = {p.name: p.read_bytes() for p in (kept/'epoch-00001').iterdir()}
    def stop(*args, **kwargs): raise KeyboardInterrupt
    monkeypatch.setattr(safetensors.torch, 'save_file', stop)
    with pytest.raises(KeyboardInterrupt): fit(learner(small), Checkpoints(kept))
    assert [p.name for p in kept.iterdir()] == ['epoch-00001']
    assert {p.name: p.read_bytes() for p in (kept/'epoch-00001').iterdir()} == before


REFUSED = {
    'of 3 epochs, not of 4': lambda c, keep: fit(learner(c), keep, epochs=4),
    'lr 0.012, not 0.003': lambda c, keep: fit(learner(c, lr=3e-3), keep),
    'lr 0.012, not 0.02': lambda c, keep: fit(learner(c), keep, lr_max=.02),
    'on other music': lambda c, keep: fit(learner(toy_corpus(n=16, beats=32, seed=1)), keep),
    'bs 8, not 4': lambda c, keep: fit(learner(c, bs=4), keep),
    'seed 0, not 1': lambda c, keep: fit(learner(c, data_seed=1), keep),
    'arch awd_lstm, not transformer': lambda c, keep: fit(learner(c, 'transformer'), keep),
    'clip 1.0, not 0.5': lambda c, keep: fit(learner(c, clip=.5), keep),
    'wd 0.01, not 0.1': lambda c, keep: fit(learner(c, wd=.1), keep),
    'from other weights': lambda c, keep: fit(learner(c, start=learner(c)), keep),
}


@pytest.mark.parametrize('says', REFUSED)
def test_a_checkpoint_of_another_training_is_refused(small, kept, says):
    with pytest.raises(ValueError) as e: REFUSED[says](small, Checkpoints(kept))
    assert says in str(e.value) and str(kept) in str(e.value) and '\n' not in str(e.value)
    assert [p.name for p in kept.iterdir()] == ['epoch-00001']


@pytest.mark.parametrize('name', ['training.json', 'training.safetensors', 'model.safetensors'])
@pytest.mark.parametrize('data', [b'', b'{}', b'no JSON'])
def test_a_broken_checkpoint_is_said_in_a_line(small, kept, name, data):
    (kept/'epoch-00001'/name).write_bytes(data)
    with pytest.raises(ValueError) as e: fit(learner(small), Checkpoints(kept))
    assert str(kept/'epoch-00001') + ' cannot be read' in str(e.value) and '\n' not in str(e.value)


def test_validation_and_the_lr_finder_leave_checkpoints_alone(small, kept):
    learn = learner(small, cbs=Checkpoints(kept))
    before = weights(learn)
    with learn.no_bar(), learn.no_logging(): learn.validate()
    assert same(weights(learn), before) and [p.name for p in kept.iterdir()] == ['epoch-00001']


# Losses that are no numbers

@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_loss_that_is_no_number_stops_with_one_line(small, tmp_path, value):
    keep = Checkpoints(tmp_path/'kept')
    learn = learner(small)
    with pytest.raises(ValueError) as e: fit(learn, keep, Spoil(value, 1, 2))
    said = str(e.value)
    assert said.startswith(f'training stopped at batch 3 of epoch 2: the loss is {value}') and 'lower lr' in said
    assert 'as it was after epoch 1' in said and '\n' not in said
    assert same(weights(learn), dict(load_model(keep.found()[-1]).named_parameters()))
    unbroken = fit(learner(small))
    assert same(weights(fit(learn, keep)), weights(unbroken)) # all of it was put back


def test_a_loss_that_is_no_number_makes_no_step(small):
    learn, at = learner(small), {}
    class Look(Callback):
        def before_backward(self): at.update(weights(self.learn))
    with pytest.raises(ValueError, match='batch 2 of epoch 1'): fit(learn, Look(), Spoil(float('nan'), 0, 1))
    assert same(weights(learn), at) and all(p.isfinite().all() for p in learn.model.parameters())
    fit(learn, epochs=1) # and the Learner can be used again
    assert len(learn.recorder.values) == 1


# Fine-tuning

def saved(learn, folder): return save_model(learn, folder/'model')


@pytest.mark.parametrize('arch', ['awd_lstm', 'transformer'])
@pytest.mark.parametrize('as_what', ['folder', 'module', 'learner'])
def test_fine_tuning_begins_as_the_saved_model(small, corpus, arch, as_what, tmp_path):
    old = fit(learner(small, arch, options=DRY[arch]), epochs=1)
    start = {'folder': saved(old, tmp_path), 'module': load_model(tmp_path/'model'), 'learner': old}[as_what]
    before = weights(old)
    new = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), start=start)
    assert same(weights(new), before) and new.model.build == old.model.build
    assert new.lr == default_hparams(arch, 'tiny')['lr']/2
    assert np.array_equal(token_nll(new, [corpus.tokens(0)])[0], token_nll(old, [corpus.tokens(0)])[0])
    fit(new, epochs=1)
    assert same(weights(old), before) and not same(weights(new), before)


def test_fine_tuning_helps(small, corpus):
    "One epoch behind another corpus of this sort is worth more than one from random weights."
    old = fit(learner(corpus), epochs=6)
    scratch, tuned = fit(learner(small), epochs=1), fit(learner(small, start=old), epochs=1)
    assert tuned.recorder.values[-1][1] < scratch.recorder.values[-1][1] - .5


@pytest.mark.parametrize('asked,says', [
    (dict(arch='transformer'), 'has arch awd_lstm, not transformer'), (dict(size='small'), 'has size tiny, not small'),
    (dict(options=dict(n_hid=32)), 'has n_hid 64, not 32')])
def test_what_differs_from_the_start_is_refused(small, asked, says):
    with pytest.raises(ValueError, match=says): generator_learner(lm_dataloaders(small, bs=4, device='cpu'), start=learner(small), **asked)
    generator_learner(lm_dataloaders(small, bs=4, device='cpu'), 'awd_lstm', 'tiny', start=learner(small),
                      options=dict(n_hid=64, output_p=.05)) # as it is


@pytest.mark.parametrize('config,says', [(dict(max_wait=None), 'max_wait 12 against None'),
                                         (dict(fold_violin=True), 'fold_violin False against True')])
def test_other_tokens_are_refused(small, config, says):
    other = toy_corpus(n=16, beats=32, encoder=NotewiseEncoder(EncodingConfig(**config)))
    with pytest.raises(ValueError) as e: learner(other, start=learner(small))
    assert says in str(e.value) and '\n' not in str(e.value)


def test_only_a_generator_that_trains_can_be_fine_tuned(small, ngram):
    judge = make_classifier(len(small.vocab), ['a', 'b'], size='tiny')
    for start, name in ((ngram, 'NGram'), (judge, 'ClipClassifier'), (torch.nn.Linear(1, 1), 'Linear')):
        with pytest.raises(ValueError, match=f'not from {name}'): learner(small, start=start)
    with pytest.raises(ValueError, match='holds no model'): learner(small, start='nowhere')


# Settings, and bits per note in the table

def test_every_size_has_its_recipe():
    assert {a: set(sizes) for a, sizes in HPARAMS.items()} == {a: set(about['sizes']) for a, about in ARCHS.items()}
    assert all(set(r) == {'lr', 'bs', 'seq_len'} for sizes in HPARAMS.values() for r in sizes.values())
    assert default_hparams('transformer')['seq_len'] > default_hparams('awd_lstm')['seq_len']


def test_nothing_of_a_gpu_runs_on_a_cpu(small):
    assert not hasattr(learner(small), 'mixed_precision')
    with pytest.raises(ValueError, match='GPU'): learner(small, bf16=True)


def test_a_gpu_that_has_bfloat16_computes_in_it(small, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)
    dls = lm_dataloaders(small, bs=4, device='cpu')
    monkeypatch.setattr(type(dls), 'device', torch.device('cuda'))
    assert generator_learner(dls, size='tiny').mixed_precision.amp_mode.value == 'bf16'
    assert not hasattr(generator_learner(dls, size='tiny', bf16=False), 'mixed_precision')
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: False)
    assert not hasattr(generator_learner(dls, size='tiny'), 'mixed_precision')


def bits(learn, corpus):
    learn.model.eval()
    with learn.no_bar(), learn.no_logging(): return learn.validate()[2], evaluate_lm(learn, corpus, 'valid')['bits_per_note'].value


@pytest.mark.parametrize('arch', ['awd_lstm', 'transformer'])
def test_bits_per_note_of_a_model_that_knows_nothing(corpus, arch):
    "Each token costs the same, so the two ways to count agree."
    learn = learner(corpus, arch)
    with torch.no_grad():
        for n, p in learn.model.named_parameters():
            if 'emb' in n or 'encoder' in n or 'decoder' in n: p.zero_()
    table, by_piece = bits(learn, corpus)
    about = corpus.manifest.iloc[corpus.indices('valid')]
    assert table == pytest.approx(by_piece, rel=1e-4)
    assert table == pytest.approx((about.n_tokens - 1).sum()*np.log2(len(corpus.vocab))/about.n_notes.sum(), rel=1e-4)


@pytest.mark.parametrize('seq_len', [32, 77])
def test_bits_per_note_by_hand(corpus, seq_len):
    learn = generator_learner(lm_dataloaders(corpus, bs=1, seq_len=seq_len, device='cpu'), size='tiny')
    learn.model = random_model(corpus, 'awd_lstm')
    rows = corpus.indices('valid')
    text = torch.from_numpy(np.concatenate([corpus.tokens(i) for i in rows]).astype(np.int64))
    learn.model.reset()
    with torch.no_grad(): nats = F.cross_entropy(learn.model(text[None, :-1])[0][0], text[1:], reduction='none')[text[1:] != BOS]
    notes, tokens = corpus.manifest.iloc[rows].n_notes.sum(), (corpus.manifest.iloc[rows].n_tokens - 1).sum()
    assert len(nats) == tokens # with one row no token is lost
    assert bits(learn, corpus)[0] == pytest.approx(nats.double().sum().item()/np.log(2)/notes, rel=1e-5)


def test_bits_per_note_beside_the_whole_evaluation(corpus):
    learn = fit(learner(corpus), epochs=5)
    last = learn.recorder.values[-1]
    table, by_piece = bits(learn, corpus)
    assert learn.recorder.metric_names[3:5] == ['accuracy', 'bits_per_note'] and last[3] == table
    assert table == pytest.approx(by_piece, rel=.1)
