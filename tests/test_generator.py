"Learners that learn, and held-out nats that do not depend on how they are computed."
import numpy as np
import pytest
import torch

from musiclm.corpus import toy_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import evaluate_lm, generator_learner, token_nats
from musiclm.models import make_model
from musiclm.ngram import NGram
from musiclm.tokens import BOS

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
    for nats, p in zip(token_nats(model, pieces), pieces):
        assert nats.shape == (len(p) - 1,) and nats == pytest.approx(by_step(model, p), abs=2e-4)


@pytest.mark.parametrize('bs,window', [(1, 256), (3, 256), (100, 256), (4, 1000)])
def test_nats_do_not_depend_on_the_batch(model, pieces, bs, window):
    for a, b in zip(token_nats(model, pieces), token_nats(model, pieces, bs=bs, window=window)):
        assert a == pytest.approx(b, abs=2e-4)


@pytest.mark.parametrize('window', [1, 7, 64])
def test_an_lstm_hears_across_windows(lstm, pieces, window):
    for a, b in zip(token_nats(lstm, pieces[1:5]), token_nats(lstm, pieces[1:5], bs=2, window=window)): assert a == pytest.approx(b, abs=2e-4)


def test_a_transformer_hears_at_least_one_window_back(corpus, pieces):
    t = random_model(corpus, 'transformer')
    for a, p in zip(token_nats(t, pieces[1:5], window=40), pieces[1:5]): assert a[:80] == pytest.approx(by_step(t, p)[:80], abs=2e-4)


def test_nats_do_not_depend_on_the_order_of_pieces(model, ngram, pieces):
    order = np.random.default_rng(0).permutation(len(pieces))
    for m in (model, ngram):
        whole, mixed = token_nats(m, pieces, bs=3), token_nats(m, [pieces[i] for i in order], bs=3)
        for k, i in enumerate(order): assert mixed[k] == pytest.approx(whole[i], abs=2e-4)


def test_nats_leave_the_model_as_it_was(model, pieces):
    model.train()
    a = token_nats(model, pieces[:3])
    assert model.training
    model.eval()
    assert np.array_equal(a[0], token_nats(model, pieces[:3])[0]) and not model.training


def test_ngrams_are_measured_by_the_same_function(ngram, pieces):
    for nats, p in zip(token_nats(ngram, pieces), pieces): assert nats == pytest.approx(by_step(ngram, p), abs=1e-4)
    before = token_nats(ngram, pieces)[0].mean()
    ngram.order = 1
    assert token_nats(ngram, pieces)[0].mean() > before + .5
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
    assert np.array_equal(token_nats(learn, pieces)[0], token_nats(lstm, pieces)[0])
