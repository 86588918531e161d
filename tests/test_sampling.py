"A hundred pieces at once: the same in any batch, prompts kept, only legal tokens, and draws with the probabilities promised."
import numpy as np
import pytest
import torch

from musiclm.corpus import toy_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import generator_learner
from musiclm.models import make_model
from musiclm.ngram import NGram
from musiclm.sampling import Piece, choose as choose_by_weight, held_out_prompts, in_turn, sample, uniforms
from musiclm.tokens import BOS, EOS, PAD, EncodingConfig, NotewiseEncoder

CONFIGS = {
    'default': EncodingConfig(),
    'piano first': EncodingConfig(part_order=('p', 'v')),
    'trio': EncodingConfig(parts=('v', 'p', 'b'), part_order=('b', 'v', 'p'), max_wait=24),
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


@pytest.mark.parametrize('arch,size,n_tokens', [('awd_lstm', 'small', 40), ('transformer', 'tiny', 25)])
def test_a_hundred_pieces_are_the_same_in_any_batch(encoder, prompts, arch, size, n_tokens):
    model = random_model(encoder, arch, size)
    make = lambda n, **kwargs: ids_of(sample(model, n=n, n_tokens=n_tokens, prompts=prompts, seed=7, **kwargs))
    whole = make(100, batch_size=100)
    assert len({tuple(p) for p in whole}) > 90 and {len(p) for p in whole} >= {1 + n_tokens, 40 + n_tokens}
    for batch_size in (7, 32): assert make(100, batch_size=batch_size) == whole
    assert make(100 if arch == 'awd_lstm' else 20, batch_size=1) == whole[:100 if arch == 'awd_lstm' else 20]


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
    ends = {w: 3. for w in enc.vocab.itos if w.startswith('end')}
    waits = {f'wait{k}': 1. for k in range(1, enc.config.wait_cap + 1)}
    onsets = {f'{part}{pitch}': -.5 for part in config.parts for pitch in range(30, 90, 5)}
    closing = Fixed(enc, {**ends, **waits, **onsets, 'xxeos': 5.})
    for model in (random_model(enc), closing):
        for p in sample(model, n=30, n_tokens=120, random_freq=1., top_k=None, temperature=1.2):
            notes = enc.decode(p.ids)
            assert notes.attrs['dropped'] == 0
            if p.ids[-1] == EOS:
                n_closed += 1
                assert np.array_equal(enc.encode(notes), p.ids)
    assert n_closed > 20


def test_constrained_continuations_decode_whole(model, prompts, encoder):
    for p in sample(model, n=20, n_tokens=100, prompts=prompts, random_freq=1., top_k=None):
        assert encoder.decode(p.ids).attrs['dropped'] == 0
        assert 0 < p.prompt_steps or p.prompt_len == 1


def test_without_the_grammar_tokens_without_meaning_come(model, encoder):
    pieces = sample(model, n=10, n_tokens=100, constrain=False, random_freq=1., top_k=None)
    assert np.mean([encoder.decode(p.ids).attrs['dropped'] for p in pieces]) > 20
    assert all(PAD not in p.ids and BOS not in p.ids[1:] for p in pieces)


def test_the_mass_removed_is_what_the_mask_forbids(encoder):
    "A generator that puts half its mass on the end of a note that never sounds."
    even = Fixed(encoder, {'endv60': 0., 'wait12': -1.0, 'v90': float(np.log(1 - np.exp(-1)))})
    never = Fixed(encoder, {'v90': 0., 'wait12': 0.})
    rule = dict(n=4, n_tokens=50, random_freq=1., top_k=None)
    assert [p.info['removed'] for p in sample(even, constrain=False, **rule)] == pytest.approx([0]*4, abs=1e-6)
    assert min(p.info['removed'] for p in sample(even, **rule)) >= .499
    after_wait = [p.info['removed'] for p in sample(Fixed(encoder, {'wait12': 0.}), n=2, n_tokens=30)]
    assert after_wait[0] == pytest.approx(1/30, abs=.04) and after_wait[0] > .01 # the first token cannot be a wait
    assert max(p.info['removed'] for p in sample(never, constrain=False, **rule)) < 1e-6


def test_min_tokens_bans_the_end(encoder):
    eager = Fixed(encoder, {'xxeos': 9., 'v60': 0., 'endv60': 0., 'wait6': 0.})
    short = sample(eager, n=10, n_tokens=50)
    assert max(len(p.ids) for p in short) < 20 and all(p.ids[-1] == EOS for p in short)
    for constrain in (True, False):
        for k in (30, 50):
            for p in sample(eager, n=10, n_tokens=50, min_tokens=k, constrain=constrain):
                assert len(p.ids) > k and EOS not in p.ids[:k + 1]
    prompt = encoder.from_text('xxbos v60 wait6 endv60')
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
    a, b = uniforms(3, [0, 5, 9], 40), uniforms(3, [9, 5], 60)
    assert np.array_equal(a[2], b[0, :, :40]) and np.array_equal(a[1], b[1, :, :40])
    assert a.min() >= 0 and a.max() < 1 and not np.array_equal(a[:, 0], a[:, 1])
    assert not np.array_equal(uniforms(4, [0], 40), a[:1])
    assert uniforms(0, range(200), 200).mean((0, 2)) == pytest.approx([.5]*3, abs=.01)


@pytest.mark.parametrize('options,message', [
    (dict(n=0), 'n must be at least 1'), (dict(n=-3), 'n must'), (dict(n_tokens=0), 'n_tokens'), (dict(batch_size=0), 'batch_size'),
    (dict(top_k=0), 'top_k'), (dict(random_freq=1.5), 'random_freq'), (dict(random_freq=-.1), 'random_freq'),
    (dict(top_p=1.1), 'top_p'), (dict(min_p=-1), 'min_p'), (dict(temperature=0), 'temperature'),
    (dict(temperature=float('nan')), 'temperature'), (dict(top_p=float('nan')), 'top_p'),
    (dict(prompts=[]), 'empty'), (dict(prompts=[[5, 6]]), 'xxbos'), (dict(prompts=[[]]), 'xxbos'),
    (dict(prompts=[[BOS, 9999]]), 'vocabulary'), (dict(prompts=[[BOS, -4]]), 'prompt 0')])
def test_options_without_sense_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message): sample(model, **{**dict(n=2, n_tokens=5), **options})


def test_a_classifier_is_no_generator(encoder):
    from musiclm.models import make_classifier
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
    order = in_turn(table)
    assert sorted(order) == list(range(len(table)))
    assert sorted(table.iloc[order[:3]]['composer']) == ['a', 'b', 'c']
    assert table.iloc[in_turn(table, 90)]['composer'].value_counts().tolist() == [30, 30, 30]
    assert in_turn(table, 90, seed=1).tolist() != in_turn(table, 90).tolist()


def test_a_piece_reads_writes_and_shows_itself(model, prompts, tmp_path):
    from musiclm.notes import read_score
    piece = sample(model, n=2, n_tokens=80, prompts=prompts[2:3])[1]
    assert np.array_equal(piece.encoder.from_text(piece.text), piece.ids) and len(piece) == len(piece.ids)
    assert len(piece.notes) > 5 and piece.prompt_steps > 0
    piece.write_midi(tmp_path/'a.mid')
    back = read_score(tmp_path/'a.mid')
    assert sorted(back['pitch']) == sorted(piece.notes['pitch'])
