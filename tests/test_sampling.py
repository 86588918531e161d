"A hundred pieces at once: the same in any batch, prompts kept, only legal tokens, and draws with the probabilities promised."
import numpy as np
import pytest
import torch

from musiclm.grammar import n_at_once
from musiclm.corpus import toy_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import generator_learner
from musiclm.architectures import make_model
from musiclm.ngram import NGram
from musiclm.sampling import sample, sample_iter, sample_next_token as choose_by_weight, uniform_numbers
from musiclm.pieces import Piece, held_out_prompts, stratified_order
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import BOS, EOS, EncodingConfig, PAD

ENDS = NotewiseEncoder(EncodingConfig(durations=False))
from musiclm.chordwise import ChordwiseEncoder

CONFIGS = {
    'default': EncodingConfig(),
    'piano first': EncodingConfig(part_order=('p', 'v')),
    'trio': EncodingConfig(parts=('v', 'p', 'b'), part_order=('b', 'v', 'p'), max_wait=24),
    'end tokens': EncodingConfig(durations=False),
}


def random_model(encoder, arch='awd_lstm', size='tiny', seed=0, gain=1.5):
    torch.manual_seed(seed)
    model = make_model(len(encoder.vocab), arch, size)
    with torch.no_grad():
        for p in model.parameters(): p.mul_(gain)
    model.vocab, model.encoding = encoder.vocab, encoder.config
    return model.eval()


@pytest.fixture(scope='module')
def encoder(): return NotewiseEncoder()


@pytest.fixture(scope='module')
def model(encoder): return random_model(encoder)


@pytest.fixture(scope='module')
def prompts(encoder):
    corpus = toy_corpus(n=6, beats=16)
    return [corpus.tokens(i)[:n] for i, n in enumerate([1, 9, 40, 17, 24])]


class Fixed:
    "A generator that says the same whatever it hears."
    def __init__(self, encoder, weights):
        self.vocab, self.encoding = encoder.vocab, encoder.config
        self.logits = torch.full((len(encoder.vocab),), -30.)
        for name, w in weights.items(): self.logits[encoder.vocab.stoi[name]] = w
    def init_state(self, batch): return None
    def step(self, tokens, state): return self.logits.repeat(len(tokens), 1), None


def choose(logits, *args, **kwargs): return choose_by_weight((logits - logits.amax(1, keepdim=True)).exp(), *args, **kwargs)


def ids_of(pieces): return [p.ids.tolist() for p in pieces]


@pytest.mark.parametrize('arch,n,n_tokens,alone', [('awd_lstm', 100, 200, 8), ('transformer', 100, 100, 4)])
def test_a_hundred_pieces_are_the_same_in_any_batch(encoder, prompts, arch, n, n_tokens, alone):
    model = random_model(encoder, arch)
    make = lambda n, **kwargs: ids_of(sample(model, n=n, n_tokens=n_tokens, prompts=prompts, seed=7, **kwargs))
    whole = make(n, batch_size=100)
    assert len({tuple(p) for p in whole}) > .9*n and max(map(len, whole)) == 40 + n_tokens
    for batch_size in (7, 32): assert make(n, batch_size=batch_size) == whole
    assert make(alone, batch_size=1) == whole[:alone]


@pytest.mark.parametrize('arch,size', [('awd_lstm', 'small'), ('awd_lstm', 'base'), ('transformer', 'small')])
@pytest.mark.parametrize('precision', ['fp32', 'auto'])
def test_larger_models_too(encoder, prompts, arch, size, precision):
    model = random_model(encoder, arch, size, gain=1.2)
    make = lambda n, **kwargs: ids_of(sample(model, n=n, n_tokens=20, prompts=prompts, precision=precision, **kwargs))
    whole = make(40, batch_size=40)
    assert make(40, batch_size=7) == whole and make(3, batch_size=1) == whole[:3]


class Closing:
    "A generator that ends pieces soon, and not all at once."
    def __init__(self, fixed): self.fixed, self.vocab, self.encoding = fixed, fixed.vocab, fixed.encoding
    def init_state(self, batch): return {'read': torch.zeros(batch, dtype=torch.long)}
    def step(self, tokens, state):
        logits = self.fixed.logits.repeat(len(tokens), 1)
        logits[:, EOS] = .01*state['read'] - 3
        return logits, {'read': state['read'] + 1}


@pytest.fixture(scope='module')
def closing(encoder): return Closing(Fixed(encoder, {'v60': 1., 'p48': 1., 'dur6': 1., 'wait6': 1.}))


def test_a_finished_row_takes_the_next_piece(closing, prompts):
    options = dict(n=60, n_tokens=150, prompts=prompts, random_freq=1., top_k=None, seed=2)
    whole = ids_of(sample(closing, batch_size=64, **options))
    assert len({len(p) for p in whole}) > 15 and 30 < sum(p[-1] == EOS for p in whole) < 60
    for batch_size in (1, 5, 16, 33):
        pieces, told = [], []
        for p in sample_iter(closing, batch_size=batch_size, progress=told.append, **options): pieces.append(p)
        index = [p.info['index'] for p in pieces]
        assert sorted(index) == list(range(60)) and (index != sorted(index) or batch_size == 1)
        assert [p.ids.tolist() for p in sorted(pieces, key=lambda p: p.info['index'])] == whole and told[-1] == 60
    steps, model = [], Closing(closing.fixed)
    model.step = lambda tokens, state: (steps.append(len(tokens)), Closing.step(model, tokens, state))[1]
    sample(model, batch_size=16, **options)
    assert sum(steps) < 1.25*sum(map(len, whole)) # rows read hardly more tokens than there are


def test_an_iterator_begins_at_once_and_may_be_left(model, prompts):
    model.train()
    pieces = sample_iter(model, n=50, n_tokens=5, batch_size=2)
    assert next(pieces).info['index'] == 0 and not model.training
    pieces.close()
    assert model.training
    model.eval()
    with pytest.raises(ValueError, match='n_tokens'): sample_iter(model, n_tokens=0) # before the first piece is asked for


def test_shards_together_are_the_whole(model, prompts):
    whole = sample(model, n=11, n_tokens=30, prompts=prompts)
    parts = [p for k in range(3) for p in sample(model, n=11, n_tokens=30, prompts=prompts, shard=(k, 3))]
    assert ids_of(sorted(parts, key=lambda p: p.info['index'])) == ids_of(whole)
    with pytest.raises(ValueError, match='shard'): sample(model, n=3, shard=(3, 3))


@pytest.mark.parametrize('error', [torch.cuda.OutOfMemoryError('CUDA out of memory'), MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")])
def test_a_batch_that_memory_does_not_hold_is_halved(closing, prompts, error):
    options = dict(n=100, n_tokens=60, prompts=prompts, random_freq=1., top_k=None)
    whole, small = ids_of(sample(closing, **options)), Closing(closing.fixed)
    calls = []
    def step(tokens, state):
        calls.append(len(tokens))
        if len(calls) > 30 and len(tokens) > 32: raise error
        return Closing.step(small, tokens, state)
    small.step = step
    with pytest.warns(UserWarning, match='batch of 100: going on with 50'):
        with pytest.warns(UserWarning, match='batch of 50: going on with 25'): pieces = sample(small, batch_size=100, **options)
    assert ids_of(pieces) == whole and 25 <= max(calls[40:]) <= 32
    def never(tokens, state): raise error
    small.step = never
    with pytest.warns(UserWarning), pytest.raises(ValueError, match='one piece of 60 tokens'): sample(small, batch_size=2, **options)
    small.step = lambda tokens, state: 1/0
    with pytest.raises(ZeroDivisionError): sample(small, **options)


def test_a_rule_by_part_keeps_the_balance_of_parts(encoder, model):
    part = lambda pieces: [[int(encoder.part_of[i]) for i in p.ids[1:]] for p in pieces]
    fixed = Fixed(encoder, {'v60': 2., 'v64': 0., 'v67': -1., 'p40': 1., 'p43': 1.5, 'wait3': 1.})
    rule = dict(n=400, n_tokens=1, top_k=None, seed=1)
    even = sample(fixed, random_freq={'v': 1., 'p': 1., 'other': 1.}, **rule)
    wild = sample(fixed, random_freq={'v': 1., 'p': 0., 'other': 1.}, temperature={'v': 50.}, **rule)
    assert part(even) == part(wild) and {k for p in part(even) for k in p} == {0, 1}
    share = lambda pieces, token: np.mean([encoder.vocab.stoi[token] == p.ids[1] for p in pieces])
    legal = np.exp([2, 0, -1, 1, 1.5])
    assert share(even, 'v60') == pytest.approx(legal[0]/legal.sum(), abs=.07)
    v = legal[:3].sum()/legal.sum()
    assert share(wild, 'v67') == pytest.approx(v*np.exp(-1/50)/np.exp(np.array([2, 0, -1])/50).sum(), abs=.2)
    assert share(wild, 'p43') == pytest.approx(1 - v, abs=.07) and share(wild, 'p40') == 0


def test_a_rule_by_part_filters_by_part(encoder):
    fixed = Fixed(encoder, {f'{part}{40 + 3*k}': -.5*k for part in 'vp' for k in range(10)})
    pieces = sample(fixed, n=300, n_tokens=1, random_freq=1., top_k={'v': 2, 'p': None}, min_p={'p': .3}, top_p={'v': .99})
    found = {encoder.vocab.itos[p.ids[1]] for p in pieces}
    assert found == {'v40', 'v43', 'p40', 'p43', 'p46'}
    assert pieces[0].info['rule']['top_k'] == {'v': 2, 'p': None}


@pytest.mark.parametrize('config', [*CONFIGS.values(), EncodingConfig(velocity_bins=8, tempo_bins=8),
                                    EncodingConfig(durations=False, velocity_bins=8, tempo_bins=8, part_order=('p', 'v'))],
                         ids=[*CONFIGS.keys(), 'loudness and tempo', 'end tokens, loudness, tempo'])
def test_a_given_part_is_played_and_the_others_are_free(config):
    enc, corpus = NotewiseEncoder(config), toy_corpus(n=4, beats=12)
    tables = [corpus.notes(i) for i in range(4)]
    tables[3]['duration'] = tables[3]['duration'] + 500*(tables[3]['part'] == 0) # far longer than the limit
    pieces, part = [enc.encode(t) for t in tables], config.parts.index('v')
    own = lambda t: sorted(t[t['part'] == part][['onset', 'duration', 'pitch']].itertuples(index=False, name=None))
    limits = {p: dict(longest=4, at_once=2) for p in config.parts}
    for model in (random_model(enc, size='small', gain=1.3), random_model(enc, 'transformer')):
        found = sample(model, n=7, n_tokens=3000, prompts=pieces, given_part='v', random_freq=.8, top_k=None, limits=limits)
        assert ids_of(found) == ids_of(sample(model, n=7, n_tokens=3000, prompts=pieces, given_part='v', random_freq=.8,
                                              top_k=None, limits=limits, batch_size=5))
        for p in found:
            notes, given = p.notes, enc.decode(pieces[p.info['prompt']])
            assert p.prompt_len == 1 and notes.attrs['dropped'] == 0
            assert own(notes) == own(given) and (notes['part'] != part).sum() > 5
            rest = notes[notes['part'] != part]
            assert rest['duration'].max() <= 4*12 + config.max_wait and len(p.ids) < 3001
            assert all(n_at_once(t).max() <= 2 for _, t in rest.groupby('part'))
            body = np.flatnonzero(enc.wait_of[p.ids.astype(int)])[-1] # in normal form, but for the close
            assert np.array_equal(enc.encode(notes)[:body], p.ids[:body])
        silent = sample(model, n=1, n_tokens=300, prompts=pieces[:1], given_part='v', n_beats=4)[0]
        assert own(silent.notes)[:3] == own(enc.decode(pieces[0]))[:3]


@pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize('n_beats', [1, 7.5, 30])
def test_a_piece_stops_after_so_many_beats(config, n_beats):
    enc, corpus = NotewiseEncoder(config), toy_corpus(n=4, beats=16)
    prompts = [enc.encode(corpus.notes(i))[:n] for i, n in enumerate((1, 20, 33))]
    model = random_model(enc, gain=1.3)
    for p in sample(model, n=9, n_tokens=5000, prompts=prompts, n_beats=n_beats, min_tokens=5000):
        steps = enc.wait_of[p.ids.astype(int)]
        assert steps[p.prompt_len:].sum() == n_beats*12 and steps[-1] > 0 and p.notes.attrs['dropped'] == 0


def test_chords_stop_after_so_many_beats():
    corpus = toy_corpus(n=6, beats=16)
    enc = ChordwiseEncoder(EncodingConfig(scheme='chordwise', steps_per_beat=12)).fit([corpus.notes(i) for i in range(6)])
    model = random_model(enc)
    for p in sample(model, n=4, n_tokens=500, n_beats=3, min_tokens=500): assert len(p.ids) == 1 + 3*12*2
    wild = sample(model, n=4, n_tokens=40, temperature={'v': 2.}, random_freq={'p': 0.})
    assert all(enc.decode(p.ids).attrs['dropped'] == 0 for p in wild)


def test_pieces_depend_on_seed_and_index_alone(model, prompts):
    make = lambda n=20, seed=3, **kwargs: ids_of(sample(model, n=n, n_tokens=120, prompts=prompts, seed=seed, batch_size=8, **kwargs))
    whole = make()
    torch.manual_seed(99)
    np.random.seed(99)
    assert make() == whole # the same again, whatever other random numbers were drawn
    assert make(n=5) == whole[:5] and make(n=1) == whole[:1]
    assert make(n=7, start=9) == whole[9:16]
    assert not any(a == b for a, b in zip(make(seed=4), whole))


def test_fewer_tokens_are_the_beginning_of_more(model, prompts):
    long, short = (sample(model, n=6, n_tokens=k, prompts=prompts) for k in (80, 30))
    for a, b in zip(long, short): assert np.array_equal(a.ids[:len(b.ids)], b.ids)


def test_prompts_are_used_in_turn_and_kept(model, prompts):
    pieces = sample(model, n=12, n_tokens=20, prompts=prompts, batch_size=5)
    for i, p in enumerate(pieces):
        prompt = prompts[i%5]
        assert p.prompt_len == len(prompt) and np.array_equal(p.ids[:len(prompt)], prompt)
        assert len(prompt) < len(p.ids) <= len(prompt) + 20 and PAD not in p.ids and BOS not in p.ids[1:]
        assert (p.info['index'], p.info['prompt'], p.info['seed']) == (i, i%5, 0)
    assert all(len(p.ids) == p.prompt_len + 20 for p in pieces if EOS not in p.ids)


def test_a_prompt_may_be_a_piece_or_end_a_piece(model, prompts):
    p = prompts[2]
    whole = sample(model, n=3, n_tokens=15, prompts=[p])
    assert ids_of(sample(model, n=3, n_tokens=15, prompts=[np.r_[p, EOS]])) == ids_of(whole)
    piece = Piece(p, whole[0].encoder, 1)
    assert ids_of(sample(model, n=3, n_tokens=15, prompts=[piece])) == ids_of(whole)
    assert ids_of(sample(model, n=3, n_tokens=15, prompts=[p.tolist()])) == ids_of(whole)


def test_without_a_prompt_pieces_begin_from_nothing(model):
    for p in sample(model, n=3, n_tokens=20): assert p.ids[0] == BOS and p.prompt_len == 1 and p.prompt_steps == 0


@pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS.keys())
def test_constrained_pieces_are_in_normal_form(config):
    enc, n_closed = NotewiseEncoder(config), 0
    ends = {w: 3. for w in enc.vocab.itos if w.startswith(('end', 'dur'))}
    waits = {f'wait{k}': 1. for k in range(1, enc.config.wait_cap + 1)}
    onsets = {f'{part}{pitch}': -.5 for part in config.parts for pitch in range(30, 90, 5)}
    closing = Fixed(enc, {**ends, **waits, **onsets, 'xxeos': 5.})
    for model in (random_model(enc), closing):
        for p in sample(model, n=30, n_tokens=120, random_freq=1., top_k=None, temperature=1.2):
            notes = enc.decode(p.ids)
            assert notes.attrs['dropped'] == (config.durations and enc.kind[p.ids[-1]] == enc.ONSET)
            if p.ids[-1] == EOS:
                n_closed += 1
                assert np.array_equal(enc.encode(notes), p.ids)
    assert n_closed > 20


def test_constrained_continuations_decode_whole(model, prompts, encoder):
    for p in sample(model, n=20, n_tokens=100, prompts=prompts, random_freq=1., top_k=None):
        assert encoder.decode(p.ids).attrs['dropped'] == (encoder.kind[p.ids[-1]] == encoder.ONSET) # its duration would come next
        assert 0 < p.prompt_steps or p.prompt_len == 1


def test_without_the_grammar_tokens_without_meaning_come(model, encoder):
    pieces = sample(model, n=10, n_tokens=100, constrain=False, random_freq=1., top_k=None)
    assert np.mean([encoder.decode(p.ids).attrs['dropped'] for p in pieces]) > 20
    assert all(PAD not in p.ids and BOS not in p.ids[1:] for p in pieces)


def test_the_mass_removed_is_what_the_mask_forbids():
    "A generator that puts half its mass on the end of a note that never sounds."
    encoder = ENDS
    even = Fixed(encoder, {'endv60': 0., 'wait12': -1.0, 'v90': float(np.log(1 - np.exp(-1)))})
    never = Fixed(encoder, {'v90': 0., 'wait12': 0.})
    rule = dict(n=4, n_tokens=50, random_freq=1., top_k=None)
    assert [p.info['removed'] for p in sample(even, constrain=False, **rule)] == pytest.approx([0]*4, abs=1e-6)
    assert min(p.info['removed'] for p in sample(even, **rule)) >= .499
    after_wait = [p.info['removed'] for p in sample(Fixed(encoder, {'wait12': 0.}), n=2, n_tokens=30)]
    assert after_wait[0] == pytest.approx(1/30, abs=.04) and after_wait[0] > .01 # the first token cannot be a wait
    assert max(p.info['removed'] for p in sample(never, constrain=False, **rule)) < 1e-6


def test_min_tokens_bans_the_end(encoder):
    eager = Fixed(encoder, {'xxeos': 9., 'v60': 0., 'dur6': 0., 'wait6': 0.})
    short = sample(eager, n=10, n_tokens=50)
    assert max(len(p.ids) for p in short) < 20 and all(p.ids[-1] == EOS for p in short)
    for constrain in (True, False):
        for k in (30, 50):
            for p in sample(eager, n=10, n_tokens=50, min_tokens=k, constrain=constrain):
                assert len(p.ids) > k and EOS not in p.ids[:k + 1]
    prompt = encoder.from_text('xxbos v60 dur6 wait6')
    assert all(len(p.ids) == 4 + 50 for p in sample(eager, n=5, n_tokens=50, prompts=[prompt], min_tokens=50))


def test_no_draws_is_greedy_in_every_way(model, prompts):
    greedy = ids_of(sample(model, n=10, n_tokens=40, prompts=prompts, random_freq=0.))
    assert greedy[:5] == greedy[5:]
    assert ids_of(sample(model, n=10, n_tokens=40, prompts=prompts, random_freq=0., seed=8, top_k=None)) == greedy
    assert ids_of(sample(model, n=10, n_tokens=40, prompts=prompts, random_freq=1., top_k=1)) == greedy
    assert ids_of(sample(model, n=10, n_tokens=40, prompts=prompts, random_freq=1., top_k=None, min_p=1.)) == greedy
    assert ids_of(sample(model, n=10, n_tokens=40, prompts=prompts, random_freq=1., top_k=None, top_p=1e-6)) == greedy


def test_the_smallest_nucleus_is_the_likeliest_token(model, prompts):
    "0 is within the range that `top_p` may take."
    greedy = ids_of(sample(model, n=5, n_tokens=30, prompts=prompts, random_freq=0.))
    try: pieces = sample(model, n=5, n_tokens=30, prompts=prompts, random_freq=1., top_k=None, top_p=0.)
    except ValueError as e: assert 'top_p' in str(e)
    else: assert ids_of(pieces) == greedy


def test_a_greedy_piece_is_the_likeliest_legal_token_each_time(model, prompts, encoder):
    piece = sample(model, n=1, n_tokens=25, prompts=[prompts[1]], random_freq=0.)[0]
    grammar, state = encoder.grammar(1), model.init_state(1)
    for t, token in enumerate(piece.ids[:-1].astype(int)):
        logits, state = model.step(torch.tensor([token]), state)
        grammar.advance(torch.tensor([token]))
        if t + 1 >= piece.prompt_len:
            legal = grammar.legal()[0]
            assert piece.ids[t + 1] == logits[0].masked_fill(~legal, -torch.inf).argmax()


def by_hand(logits, temperature=1., top_k=None, top_p=None, min_p=None):
    "Probabilities of one row, by sorting, filter after filter."
    p = np.exp((logits - logits.max())/temperature)
    p /= p.sum()
    order = np.argsort(-p)
    if top_k: p[order[top_k:]] = 0; p /= p.sum()
    if top_p is not None:
        held = 0.
        for k in order:
            if held >= top_p: p[k] = 0
            else: held += p[k]
    if min_p is not None: p[p < min_p*p.max()] = 0
    return p/p.sum()


@pytest.mark.parametrize('rule', [
    {}, dict(temperature=.5), dict(temperature=3., top_k=4), dict(top_k=5, top_p=.8), dict(temperature=2., top_p=.7),
    dict(min_p=.2), dict(temperature=1.7, min_p=.3), dict(temperature=2.5, top_k=6, top_p=.9, min_p=.25), dict(top_k=50)])
def test_draws_have_the_probabilities_of_the_filters_in_order(rule):
    logits = torch.tensor([.3, -torch.inf, 2., 1.6, -1., .9, 1.1, -torch.inf, -2.5, 0.])
    u = (torch.arange(50_000) + .5)/50_000
    drawn = choose(logits.repeat(len(u), 1), torch.zeros(len(u)), u, 1., **rule)
    share = np.bincount(drawn, minlength=10)/len(u)
    expected = by_hand(logits.numpy().astype(float), **rule)
    assert share == pytest.approx(expected, abs=5e-4)
    assert ((share > 0) == (expected > 0)).all() and share[[1, 7]].sum() == 0


def test_draws_at_the_edges_of_the_unit_interval_stay_within_the_filters():
    logits = torch.tensor([[0., 1., -torch.inf, .5]])
    for options in ({}, dict(top_k=4), dict(top_p=1.), dict(temperature=.01), dict(temperature=3., min_p=.1)):
        for u in (0., 1 - 2**-24): assert choose(logits, torch.zeros(1), torch.tensor([u]), 1., **options).item() != 2
    assert choose(logits, torch.zeros(1), torch.tensor([1 - 2**-24]), 1., min_p=.5).item() == 3


@pytest.mark.parametrize('random_freq', [0., .25, .5, 1.])
def test_the_coin_decides_how_often_to_draw(random_freq):
    rng = torch.Generator().manual_seed(0)
    coin, u = torch.rand(2, 20_000, generator=rng)
    logits = torch.zeros(20_000, 4)
    logits[:, 2] = .1
    p = by_hand(logits[0].numpy().astype(float))
    share = np.bincount(choose(logits, coin, u, random_freq), minlength=4)/20_000
    assert share[2] == pytest.approx(1 - random_freq + random_freq*p[2], abs=.015)
    assert share[0] == pytest.approx(random_freq*p[0], abs=.015)


def test_random_numbers_of_a_piece_depend_on_seed_and_index():
    a, b = uniform_numbers(3, [0, 5, 9], 40), uniform_numbers(3, [9, 5], 60)
    assert np.array_equal(a[2], b[0, :, :40]) and np.array_equal(a[1], b[1, :, :40])
    assert a.min() >= 0 and a.max() < 1 and not np.array_equal(a[:, 0], a[:, 1])
    assert not np.array_equal(uniform_numbers(4, [0], 40), a[:1])
    assert uniform_numbers(0, range(200), 200).mean((0, 2)) == pytest.approx([.5]*3, abs=.01)


@pytest.mark.parametrize('options,message', [
    (dict(n=0), 'n must be at least 1'), (dict(start=-5), 'start must'), (dict(n=-3), 'n must'), (dict(n_tokens=0), 'n_tokens'), (dict(top_k=2.5), 'whole number'),
    (dict(prompts=[[BOS, 5, EOS, BOS, 7]]), 'several pieces'), (dict(batch_size=0), 'batch_size'),
    (dict(top_k=0), 'top_k'), (dict(random_freq=1.5), 'random_freq'), (dict(random_freq=-.1), 'random_freq'),
    (dict(top_p=1.1), 'top_p'), (dict(min_p=-1), 'min_p'), (dict(temperature=0), 'temperature'),
    (dict(temperature=float('nan')), 'temperature'), (dict(top_p=float('nan')), 'top_p'),
    (dict(prompts=[]), 'empty'), (dict(prompts=[[5, 6]]), 'xxbos'), (dict(prompts=[[]]), 'xxbos'),
    (dict(prompts=[[BOS, 9999]]), 'vocabulary'), (dict(prompts=[[BOS, -4]]), 'prompt 0'),
    (dict(temperature=-1.), 'temperature'), (dict(temperature={'v': 0.}), 'temperature'), (dict(top_k={'p': 0}), 'top_k'),
    (dict(temperature={'w': 1.}), "no part 'w'"), (dict(min_p={'v': 2.}), 'min_p'), (dict(top_p={'v': 0.}), 'top_p'),
    (dict(temperature=float('inf')), 'temperature'), (dict(n_beats=0), 'n_beats'), (dict(limits=dict(v=dict(longest=0))), 'longest of part'), (dict(limits=dict(x={})), 'no part'),
    (dict(limits=dict(v=dict(most=2))), 'not .most'), (dict(limits=4), 'limits are'),
    (dict(given_part='v'), 'plays nothing in prompt 0'), (dict(given_part='x', prompts=[[BOS, 60]]), "no part 'x'"),
    (dict(given_part='v', prompts=[[BOS, 60]], constrain=False), 'given_part needs'), (dict(precision='fp8'), 'precision'),
    (dict(prompts=[[BOS, 60, PAD]]), 'padding'), (dict(prompts=[[BOS, EOS, 60]]), 'several pieces'),
    (dict(precision='bf16'), 'there are fp32')])
def test_options_without_sense_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message): sample(model, **{**dict(n=2, n_tokens=5), **options})


def test_a_prompt_fits_model_and_vocabulary(encoder, model):
    short = random_model(encoder, 'transformer')
    fits = np.r_[BOS, np.full(253, 60)]
    assert len(sample(short, n=1, n_tokens=3, prompts=[fits])[0]) == 257
    with pytest.raises(ValueError, match='prompt 1 has 255 tokens, and the model reads 254 at most'):
        sample(short, n=1, n_tokens=3, prompts=[fits, np.r_[fits, 61]])
    other = NotewiseEncoder(EncodingConfig(pitch_range=(30, 90)))
    with pytest.raises(ValueError, match='does not fit the vocabulary'): sample(model, n=1, prompts=[Piece(np.array([BOS, 60]), other)])


def test_a_classifier_is_no_generator(encoder):
    from musiclm.architectures import make_classifier
    judge = make_classifier(len(encoder.vocab), ['a', 'b'], size='tiny', clip_length=20)
    judge.vocab, judge.encoding = encoder.vocab, encoder.config
    with pytest.raises(ValueError, match='generator'): sample(judge, n=1, n_tokens=5)


def test_learners_and_ngrams_generate_too():
    corpus = toy_corpus(n=12, beats=24)
    learn = generator_learner(lm_dataloaders(corpus, bs=4, device='cpu'), size='tiny')
    learn.model.train()
    a = sample(learn, n=3, n_tokens=30)
    assert learn.model.training and all(m.training for m in learn.model.modules())
    learn.model.eval()
    assert ids_of(sample(learn.model, n=3, n_tokens=30)) == ids_of(a) and not learn.model.training
    ngram = NGram.fit([corpus.tokens(i) for i in range(8)], corpus.vocab, corpus.encoder.config, order=4, transpositions=(0,))
    pieces = [ids_of(sample(ngram, n=20, n_tokens=60, batch_size=b, seed=1)) for b in (1, 20)]
    assert pieces[0] == pieces[1]


def test_a_failure_midway_leaves_the_model_in_its_mode(model, prompts):
    def fail(n): raise KeyboardInterrupt
    model.train()
    try:
        with pytest.raises(KeyboardInterrupt): sample(model, n=4, n_tokens=3, progress=fail)
        assert model.training
    finally: model.eval()


def test_progress_is_told(model):
    told = []
    sample(model, n=10, n_tokens=3, batch_size=4, progress=told.append)
    assert told == [4, 8, 10]


def test_held_out_prompts_are_openings_of_their_split():
    corpus = toy_corpus(n=32, beats=32)
    found, rows = held_out_prompts(corpus, 'test', n=10, n_tokens=30)
    assert len(found) == 10 and set(rows['split']) == {'test'}
    assert rows['composer'].value_counts().tolist() == [5, 5]
    for p, i in zip(found, rows.index): assert np.array_equal(p, corpus.tokens(i)[:30])
    again = held_out_prompts(corpus, 'test', n=4, n_tokens=30)[1]
    assert again.index.tolist() == rows.index[:4].tolist()
    with pytest.raises(ValueError, match='longer than 9999 tokens'): held_out_prompts(corpus, 'test', n_tokens=9999)


def test_rows_in_turn_give_each_row_once():
    table = toy_corpus(n=30, beats=4, composers=('a', 'b', 'c')).manifest
    table = table[(table['composer'] != 'c') | (table.index < 12)] # one with fewer
    order = stratified_order(table)
    assert sorted(order) == list(range(len(table)))
    assert sorted(table.iloc[order[:3]]['composer']) == ['a', 'b', 'c']
    assert table.iloc[stratified_order(table, 90)]['composer'].value_counts().tolist() == [30, 30, 30]
    assert stratified_order(table, 90, seed=1).tolist() != stratified_order(table, 90).tolist()


def test_a_piece_reads_writes_and_shows_itself(model, prompts, tmp_path):
    from musiclm.scores import read_score
    piece = sample(model, n=2, n_tokens=80, prompts=prompts[2:3])[1]
    assert np.array_equal(piece.encoder.from_text(piece.text), piece.ids) and len(piece) == len(piece.ids)
    assert len(piece.notes) > 5 and piece.prompt_steps > 0
    piece.write_midi(tmp_path/'a.mid')
    back = read_score(tmp_path/'a.mid')
    assert sorted(back['pitch']) == sorted(piece.notes['pitch'])


def test_a_composer_takes_the_place_of_the_prompts_own():
    enc = NotewiseEncoder(EncodingConfig(composers=('alto', 'basso')))
    prompts = [enc.from_text('xxbos xxcomposer_alto v67 dur9 wait12'), enc.from_text('xxbos v60 dur12 wait12')]
    pieces = sample(random_model(enc), n=4, n_tokens=9, prompts=prompts, composer=['basso', 'alto'])
    assert [p.text.split()[1:3] for p in pieces[:2]] == [['xxcomposer_basso', 'v67'], ['xxcomposer_alto', 'v60']]
    assert all(p.notes.attrs['dropped'] == (enc.kind[p.ids[-1]] == enc.ONSET) for p in pieces)
    with pytest.raises(ValueError, match='list of composers is empty'): sample(random_model(enc), composer=[])


def test_a_given_part_must_last():
    with pytest.raises(ValueError, match="part 'v' plays at the first step alone in prompt 0"):
        sample(random_model(ENDS), n=1, n_tokens=5, given_part='v', prompts=[[BOS, 60]])


def test_a_composer_takes_no_time_of_chords():
    corpus, config = toy_corpus(n=6, beats=16), EncodingConfig(scheme='chordwise', steps_per_beat=12, composers=('alto',))
    enc = ChordwiseEncoder(config).fit([corpus.notes(i) for i in range(6)])
    pieces = sample(random_model(enc), n=3, n_tokens=500, n_beats=3, min_tokens=500, composer='alto')
    assert [len(p.ids) for p in pieces] == [2 + 3*12*2]*3


def test_a_piece_never_stops_within_its_prompt(model, encoder):
    prompt = encoder.from_text('xxbos v67 dur12 wait12 v69')
    piece = sample(model, n=1, n_tokens=50, prompts=[prompt], n_beats=.01)[0]
    assert np.array_equal(piece.ids[:5], prompt) and encoder.wait_of[piece.ids[5:].astype(int)].sum() == 1


def test_no_piece_is_lost_where_memory_does_not_suffice_for_its_row(model, monkeypatch):
    calls = []
    def short(*args):
        calls.append(args)
        if len(calls) == 1: raise MemoryError()
        return uniform_numbers(*args)
    monkeypatch.setattr('musiclm.sampling.uniform_numbers', short)
    with pytest.warns(UserWarning, match='batch of 7: going on with 3'): pieces = sample(model, n=10, n_tokens=5, batch_size=7)
    assert [p.info['index'] for p in pieces] == list(range(10))


@pytest.mark.parametrize('options', [dict(temperature=None), dict(random_freq={'v': None}), dict(n_beats=float('inf')),
                                     dict(limits=dict(v=dict(longest=float('inf'))))])
def test_options_that_are_no_numbers_are_refused(model, options):
    with pytest.raises(ValueError, match=next(iter(options))): sample(model, n=1, n_tokens=5, **options)


def test_a_prompt_may_be_past_an_overdue_end():
    "A prompt that has passed the place of an end leaves it to the next step, and is no dead end."
    corpus = toy_corpus(n=8, encoder=ENDS)
    enc = corpus.encoder
    late = enc.from_text('xxbos p50 p60' + ' wait12'*17 + ' endp60 p61')
    free = enc.from_text('xxbos p50 p60' + ' wait12'*17)
    pieces = sample(NGram.fit([corpus.tokens(i) for i in range(8)], corpus.vocab, enc.config, order=2), 16, 40, [late, free],
                    random_freq=1., top_k=10, min_tokens=40)
    for p in pieces:
        assert p.notes.attrs['dropped'] == 0 and len(p.ids) == p.prompt_len + 40
        held = p.notes[(p.notes['pitch'] == 50) & (p.notes['onset'] == 0)]['duration'].item()
        assert 17*12 <= held <= 17*12 + 12
