"Law 2: real and generated clips under equal conditions; and the critic's choice among pieces; the score in a training table."
import numpy as np
import pytest
import torch

from musiclm import critic
from musiclm.callbacks import MusicalInceptionScore
from musiclm.corpus import toy_corpus
from musiclm.critic import (baseline_critic_scores, best_of, clips_of_pieces, critic_clips, critic_learner,
    critic_scores, evaluate_critic, generated_clips, load_clips, piece_critic_scores, rank, save_clips)
from musiclm.corruptions import real_clips
from musiclm.composer import histogram_features
from musiclm.copying import CopyIndex
from musiclm.data import classifier_dataloaders, lm_dataloaders
from musiclm.generator import generator_learner
from musiclm.metrics import auc
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram
from musiclm.sampling import sample
from musiclm.pieces import Piece
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EOS, EncodingConfig

LENGTH, PROMPT = 48, 24


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=40, beats=40)


class Whistle:
    "Goes on from whatever it hears with one high note again and again, which the corpus never has, and ends if it may."
    def __init__(self, encoder):
        self.vocab, self.encoding = encoder.vocab, encoder.config
        self.logits = torch.full((len(encoder.vocab),), -20.)
        end = 'dur6' if encoder.config.durations else 'endv108'
        for name, w in {'xxeos': 12., end: 10., 'v108': 9., 'wait6': 5.}.items(): self.logits[encoder.vocab.stoi[name]] = w
    def init_state(self, batch): return None
    def step(self, tokens, state): return self.logits.repeat(len(tokens), 1), None


class HandCritic(torch.nn.Module):
    "Finds a clip the more real, the higher it lies."
    def __init__(self, encoder, length=LENGTH):
        super().__init__()
        self.vocab, self.encoding, self.labels, self.temperature, self.clip_length = encoder.vocab, encoder.config, ['fake', 'real'], 1., length
        self.register_buffer('pitch', torch.tensor(np.maximum(encoder.pitch_of, 0), dtype=torch.float32))
        self.weight = torch.nn.Parameter(torch.ones(1))
    def reset(self): pass
    def embed(self, x):
        p = self.pitch[x]
        return ((p.sum(1)/(p > 0).sum(1).clamp(min=1) - 64)/4*self.weight)[:, None]
    def out(self, e): return torch.cat([-e, e], 1)
    def forward(self, x): return self.out(self.embed(x))


@pytest.fixture(scope='module')
def whistle(corpus): return Whistle(corpus.encoder)


@pytest.fixture(scope='module')
def ngram(corpus):
    return NGram.fit([corpus.tokens(i) for i in corpus.indices('train')], corpus.vocab, corpus.encoder.config, order=3, transpositions=(0,))


@pytest.fixture(scope='module')
def made(corpus, ngram, whistle):
    return critic_clips(corpus, {'three': ngram, 'whistle': whistle}, {'greedy': dict(random_freq=0.), 'drawn': dict(top_k=None)},
                        dict(train=10, valid=6, test=7), LENGTH, PROMPT, seed=2)


def test_no_token_of_a_prompt_is_in_a_generated_clip(corpus, whistle):
    whistled = {i for i, w in enumerate(corpus.vocab.itos) if w == 'v108' or w.startswith(('wait', 'dur'))}
    high = corpus.vocab.stoi['v108']
    assert not np.isin(corpus.store, [high]).any()
    for random_freq in (0., 1.):
        x, _ = generated_clips(whistle, corpus, 'train', 12, LENGTH, PROMPT, random_freq=random_freq)
        assert set(np.unique(x)) <= whistled and (x == high).sum(1).min() >= LENGTH//4


def test_real_and_generated_clips_have_one_length_and_no_ends(made):
    x, info = made
    assert x.shape == (46, LENGTH) and x.dtype == np.uint16 and x.min() > EOS
    counts = info.groupby(['split', 'label']).size()
    assert counts.to_dict() == {(s, k): n for s, n in dict(train=10, valid=6, test=7).items() for k in ('real', 'fake')}


def test_fakes_come_from_every_generator_and_rule_in_equal_shares(made):
    info = made[1]
    shares = info[info['label'] == 'fake'].groupby(['split', 'generator', 'rule']).size().unstack([1, 2])
    assert shares.loc['train'].tolist() == [2, 2, 3, 3] or sorted(shares.loc['train']) == [2, 2, 3, 3]
    assert (info[info['label'] == 'real'][['generator', 'rule']] == '').all().all()


class Announcer(Whistle):
    "Writes the tokens of composers wherever it is let, between notes that it draws."
    def __init__(self, encoder, weight):
        super().__init__(encoder)
        self.logits[:] = 0.
        self.logits[encoder.composers] = weight


@pytest.mark.parametrize('constrain', [True, False])
@pytest.mark.parametrize('prompt_tokens', [1, 2, 24])
def test_no_clip_names_a_composer(prompt_tokens, constrain):
    named = toy_corpus(n=40, beats=40, encoder=NotewiseEncoder(EncodingConfig(composers=('alto', 'basso'), velocity_bins=2,
                                                                                 durations=constrain)))
    enc, announcer = named.encoder, Announcer(named.encoder, 8. if constrain else 3.)
    fakes, _ = generated_clips(announcer, named, 'train', 6, LENGTH, prompt_tokens, constrain=constrain, random_freq=1., top_k=None)
    reals, _ = real_clips(named, 'train', None, LENGTH, prompt_tokens - 1, per_piece=40) # from the first token behind xxbos on
    pieces = sample(announcer, 6, 300, constrain=constrain, random_freq=1., top_k=None, min_tokens=300)
    assert sum((p.ids >= enc.composers.start).sum() for p in pieces) >= 4 # it does write them
    judged, _ = clips_of_pieces(pieces, LENGTH)
    for found in (fakes, reals, judged): assert found.max() < enc.composers.start and found.shape[1] == LENGTH
    counts = histogram_features(np.r_[fakes, reals], enc)
    assert (counts[:, enc.composers] == 0).all() and counts.shape[1] == len(enc.vocab) + 4*49


def test_a_grammar_goes_on_from_prompts_that_name_a_composer():
    named = toy_corpus(n=12, beats=40, encoder=NotewiseEncoder(EncodingConfig(composers=('alto', 'basso'))))
    enc, ngram = named.encoder, NGram.fit([named.tokens(i) for i in range(12)], named.vocab, named.encoder.config, order=4, transpositions=(0, 1))
    prompts = [enc.opening('alto'), enc.opening('basso'), enc.opening(), named.tokens(0)[:30]]
    for p, prompt in zip(sample(ngram, 4, 200, prompts, top_k=None, random_freq=1., min_tokens=200), prompts):
        assert (p.ids[:len(prompt)] == prompt).all() and (p.ids[2:] < enc.composers.start).all()
        assert p.notes.attrs['dropped'] == (enc.kind[p.ids[-1]] == enc.ONSET) and p.notes.attrs.get('composer') == enc.decode(p.ids[:2]).attrs.get('composer')
        assert len(prompt) == 1 or p.notes.attrs['composer'] in ('alto', 'basso')


def test_clips_of_a_split_are_of_its_works(corpus, made):
    works = {s: set(corpus.manifest['work'][corpus.manifest['split'] == s]) for s in ('train', 'valid', 'test')}
    assert not works['train'] & works['test']
    for (split, label), rows in made[1].groupby(['split', 'label']):
        assert set(rows['work']) <= works[split]
        assert set(rows['composer']) == {w.split('/')[0] for w in rows['work']} == {'alto', 'basso'}


def test_prompts_are_openings_of_works_of_the_split(corpus, whistle, monkeypatch):
    seen, whole = [], critic.sample
    def spy(model, n, n_tokens, prompts, **kwargs):
        seen.append((prompts, n_tokens, kwargs))
        return whole(model, n, n_tokens, prompts, **kwargs)
    monkeypatch.setattr(critic, 'sample', spy)
    for split in ('train', 'valid', 'test'):
        seen.clear()
        _, info = generated_clips(whistle, corpus, split, 6, LENGTH, PROMPT)
        openings = {tuple(corpus.tokens(i)[:PROMPT]): corpus.manifest['work'][i] for i in corpus.indices(split)}
        for prompts, n_tokens, kwargs in seen:
            assert all(tuple(p) in openings for p in prompts) and kwargs['min_tokens'] == n_tokens > LENGTH
        assert info['work'].tolist() == [openings[tuple(p)] for p in seen[0][0]][:len(info)]


def test_both_are_cut_by_the_rule_of_the_encoder(corpus, made):
    enc = corpus.encoder
    for c in made[0]: # decoding and encoding again changes nothing but what sounds at the end
        again = enc.encode(enc.decode(c))[1:]
        same = np.flatnonzero(again[:LENGTH] != c[:len(again)][:LENGTH])
        assert (same[0] if len(same) else LENGTH) >= LENGTH - 12


def test_clips_repeat_under_a_seed(corpus, ngram):
    make = lambda seed: generated_clips(ngram, corpus, 'valid', 5, LENGTH, PROMPT, seed)[0]
    assert np.array_equal(make(0), make(0)) and not np.array_equal(make(0), make(1))
    real = lambda seed: real_clips(corpus, 'valid', 5, LENGTH, PROMPT, seed=seed)[0]
    assert np.array_equal(real(0), real(0)) and not np.array_equal(real(0), real(1))


def test_real_clips_begin_behind_a_prompt(corpus):
    piece = corpus.select(corpus.indices('test')[:1])
    x, _ = real_clips(piece, 'test', None, LENGTH, PROMPT, per_piece=50)
    late = real_clips(piece, 'test', None, LENGTH, len(piece.tokens(0)) - 120)[0]
    assert len(late) < len(x)
    with pytest.raises(ValueError, match='shorter clips'): real_clips(piece, 'test', 3, LENGTH, len(piece.tokens(0)) - 20)


def test_a_generator_without_music_is_named(corpus):
    silent = Whistle(corpus.encoder)
    silent.logits[:] = -20
    silent.logits[corpus.vocab.stoi['wait12']] = 9.
    with pytest.raises(ValueError, match='only 0 of 8 pieces gave a clip'):
        generated_clips(silent, corpus, 'test', 2, LENGTH, PROMPT, limits=None)


def test_clips_are_stored_by_split_and_label(made, tmp_path):
    x, info = made
    save_clips(tmp_path/'clips', x, info)
    files = sorted(p.relative_to(tmp_path/'clips').as_posix() for p in (tmp_path/'clips').rglob('*') if p.is_file())
    assert files == sorted(f'{s}/{k}/clips.{e}' for s in ('train', 'valid', 'test') for k in ('real', 'fake') for e in ('npy', 'csv'))
    back, table = load_clips(tmp_path/'clips')
    row = lambda c, i: (*c.tolist(), *i[['label', 'split', 'composer', 'work', 'generator', 'rule']])
    assert sorted(row(c, i) for c, (_, i) in zip(back, table.iterrows())) == sorted(row(c, i) for c, (_, i) in zip(x, info.iterrows()))
    with pytest.raises(ValueError, match='holds no clips'): load_clips(tmp_path)


@pytest.fixture(scope='module')
def learn(corpus, whistle):
    x, info = critic_clips(corpus, {'whistle': whistle}, {'greedy': dict(random_freq=0.)}, dict(train=32, valid=8, test=12), LENGTH, PROMPT)
    use = info['split'] != 'test'
    dls = classifier_dataloaders(x[use], info['label'][use], (info['split'] == 'valid')[use], corpus.encoder, ['fake', 'real'], bs=16, device='cpu')
    torch.manual_seed(0)
    learn = critic_learner(dls, size='tiny', lr=1e-2)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(3)
    return learn, x, info


def test_a_critic_tells_a_whistle_from_music(corpus, learn):
    learn, x, info = learn
    found, test = evaluate_critic(learn, x, info, corpus.encoder), (info['split'] == 'test').to_numpy()
    assert found['auc'].value > .95 and set(found['by_generator']) == {'whistle, greedy'} and found['auc'].n == 24
    assert found['baselines']['pairs of tokens'].value > .95
    p = critic_scores(learn, x[test])
    assert p[info['label'][test] == 'real'].mean() > p[info['label'][test] == 'fake'].mean() + .3


def test_each_real_clip_has_a_twin(corpus, ngram):
    clips, prompts, about = critic.paired_real_clips(corpus, 'test', None, LENGTH, PROMPT, seed=3)
    real, info = real_clips(corpus, 'test', None, LENGTH, PROMPT, seed=3)
    assert np.array_equal(clips, real) and about.equals(info)
    ids, seen = {i: ' '.join(map(str, corpus.tokens(i))) for i in set(about['piece'])}, 0
    for clip, prompt, i in zip(clips, prompts, about['piece']): # the prompt ends where the clip begins, but for what cutting loses
        before, after = (ids[i].find(' '.join(map(str, o))) for o in (prompt[4:16], clip[8:24]))
        assert prompt[0] == 1 and len(prompt) <= PROMPT and corpus.encoder.wait_of[prompt[-1]] > 0
        if before >= 0 and after >= 0: seen += before < after
    assert seen > len(clips)/4


def test_fakes_go_on_from_the_works_of_their_twins(made):
    for (split, label), rows in made[1].groupby(['split', 'label']):
        assert sorted(rows['work']) == sorted(made[1][(made[1]['split'] == split) & (made[1]['label'] == 'real')]['work'])


def test_what_is_held_out_writes_for_the_test_only(corpus, ngram, whistle):
    rules = {'greedy': dict(random_freq=0.), 'drawn': dict(top_k=None)}
    make = lambda held: critic_clips(corpus, {'three': ngram, 'whistle': whistle}, rules, dict(train=4, valid=3, test=8), LENGTH, PROMPT,
                                     held_out=held)
    info = make(['whistle', 'drawn'])[1]
    fakes = info[info['label'] == 'fake']
    kinds = {s: set(map(tuple, rows[['generator', 'rule']].to_numpy())) for s, rows in fakes.groupby('split')}
    assert kinds['train'] == kinds['valid'] == {('three', 'greedy')} and len(kinds['test']) == 4
    assert (fakes['held_out'] == ((fakes['generator'] == 'whistle') | (fakes['rule'] == 'drawn'))).all()
    assert (info.groupby(['split', 'label']).size().unstack().nunique(axis=1) == 1).all()
    with pytest.raises(ValueError, match="held_out names 'flute'"): make(['flute'])
    with pytest.raises(ValueError, match='none is left to learn from'): make(['greedy', 'drawn'])


def test_works_for_training_can_come_from_another_split(corpus, ngram):
    other = corpus.select(range(len(corpus)))
    works = other.manifest.loc[other.manifest['split'] == 'train', 'work'].unique()[::2]
    other.manifest.loc[other.manifest['work'].isin(works), 'split'] = 'other'
    info = critic_clips(other, {'three': ngram}, {'drawn': dict(top_k=None)}, dict(train=6, test=4), LENGTH, PROMPT,
                        splits=dict(train='other'))[1]
    assert set(info['split']) == {'train', 'test'} and set(info['work'][info['split'] == 'train']) <= set(works)


@pytest.fixture(scope='module')
def reference(corpus):
    torch.manual_seed(1)
    return generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny').model.eval()


@pytest.fixture(scope='module')
def two(corpus, made):
    x, info = made
    return classifier_dataloaders(x, info['label'], (info['split'] == 'valid').to_numpy(), corpus.encoder, ['fake', 'real'], bs=8, device='cpu')


BUILDS = [dict(arch='reader'), dict(arch='awd_lstm', pooling='last'), dict(arch='transformer', reference=True), dict(reference=True),
          dict(arch='awd_lstm', reference=True, start=True), dict(start=True, pooling='last')]

@pytest.mark.parametrize('build', BUILDS, ids=str)
def test_every_critic_learns_and_comes_back_from_disk(two, made, reference, tmp_path, build):
    build = {k: reference if v is True else v for k, v in build.items()}
    before = {k: v.clone() for k, v in reference.state_dict().items()}
    torch.manual_seed(0)
    learn = critic_learner(two, size='tiny', **build)
    old = {k: v.clone() for k, v in learn.model.state_dict().items()}
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    new = learn.model.state_dict()
    moved = {k.split('.')[0] for k, v in new.items() if v.dtype.is_floating_point and not torch.equal(v, old[k])}
    assert 'reference' not in moved and {'narrow', 'out'} <= moved and ('lm' in moved) == (learn.model.lm is not None)
    assert all(torch.equal(v, before[k]) for k, v in reference.state_dict().items()) # and what was given is as it was
    save_model(learn, tmp_path/'critic')
    back = load_model(tmp_path/'critic')
    assert critic_scores(back, made[0]) == pytest.approx(critic_scores(learn, made[0]), abs=1e-6) and back.labels == ['fake', 'real']
    assert {p.name for p in (tmp_path/'critic').iterdir()} == {'README.md', 'model.json', 'model.safetensors', 'sha256.json', 'vocab.json'}
    if 'reference' in build:
        assert not back.train().reference.training and not any(p.requires_grad for p in back.reference.parameters())


def test_a_critic_hears_what_its_reference_makes_of_each_token(corpus, reference, made):
    x = torch.from_numpy(made[0].astype(np.int64))
    signs, features = critic.lm_features(reference, x)
    reference.reset()
    logits = reference(torch.cat([torch.ones(len(x), 1, dtype=torch.long), x[:, :-1]], 1))[0]
    p = logits.softmax(2)
    said = p.gather(2, x[..., None])[..., 0]
    assert torch.allclose(signs[..., 0], -said.log(), atol=1e-4)
    assert torch.allclose(signs[..., 1].expm1(), (p > said[..., None]).sum(2).float(), atol=1e-3)
    assert torch.allclose(signs[..., 2], torch.distributions.Categorical(p).entropy(), atol=1e-4)
    moments = critic.nll_moments(reference, made[0])
    assert moments == pytest.approx(torch.stack([signs[..., 0].mean(1), signs[..., 0].var(1)], 1).numpy(), abs=1e-4)


def test_starts(two, reference):
    lm = dict(reference.named_parameters())
    same = lambda learn, f: all(torch.equal(f(w), f(lm[k])) for k, w in learn.model.lm.named_parameters())
    start = critic_learner(two, start=reference)
    assert same(start, lambda w: w) and all(w.requires_grad for w in start.model.parameters()) # nothing is frozen
    shuffled = critic_learner(two, start=reference, shuffle_start=True)
    assert not same(shuffled, lambda w: w) and same(shuffled, lambda w: w.flatten().sort().values)
    assert not same(critic_learner(two, arch='awd_lstm', size='tiny'), lambda w: w.flatten().sort().values)


@pytest.mark.parametrize('schedule, moves', [('all', True), ('head', False), ('gradual', True)])
def test_schedules(two, reference, schedule, moves):
    learn = critic_learner(two, start=reference)
    old = [w.clone() for w in learn.model.lm.parameters()]
    with learn.no_bar(), learn.no_logging(): critic.fit_critic(learn, 2, schedule)
    assert any(not torch.equal(a, b) for a, b in zip(old, learn.model.lm.parameters())) == moves
    with pytest.raises(ValueError, match="unknown schedule 'slowly'"): critic.fit_critic(learn, 1, 'slowly')


def test_references_and_starts_that_do_not_fit_are_refused(two, corpus, reference, ngram):
    import copy
    from musiclm.vocab import Vocab
    def changed(**kwargs):
        other = copy.copy(reference)
        for k, v in kwargs.items(): object.__setattr__(other, k, v)
        return other
    cases = [('another vocabulary', dict(reference=changed(vocab=Vocab(corpus.vocab.itos[:-1])))),
             ('another encoding', dict(reference=changed(encoding=EncodingConfig(steps_per_beat=24)))),
             ('must be a network', dict(reference=ngram)), ('no encoder', dict(arch='reader', start=reference)),
             ('takes no reference', dict(arch='roll_cnn', reference=reference)), ('unknown pooling', dict(pooling='first')),
             ('unknown size', dict(arch='reader', size='huge')), ('generator is wanted', dict(reference=critic_learner(two, arch='reader')))]
    for message, kwargs in cases:
        with pytest.raises(ValueError, match=message) as e: critic_learner(two, **kwargs)
        assert len(str(e.value).splitlines()) == 1


def test_a_difference_of_areas_is_paired():
    rng = np.random.default_rng(0)
    y, works = np.tile([0, 1], 100), np.repeat(np.arange(20), 10)
    hard = np.repeat(rng.normal(size=20), 10) # some works are harder, for all
    a, b = ((y - .5)*w + hard*rng.choice([-1, 1], 200)*.2 + rng.normal(size=200)*.5 for w in (2., 1.))
    found = critic.auc_difference(a, b, y, works)
    assert found.value == pytest.approx(auc(a, y).value - auc(b, y).value) and 0 < found.low < found.value < found.high
    again = critic.auc_difference(b, a, y, works)
    assert (again.low, again.high) == pytest.approx((-found.high, -found.low))
    nearly = a + rng.normal(size=200)*1e-3
    assert critic.auc_difference(a, nearly, y, works).se < auc(a, y, works).se/5


def test_figures_by_kind_of_fake(corpus, learn, reference):
    learn, x, info = learn
    info = info.assign(held_out=info['rule'] == 'greedy')
    found = evaluate_critic(learn, x, info, corpus.encoder, dict(tiny=reference))
    assert {'likelihood under tiny', 'mean and variance under tiny'} <= set(found['baselines'])
    assert set(found['by_kind']) == {'whistle, greedy', 'whistle', 'rule greedy'}
    for row in found['by_kind'].values():
        assert row['held_out'] is True and row['auc'] == found['auc'] and row['best_baseline'] in found['baselines']
        assert row['difference'].value == pytest.approx(row['auc'].value - row['baseline'].value)


def test_a_critic_has_two_labels(corpus, made):
    x, info = made
    dls = classifier_dataloaders(x, info['composer'], np.arange(len(x)) < 6, corpus.encoder, bs=8, device='cpu')
    with pytest.raises(ValueError, match='labels fake and real'): critic_learner(dls, size='tiny')


def test_baselines_learn_from_training_clips_alone(corpus, made):
    x, info = made
    train, y = (info['split'] == 'train').to_numpy(), (info['label'] == 'real').to_numpy()
    scores = baseline_critic_scores(x, y, train, corpus.encoder)
    assert all(s.shape == ((~train).sum(),) for s in scores.values())
    flipped = np.where(train, y, ~y)
    for k, s in baseline_critic_scores(x, flipped, train, corpus.encoder).items(): assert np.array_equal(s, scores[k])


def piece_at(encoder, pitch, n=60, prompt=1, prompt_pitch=30):
    "Quarter notes at a pitch, behind a prompt at another."
    head = encoder.from_text('xxbos ' + ' '.join([f'v{prompt_pitch} dur12 wait12']*(prompt//3)))
    tail = encoder.from_text(' '.join([f'v{pitch} dur12 wait12']*n))
    return Piece(np.r_[head, tail].astype(np.uint16), encoder, len(head), {})


@pytest.fixture(scope='module')
def judge(corpus): return HandCritic(corpus.encoder).eval()


def test_clips_of_pieces_lie_behind_their_prompts(corpus):
    pieces = [piece_at(corpus.encoder, 70, n=80, prompt=30), piece_at(corpus.encoder, 72, n=3), piece_at(corpus.encoder, 74, n=24, prompt=9)]
    x, owner = clips_of_pieces(pieces, LENGTH, per_piece=3)
    assert owner.tolist() == sorted(owner) and set(owner) == {0, 2} and (owner == 0).sum() == 3
    pitch = corpus.encoder.pitch_of[x]
    assert set(np.unique(pitch[owner == 0])) == {-1, 70} and set(np.unique(pitch[owner == 2])) == {-1, 74}
    assert np.array_equal(x[0], corpus.encoder.clip(pieces[0].ids, pieces[0].prompt_len, LENGTH))


def test_the_best_come_first_and_the_short_last(corpus, judge):
    enc = corpus.encoder
    pieces = [piece_at(enc, p, prompt=30) for p in (60, 66, 58, 64)] + [piece_at(enc, 90, n=2)]
    order = rank(judge, pieces)
    assert [corpus.encoder.decode(p.ids)['pitch'].max() for p in order] == [66, 64, 60, 58, 90]
    found = [p.info['critic'] for p in order]
    assert found[4] is None and found[:4] == sorted(found[:4], reverse=True)
    assert found[0] == pytest.approx(1/(1 + np.exp(-1)), abs=1e-4) # two logits of ±.5
    assert [id(p) for p in best_of(judge, pieces, 2)] == [id(p) for p in order[:2]]
    assert [p.info['critic'] for p in rank(judge, pieces[::-1])] == found


def test_a_piece_is_the_mean_of_its_clips_in_logits(corpus, judge, ngram):
    from scipy.special import expit, logit

    from musiclm.sampling import sample
    pieces = sample(ngram, 5, 250, min_tokens=250, random_freq=1.)
    x, owner = clips_of_pieces(pieces, LENGTH)
    z = logit(critic_scores(judge, x))
    assert piece_critic_scores(judge, pieces) == pytest.approx([expit(z[owner == i].mean()) for i in range(5)])


def test_prompts_take_turns_and_no_piece_is_picked_twice(corpus, judge):
    pieces = [piece_at(corpus.encoder, p, prompt=30) for p in (60, 66, 64, 66, 58)]
    for p, prompt in zip(pieces, (1, 0, 0, 0, 2)): p.info['prompt'] = prompt
    height = lambda chosen: [corpus.encoder.decode(p.ids)['pitch'].max() for p in chosen]
    assert height(best_of(judge, pieces, 3)) == [66, 60, 58]
    assert height(best_of(judge, pieces, 4)) == [66, 64, 60, 58]
    assert height(best_of(judge, pieces, 5)) == [66, 66, 64, 60, 58]
    assert height(best_of(judge, pieces, 3, diverse=False)) == [66, 66, 64]


def test_copies_are_left_out_before_choosing(corpus, judge):
    pieces = [piece_at(corpus.encoder, p, prompt=30) for p in (60, 66, 64)]
    assert best_of(judge, pieces, 1, copies=[0., .8, .2])[0] is pieces[2] and pieces[2].info['copied'] == .2
    assert best_of(judge, pieces, 1, copies=[0., .8, .2], max_copy=.1)[0] is pieces[0]
    assert len(best_of(judge, pieces, 3, copies=[0., .8, .2], max_copy=1.)) == 3
    with pytest.raises(ValueError, match='of 3 only 0 are no copies'): best_of(judge, pieces, 1, copies=[.9]*3)
    with pytest.raises(ValueError, match='2 shares of copied notes for 3'): best_of(judge, pieces, 1, copies=[.9]*2)
    with pytest.raises(ValueError, match='max_copy needs copies'): best_of(judge, pieces, 1, max_copy=.1)


def test_a_recited_work_is_no_best_piece(corpus, judge):
    recited, own = Piece(corpus.tokens(corpus.indices('train')[0]), corpus.encoder, 1), piece_at(corpus.encoder, 40)
    index = CopyIndex.of(corpus)
    assert best_of(judge, [recited, own], 1)[0] is recited and best_of(judge, [recited, own], 1, copies=index)[0] is own
    assert recited.info['copied'] == 1.


def test_choices_that_cannot_be_made_are_refused(corpus, judge):
    pieces = [piece_at(corpus.encoder, 60)]
    for k in (0, 2, -1):
        with pytest.raises(ValueError, match=f'cannot pick {k} of 1'): best_of(judge, pieces, k)
    with pytest.raises(ValueError, match='goes on for 48 tokens'): best_of(judge, [piece_at(corpus.encoder, 60, n=2)], 1)
    with pytest.raises(ValueError): best_of(judge, [], 1)


def test_another_model_is_no_critic(corpus, ngram):
    class Composers(HandCritic):
        def __init__(self, encoder): super().__init__(encoder); self.labels = ['alto', 'basso']
    for model in (ngram, Composers(corpus.encoder).eval()):
        with pytest.raises(ValueError, match='critic'): best_of(model, [piece_at(corpus.encoder, 60)], 1)


@pytest.mark.parametrize('every', [1, 2])
def test_the_score_stands_in_the_table_of_a_training(corpus, every):
    class Judge(HandCritic):
        def __init__(self, encoder): super().__init__(encoder); self.labels = ['alto', 'basso']
    score = MusicalInceptionScore(Judge(corpus.encoder).eval(), corpus, n=8, every=every, prompt_tokens=PROMPT, seed=1)
    torch.manual_seed(0)
    learn = generator_learner(lm_dataloaders(corpus, bs=8, seq_len=32, device='cpu'), size='tiny', cbs=score)
    with learn.no_bar(), learn.no_logging(): learn.fit(2)
    names, rows = learn.recorder.metric_names, learn.recorder.values
    assert list(names)[-5:] == ['inception', 'inception_low', 'inception_high', 'conditional', 'time'] and len(rows) == 2
    column = {k: [float(r[list(names).index(k) - 1]) for r in rows] for k in names[1:-1]}
    assert sorted(score.scores) == ([0, 1] if every == 1 else [1])
    assert np.isnan(column['inception']).tolist() == [every == 2, False]
    for epoch, s in score.scores.items():
        assert column['inception'][epoch] == s.value and column['inception_low'][epoch] == s.low and column['inception_high'][epoch] == s.high
        assert 1 <= s.value <= 2 and s.n == 8
    x, info = generated_clips(learn, corpus, 'valid', 8, LENGTH, PROMPT, 1) # the score can be found again
    from musiclm.composer import probabilities
    from musiclm.metrics import inception_score
    assert inception_score(probabilities(score.judge, x), groups=info['work'], strata=info['composer']).value == pytest.approx(score.scores[1].value)


def test_a_judge_of_other_tokens_or_too_few_clips_are_refused(corpus):
    other = HandCritic(NotewiseEncoder(EncodingConfig(max_wait=24)))
    dls = lm_dataloaders(corpus, bs=8, device='cpu')
    with pytest.raises(ValueError, match='another vocabulary'): generator_learner(dls, size='tiny', cbs=MusicalInceptionScore(other, corpus, n=8))
    with pytest.raises(ValueError, match='2 clips are too few for 2 composers'): MusicalInceptionScore(other, corpus, n=2)
