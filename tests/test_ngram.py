"The n-gram model against a dictionary implementation, its own sums, and its own files."
import numpy as np
import pytest
import torch

from musiclm.corpus import toy_corpus
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram, count_grams, stable_order
from musiclm.notes import note_table
from musiclm.tokens import NotewiseEncoder

V = 7


def markov(n_pieces, length, seed):
    rng = np.random.default_rng(seed)
    table = np.random.default_rng(9).dirichlet(np.full(V - 1, .3), size=V)  # what follows what; never 0
    pieces = []
    for _ in range(n_pieces):
        p = [0]
        while len(p) < length: p.append(1 + rng.choice(V - 1, p=table[p[-1]]))
        pieces.append(np.array(p, np.uint16))
    return pieces


class Slow:
    "Witten-Bell by dictionaries, from the formula."
    def __init__(self, pieces, order):
        self.order, self.after = order, {}
        for p in pieces:
            for t in range(1, len(p)):
                for k in range(min(order - 1, t) + 1):
                    d = self.after.setdefault(tuple(p[t - k:t]), {})
                    d[p[t]] = d.get(p[t], 0) + 1

    def p(self, context, w):
        lower = self.p(context[1:], w) if context else 1/V
        d = self.after.get(context)
        return lower if d is None else (d.get(w, 0) + len(d)*lower)/(sum(d.values()) + len(d))

    def nats(self, piece):
        return [-np.log(self.p(tuple(piece[max(0, t - self.order + 1):t]), piece[t])) for t in range(1, len(piece))]


@pytest.fixture(scope='module')
def train(): return markov(12, 40, 0)


@pytest.fixture(scope='module')
def held(): return markov(4, 33, 1) + [np.array([0, 6]), np.array([3, 3, 3, 3])]


@pytest.fixture(scope='module')
def model(train): return NGram.fit(train, range(V), order=5, transpositions=(0,))


@pytest.mark.parametrize('order', [1, 2, 3, 5])
def test_equals_dictionaries(train, held, model, order):
    slow = np.concatenate([Slow(train, order).nats(p) for p in held])
    assert model.nats(held, order) == pytest.approx(slow)
    assert model.nats(held)[order - 1] == pytest.approx(slow)
    assert NGram.fit(train, range(V), order=order, transpositions=(0,)).nats(held)[-1] == pytest.approx(slow)


@pytest.mark.parametrize('order', [1, 2, 4, 5])
def test_steps_equal_dictionaries_and_sum_to_one(train, held, model, order):
    slow, said = Slow(train, order), NGram(range(V), None, model.keys, model.counts, order)
    batch = np.stack([p[:30] for p in held[:4]]).astype(int)
    state = said.init_state(4)
    for t in range(29):
        logits, state = said.step(torch.tensor(batch[:, t]), state)
        assert logits.dtype == torch.float32 and logits.shape == (4, V)
        p = logits.exp().numpy()
        assert p.sum(1) == pytest.approx(1, abs=1e-5)
        for row in range(4):
            context = tuple(batch[row, max(0, t - order + 2):t + 1])
            assert p[row] == pytest.approx([slow.p(context, w) for w in range(V)], abs=1e-6)


def test_steps_do_not_depend_on_the_batch(model, held):
    rows = torch.tensor(np.stack([p[:20].astype(int) for p in held[:4]]))
    together, alone = model.init_state(4), [model.init_state(1) for _ in range(4)]
    for t in range(20):
        logits, together = model.step(rows[:, t], together)
        for i in range(4):
            one, alone[i] = model.step(rows[i:i + 1, t], alone[i])
            assert torch.equal(one[0], logits[i])


def test_high_orders_know_the_training_text(train, model):
    nats = model.nats(train).mean(1)
    assert (np.diff(nats) < 0).all() and nats[4] < .7*nats[1]


def test_unseen_context_backs_off():
    m = NGram.fit([[0, 1, 2, 1, 2]], range(V), order=4, transpositions=(0,))
    logits, _ = m.step(torch.tensor([5]), m.init_state(1))
    assert logits[0].exp().numpy() == pytest.approx(m.unigram, abs=1e-6)
    assert np.isfinite(m.nats([[5, 4, 3, 6]])).all()


def test_contexts_never_cross_pieces():
    m = NGram.fit([[0, 1, 2], [3, 4]], range(V), order=3, transpositions=(0,))
    assert m.total[1].tolist() == [1, 1, 0, 1, 0, 0, 0]  # 2 is followed by nothing
    joined = NGram.fit([[0, 1, 2, 3, 4]], range(V), order=3, transpositions=(0,))
    assert joined.total[1].tolist() == [1, 1, 1, 1, 0, 0, 0]


def test_the_order_in_use(model, held):
    assert model.best_order(held) == model.nats(held).mean(1).argmin() + 1
    with pytest.raises(ValueError, match='orders 1 to 5'): NGram(range(V), None, model.keys, model.counts, 6)
    with pytest.raises(ValueError, match='from 1 to 16'): NGram.fit(held, range(V), order=0)


@pytest.mark.parametrize('order', [1, 2, 5])
def test_arrays_round_trip(train, held, order):
    m = NGram.fit(train, range(V), order=order, transpositions=(0,))
    arrays = m.state_arrays()
    again = NGram.from_arrays(arrays, range(V))
    assert all(np.array_equal(a, b) for a, b in zip(m.keys + m.counts, again.keys + again.counts))
    assert np.array_equal(m.nats(held), again.nats(held))
    with pytest.raises(ValueError, match='damaged'): NGram.from_arrays(arrays | {'counts': arrays['counts'][1:]}, range(V))
    with pytest.raises(ValueError, match='damaged'): NGram.from_arrays(arrays, range(V + 1))


def test_transpositions_are_the_encoders():
    enc = NotewiseEncoder()
    piece = enc.encode(note_table([0, 12, 24, 36], [12]*4, [60, 64, 67, 72], part=[0, 0, 1, 1]))
    m = NGram.fit([piece], enc.vocab, enc.config, order=6)
    by_hand = NGram.fit([enc.transpose(piece, s) for s in range(-5, 7)], enc.vocab, enc.config, order=6, transpositions=(0,))
    assert all(np.array_equal(a, b) for a, b in zip(m.counts, by_hand.counts))
    moved = [enc.transpose(piece, 6)]
    plain = NGram.fit([piece], enc.vocab, enc.config, order=6, transpositions=(0,))
    assert m.nats(moved, 6).sum() < plain.nats(moved, 6).sum()


@pytest.mark.parametrize('pieces,word', [([], 'no tokens'), ([[1]], 'no tokens'), ([[0, V]], 'vocabulary has 7'), ([[0, -1]], 'vocabulary')])
def test_bad_pieces(pieces, word):
    with pytest.raises(ValueError, match=word): NGram.fit(pieces, range(V), transpositions=(0,))


def test_counting_equals_numpy():
    rng = np.random.default_rng(0)
    codes = rng.integers(30, size=500)
    assert np.array_equal(stable_order(codes, 30), np.argsort(codes, kind='stable'))
    token = np.sort(rng.integers(11, size=500))
    unique, inverse, counts = np.unique(codes*11 + token, return_inverse=True, return_counts=True)
    for ours, theirs in zip(count_grams(codes, token, 30, 11), (unique, counts, inverse)):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize('top,order', [(1, 1), (4, 3)])
def test_saved_and_loaded(tmp_path, top, order):
    corpus = toy_corpus(8)
    m = NGram.fit([corpus.tokens(i) for i in range(6)], corpus.vocab, corpus.encoder.config, order=top, transpositions=(0, 3))
    m.order = order
    again = load_model(save_model(m, tmp_path/'m', note='x'))
    held = [corpus.tokens(7)]
    assert np.array_equal(again.nats(held), m.nats(held)) and (again.order, again.max_order) == (order, top)
    assert again.encoding == m.encoding and again.vocab == m.vocab and again.card == {'note': 'x'}
    assert {p.name for p in (tmp_path/'m').iterdir()} == {'model.json', 'vocab.json', 'model.safetensors', 'sha256.json', 'README.md'}
    a, b = (o.step(torch.tensor([1, 5]), o.init_state(2))[0] for o in (m, again))
    assert torch.equal(a, b)


def test_pieces_shorter_than_the_order():
    m = NGram.fit([[0, 1], [0, 2, 1]], range(V), order=6, transpositions=(0,))
    assert m.nats([[0, 1, 2, 3, 4]]) == pytest.approx(np.stack([Slow([[0, 1], [0, 2, 1]], k).nats([0, 1, 2, 3, 4]) for k in range(1, 7)]))
    state = m.init_state(1)
    for t in (0, 2, 1, 0): logits, state = m.step(torch.tensor([t]), state)
    assert logits.exp().sum().item() == pytest.approx(1, abs=1e-5)
