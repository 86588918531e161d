"Evaluation and leaderboard, with a judge made by hand that tells composers by their pitch."
import numpy as np
import pandas as pd
import pytest
import torch

from musiclm import compare
from musiclm.compare import EvaluationContext, evaluate, generator_hash, judge_clips, leaderboard, plot_leaderboard, rank_paired, references
from musiclm.copying import CopyIndex, longest_copies
from musiclm.corpus import clips, toy_corpus
from musiclm.critic import clips_of_pieces
from musiclm.corruptions import real_clips
from musiclm.metrics import (compression_ratio, conditional_inception_score, describe_structure, descriptor_distances, frechet_distance,
                             inception_score, kernel_distance, normalised_score, unique_ratio)
from musiclm.ngram import NGram
from musiclm.report import write_leaderboard
from musiclm.sampling import sample
from musiclm.pieces import Piece
from musiclm.tokens import NotewiseEncoder
from musiclm.vocab import EncodingConfig

LENGTH = 48


class HandJudge(torch.nn.Module):
    "Embeds a clip as shares of its token kinds and says who it is by from its mean pitch."
    def __init__(self, encoder, labels=('alto', 'basso')):
        super().__init__()
        self.vocab, self.encoding, self.labels, self.encoder = encoder.vocab, encoder.config, list(labels), encoder
        self.temperature, self.clip_length = 1.5, LENGTH
        self.register_buffer('pitch', torch.tensor(np.maximum(encoder.pitch_of, 0), dtype=torch.float32))
        self.weight = torch.nn.Parameter(torch.ones(1))
    def reset(self): pass
    def embed(self, x):
        p = self.pitch[x]
        return torch.stack([p.sum(1)/(p > 0).sum(1).clamp(min=1)/12, p.std(1)/12, (p > 0).float().mean(1)*5], 1)
    def out(self, e):
        high = (e[:, 0] - 5.3)*3*self.weight
        return torch.stack([high, -high], 1)
    def forward(self, x): return self.out(self.embed(x))


@pytest.fixture(scope='module')
def corpus(): return toy_corpus(n=48, beats=40)


@pytest.fixture(scope='module')
def judge(corpus): return HandJudge(corpus.encoder).eval()


@pytest.fixture(scope='module')
def gentle(corpus): # hardly ever sure, so that real clips are above noise
    judge = HandJudge(corpus.encoder).eval()
    judge.weight.data.fill_(.2)
    return judge


@pytest.fixture(scope='module')
def ngram(corpus):
    return NGram.fit([corpus.tokens(i) for i in corpus.indices('train')], corpus.vocab, corpus.encoder.config, order=4, transpositions=(0,))


@pytest.fixture(scope='module')
def real(corpus, judge):
    cut, info = clips(corpus, LENGTH, 'test')
    return judge_clips(cut, judge, groups=info['work'])


@pytest.fixture(scope='module')
def pieces(corpus, ngram):
    prompts = [corpus.tokens(i)[:20] for i in corpus.indices('test')[:4]]
    return sample(ngram, n=12, n_tokens=LENGTH + 64, prompts=prompts, min_tokens=LENGTH + 64)


def test_clips_follow_the_prompt_by_the_rule_that_cuts_real_clips(corpus, pieces):
    cut, kept = clips_of_pieces(pieces, LENGTH, 1)
    assert cut.shape == (12, LENGTH) and kept.tolist() == list(range(12))
    for c, p in zip(cut, pieces): assert np.array_equal(c, corpus.encoder.clip(p.ids, p.prompt_len, LENGTH))


def test_short_pieces_are_counted(corpus, judge, pieces, real):
    short = [Piece(p.ids[:p.prompt_len + 10], p.encoder, p.prompt_len, p.info) for p in pieces[:3]]
    row = evaluate(short + pieces, real, judge).iloc[0]
    assert (row['n'], row['n_short']) == (12, 3)
    assert row['score'] == evaluate(pieces, real, judge)['score'].iloc[0]
    with pytest.raises(ValueError, match='no piece goes on for 48 tokens'): evaluate(short, real, judge)
    with pytest.raises(ValueError, match='no pieces'): evaluate([], real, judge)


def test_the_row_is_what_the_metrics_say(judge, pieces, real):
    works, who = np.arange(12) % 4, ['alto', 'basso']*6
    got = judge_clips(pieces, judge, groups=works, composers=who)
    floor = inception_score(np.random.default_rng(0).dirichlet([50, 50], 40))
    row = evaluate(pieces, real, judge, floor, groups=works, composers=who, name='x').loc['x']
    labels = np.arange(12) % 2
    s, c = inception_score(got.probs, works, strata=labels), conditional_inception_score(got.probs, labels, works, strata=labels)
    assert (row['score'], row['score_low'], row['score_high'], row['log_score']) == (s.value, s.low, s.high, s.log)
    assert (row['conditional'], row['conditional_low']) == (c.value, c.low)
    assert row['normalised'] == normalised_score(s, floor, inception_score(real.probs, real.groups)).value
    assert row['kernel_distance'] == pytest.approx(kernel_distance(got.embeddings, real.embeddings).value)
    assert row['frechet_distance'] == pytest.approx(frechet_distance(got.embeddings, real.embeddings))
    tables = [[judge.encoder.decode(c) for c in o.clips] for o in (got, real)]
    far = descriptor_distances(*map(describe_structure, tables))
    assert row['structure_distance'] == pytest.approx(far['wasserstein'].mean(), nan_ok=True)
    assert row['compression_ratio'] == pytest.approx(compression_ratio(got.clips).mean())
    assert row['real_compression_ratio'] == pytest.approx(compression_ratio(real.clips).mean())
    assert row['unique'] == unique_ratio(got.clips) and row['temperature'] == 1.5 and len(row['judge_hash']) == 12


def test_works_are_drawn_within_composers(corpus, judge):
    cut, info = clips(corpus, LENGTH, 'test')
    told = judge_clips(cut, judge, groups=info['work'], composers=info['composer'])
    row = evaluate(told, cut, judge, floor=inception_score(np.full((9, 2), .5)), reference_groups=info['work'],
                   reference_composers=info['composer']).iloc[0]
    s = inception_score(told.probs, info['work'].to_numpy(), strata=told.labels)
    assert (row['score_low'], row['score_high']) == (s.low, s.high) and row['normalised_low'] == row['normalised_high'] == 1
    plain = evaluate(cut, cut, judge, groups=info['work']).iloc[0]
    assert plain['log_se'] != row['log_se'] # composers' proportions are part of the design
    assert plain['score'] == pytest.approx(row['score'], abs=.02) # the same, but for what makes up for the bias


def test_copying_stands_beside_that_of_real_music(corpus, judge, pieces, real):
    index = CopyIndex.of(corpus)
    assert not [c for c in evaluate(pieces, real, judge) if 'cop' in c or 'echo' in c]
    row = evaluate(pieces, real, judge, copies=index).iloc[0]
    found, human = (longest_copies(c, index, corpus.encoder) for c in (judge_clips(pieces, judge).clips, real.clips))
    for name, table in (('', found), ('real_', human)):
        assert row[f'{name}copied_share'] == table['share'].mean() and row[f'{name}longest_copy_median'] == table['length'].median()
        assert row[f'{name}longest_copy_max'] == table['length'].max()
    learnt, _ = clips(corpus, LENGTH, 'train', 1)
    by_heart = evaluate(learnt, real, judge, copies=index).iloc[0]
    assert by_heart['real_longest_copy_median'] == human['length'].median()
    assert row['copying_pieces'] == (found['length'] > human['length'].quantile(.95)).mean()
    assert 'prompt_echo' in row and 'prompt_echo' not in by_heart
    ids = [corpus.tokens(i)[:90] for i in corpus.indices('test')[:4]]
    echoes = [Piece(np.r_[o, o[1:]], corpus.encoder, 90, {'prompt': i}) for i, o in enumerate(ids)]
    assert evaluate(echoes, real, judge, copies=index).iloc[0]['prompt_echo'] > row['prompt_echo'] + .3


def test_without_a_floor_nothing_is_normalised(judge, pieces, real):
    assert 'normalised' not in evaluate(pieces, real, judge) and 'conditional' not in evaluate(pieces, real, judge)


def test_prompts_cluster_the_interval_by_themselves(judge, pieces):
    assert judge_clips(pieces, judge).groups.tolist() == [0, 1, 2, 3]*3
    assert judge_clips(pieces[:1], judge).groups is None


def test_a_leaderboard_says_what_it_does(corpus, gentle, ngram):
    said = []
    leaderboard({'a': ngram}, gentle, None, corpus, n=12, prompt_tokens=16, settings={'': {}, 'cool': dict(temperature=.5)}, progress=False, say=said.append)
    assert said == ['openings of held-out works, and 12 real clips', 'what all rows are set beside: noise, and what the composers wrote',
                    'row 1 of 2: a', 'row 2 of 2: a, cool']


def test_composers_are_known_whatever_the_case(judge, pieces):
    names = ['alto', 'basso']*6
    assert judge_clips(pieces, judge, composers=[c.title() for c in names]).labels.tolist() == judge_clips(pieces, judge, composers=names).labels.tolist()


def test_bad_judges_are_one_clear_line(judge, pieces, real):
    other = HandJudge(NotewiseEncoder(EncodingConfig(max_wait=24)))
    with pytest.raises(ValueError, match='another vocabulary'): evaluate(pieces, real, other)
    with pytest.raises(ValueError, match='was not trained on bach; of these composers it was trained on none: train one on'):
        evaluate(pieces, real, judge, composers=['bach']*12)
    with pytest.raises(ValueError, match='was not trained on Bach, Liszt; of these composers it was trained on ALTO: train one on'):
        evaluate(pieces, real, judge, composers=['Bach', 'ALTO', 'Liszt']*4)
    with pytest.raises(ValueError, match='clips of 20 tokens'): evaluate(real.clips[:, :20], real, judge)
    with pytest.raises(ValueError, match='1 clips for 2 composers'): evaluate(pieces[:1], real, judge)


def test_a_judge_that_fails_gives_no_score(corpus, pieces, real):
    broken = HandJudge(corpus.encoder).eval()
    torch.nn.init.constant_(broken.weight, float('nan'))
    with pytest.raises(ValueError, match='NaN'): evaluate(pieces, real, broken)


def test_a_corpus_that_does_not_fit_is_one_clear_line(corpus, judge, ngram):
    other = HandJudge(NotewiseEncoder(EncodingConfig(max_wait=24)))
    with pytest.raises(ValueError, match='another vocabulary than the corpus'): references(other, corpus, 8)
    untaught = corpus.select(corpus.indices('test'))
    with pytest.raises(ValueError, match="no split 'train'"): leaderboard({'a': ngram}, judge, None, untaught, n=4, progress=False)
    with pytest.raises(ValueError, match='is longer than 9999'): leaderboard({'a': ngram}, judge, None, corpus, n=4, prompt_tokens=9999)


def test_real_clips_take_composers_and_works_in_turn(corpus):
    cut, info = real_clips(corpus, 'test', 8, LENGTH, prompt_tokens=20)
    assert cut.shape == (8, LENGTH) and (info['composer'].value_counts() == 4).all()
    works = corpus.manifest[corpus.manifest['split'] == 'test'].groupby('composer')['work'].nunique()
    assert (info.groupby('composer')['work'].nunique() >= np.minimum(works, 4)).all()
    with pytest.raises(ValueError, match='shorter clips'): real_clips(corpus, 'test', 8, 5000)


def test_ranks_are_by_pairs_and_copies_are_not_ranked():
    chance = np.random.default_rng(0)
    hard, levels = chance.normal(size=500)*.3, dict(c=.49, b=.5, a=1., parrot=2.) # much of what is hard about a draw is hard for all
    draws = {n: hard + level + chance.normal(size=500)*.02 for n, level in levels.items()}
    t = pd.DataFrame(dict(score=np.exp(list(levels.values())), copies=[False, False, False, True]), index=list(draws))
    ranked = rank_paired(t, draws)
    assert ranked.index.tolist() == ['a', 'b', 'c', 'parrot'] and ranked['rank'].tolist()[:3] == [1, 2, 2] and ranked['rank'].isna()['parrot']
    assert ranked['ties'].tolist()[:3] == ['', 'c', 'b'] and 'copies' in ranked.loc['parrot', 'ties']
    apart = rank_paired(t, {n: d - hard + chance.normal(size=500)*.3 for n, d in draws.items()}) # nothing in common
    assert apart['rank'].tolist()[:3] == [1, 1, 1]


@pytest.fixture(scope='module')
def bench(corpus, gentle): return EvaluationContext(gentle, None, corpus, 24, 16, 'test', 0)


def test_draws_of_works_have_the_spread_of_the_scores(bench, ngram):
    found = bench.judged(bench.track_state(bench.draw(ngram)))
    for name, score in bench.scores(found).items():
        drawn = bench.draws(found)[name]
        assert drawn.std() == pytest.approx(score.se, rel=.2) and drawn.mean() == pytest.approx(score.log, abs=.05)
    s = inception_score(np.array(found['probs']), found['works'], strata=found['labels'])
    assert bench.scores(found)['score'] == s and (bench.draws(found)['score'] == bench.draws(found)['score']).all()


def test_copies_are_weighed_by_work(bench):
    works = bench.where['work'].tolist()
    human = np.random.default_rng(0).uniform(0, .1, len(works))
    excess = lambda shares: bench.copying_excess(dict(copied=list(shares), works=works), dict(copied=list(human), works=works))
    same = excess(human)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    one = np.where(np.array(works) == works[0], .9, human) # a good part of the pieces, but all of one work
    assert excess(one).value > .5 and excess(one).low <= 0 < excess(np.full(len(works), .9)).low


class Parrot:
    "Goes on with training pieces by heart, whatever the opening."
    def __init__(self, corpus):
        self.vocab, self.encoding, self.build = corpus.vocab, corpus.encoder.config, {}
        self.pieces = [np.asarray(corpus.tokens(i), np.int64)[1:-1] for i in corpus.indices('train')]
        self.order = self.n_params = 1
    def init_state(self, batch): return torch.zeros(batch, dtype=torch.long)
    def step(self, tokens, state):
        logits = torch.full((len(tokens), len(self.vocab)), -30.)
        for row, at in enumerate(state.tolist()):
            own = self.pieces[row%len(self.pieces)]
            logits[row, own[max(at - 15, 0)%len(own)]] = 30.
        return logits, state + 1
    def nats(self, pieces, order): return np.ones(sum(len(p) - 1 for p in pieces))
    def state_arrays(self): return {str(i): p for i, p in enumerate(self.pieces)}


def test_what_copies_is_not_ranked(corpus, ngram):
    long = HandJudge(corpus.encoder).eval()
    long.weight.data.fill_(.2)
    long.clip_length = 128 # a passage that counts has 16 notes
    learnt = corpus.select([i for i in corpus.indices('train') if corpus.manifest['composer'][i] == 'basso'][:3])
    table = leaderboard({'parrot': Parrot(learnt), 'four': ngram}, long, None, corpus, n=24, prompt_tokens=16, progress=False,
                        copies=CopyIndex.of(learnt))
    assert table.index.tolist() == ['four', 'parrot'] and table.loc['four', 'rank'] == 1
    parrot = table.loc['parrot']
    assert parrot['copies'] and pd.isna(parrot['rank']) and parrot['copying_excess_low'] > 0 and parrot['copied_95'] > table.attrs['human']['copied_95']


def test_a_leaderboard_measures_once(corpus, gentle, ngram, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(compare, 'sample', lambda *a, **kw: calls.append(1) or sample(*a, **kw))
    make = lambda models: leaderboard(models, gentle, None, corpus, n=16, prompt_tokens=16, cache=tmp_path, progress=False,
                                      settings={'drawn': dict(random_freq=1., top_k=None), 'top 5': {}})
    table = make({'four': ngram})
    assert len(calls) == 3 and set(table.index) == {'four, drawn', 'four, top 5'} # noise, and two rules
    again = make({'four': ngram})
    assert len(calls) == 3
    pd.testing.assert_frame_equal(table, again)
    other = NGram(ngram.vocab, ngram.encoding, ngram.keys[:2], ngram.counts[:2])
    assert generator_hash(other) != generator_hash(ngram)
    assert len(make({'four': ngram, 'two': other})) == 4 and len(calls) == 5
    assert plot_leaderboard(table) is not None


def test_leaderboard(corpus, gentle, ngram):
    unigram = NGram(ngram.vocab, ngram.encoding, ngram.keys[:1], ngram.counts[:1])
    make = lambda **kw: leaderboard({'four': ngram, 'one': unigram}, gentle, None, corpus, n=16, prompt_tokens=16, progress=False, **kw)
    table = make()
    assert set(table.index) == {'four', 'one'} and (table['n'] == 16).all()
    assert table.loc['four', 'bits_per_note'] < table.loc['one', 'bits_per_note'] and table.loc['one', 'parameters'] == len(ngram.vocab)
    assert {'floor', 'ceiling', 'human', 'judge_hash'} <= set(table.attrs) and table.loc['four', 'copied_95'] >= table.loc['one', 'copied_95']
    bench = EvaluationContext(gentle, None, corpus, 16, 16, 'test', 0)
    real, noise = bench.scores(bench.judged(bench.real)), bench.scores(bench.reference()['noise'])
    for name, column in dict(score='normalised', conditional='conditional_normalised').items():
        place = (np.log(table[name]) - noise[name].log)/(real[name].log - noise[name].log)
        assert table[column].tolist() == pytest.approx(place.tolist()) and table.attrs['human'][name] == real[name].value
    assert table['kernel_distance'].between(table['kernel_distance_low'], table['kernel_distance_high']).all()
    other = make(rank_by='conditional')
    assert other['conditional'].is_monotonic_decreasing and table['score'].is_monotonic_decreasing and other.attrs['rank_by'] == 'conditional'
    with pytest.raises(ValueError, match='no generators'): leaderboard({}, gentle, None, corpus)
    with pytest.raises(ValueError, match="not by 'recall'"): make(rank_by='recall')


@pytest.mark.parametrize('width', [1400, 400])
def test_the_page_of_a_leaderboard(corpus, gentle, ngram, tmp_path, open_page, width):
    settings = {'drawn': dict(random_freq=1., top_k=None), 'top 5': {}}
    table = leaderboard({'four': ngram}, gentle, None, corpus, n=8, prompt_tokens=16, progress=False, settings=settings)
    page = open_page(write_leaderboard(table, corpus.encoder, tmp_path/'index.html'), width)
    assert page.locator('article').count() == page.locator('article audio[aria-label^="Play "]').count() == 2
    assert page.locator('svg[role=img][aria-label^="Piano roll of"]').count() == 2
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    best = table.iloc[0]
    assert f'{best["kernel_distance"]:.3f}' in page.locator('article').first.inner_text()
    page.locator('article audio').first.evaluate('a => { a.preload = "auto"; a.load(); }')
    page.wait_for_function('document.querySelector("article audio").duration > 1')


def test_an_interrupted_comparison_keeps_what_is_done(tmp_path, corpus, gentle, ngram, monkeypatch):
    other, calls = NGram(ngram.vocab, ngram.encoding, ngram.keys[:2], ngram.counts[:2]), []
    def counted(model, *args, **kwargs):
        if model is other and len(calls) < 3: raise KeyboardInterrupt
        calls.append(model)
        return sample(model, *args, **kwargs)
    monkeypatch.setattr(compare, 'sample', counted)
    make = lambda: leaderboard({'a': ngram, 'b': other}, gentle, None, corpus, n=8, prompt_tokens=16, cache=tmp_path, progress=False)
    with pytest.raises(KeyboardInterrupt): make()
    assert calls[1:] == [ngram] and not list(tmp_path.glob('.*'))
    calls.append(None)
    assert set(make().index) == {'a', 'b'} and calls[3:] == [other]


def test_a_wrong_count_is_refused_before_the_work(judge, pieces):
    with pytest.raises(ValueError, match='3 groups for 12 pieces'): judge_clips(pieces, judge, groups=['a', 'b', 'c'])
    with pytest.raises(ValueError, match='13 composers for 12 pieces'): judge_clips(pieces, judge, composers=['alto']*13)
