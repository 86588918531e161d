"Evaluation and leaderboard, with a judge made by hand that tells composers by their pitch."
import numpy as np
import pandas as pd
import pytest
import torch

from musiclm.compare import evaluate, judge_clips, leaderboard, rank_with_ties, references
from musiclm.copying import CopyIndex, longest_copies
from musiclm.corpus import clips, toy_corpus
from musiclm.critic import clips_of, real_clips
from musiclm.metrics import (compression_ratio, conditional_inception_score, describe_structure, descriptor_distances, frechet_distance,
                             inception_score, kernel_distance, normalised_score, unique_ratio)
from musiclm.ngram import NGram
from musiclm.sampling import Piece, sample
from musiclm.tokens import EncodingConfig, NotewiseEncoder

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
    cut, kept = clips_of(pieces, LENGTH, 1)
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
    assert plain['score_high'] - plain['score_low'] > row['score_high'] - row['score_low']
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


def test_bad_judges_are_one_clear_line(judge, pieces, real):
    other = HandJudge(NotewiseEncoder(EncodingConfig(max_wait=24)))
    with pytest.raises(ValueError, match='another vocabulary'): evaluate(pieces, real, other)
    with pytest.raises(ValueError, match='does not know bach'): evaluate(pieces, real, judge, composers=['bach']*12)
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
    with pytest.raises(ValueError, match="no split 'train'"): leaderboard({'a': ngram}, judge, untaught, n=4, progress=False)
    with pytest.raises(ValueError, match='is longer than 9999'): leaderboard({'a': ngram}, judge, corpus, n=4, prompt_tokens=9999)


def test_real_clips_take_composers_and_works_in_turn(corpus):
    cut, info = real_clips(corpus, 'test', 8, LENGTH, prompt_tokens=20)
    assert cut.shape == (8, LENGTH) and (info['composer'].value_counts() == 4).all()
    works = corpus.manifest[corpus.manifest['split'] == 'test'].groupby('composer')['work'].nunique()
    assert (info.groupby('composer')['work'].nunique() >= np.minimum(works, 4)).all()
    with pytest.raises(ValueError, match='shorter clips'): real_clips(corpus, 'test', 8, 5000)


def test_ranks_and_ties():
    t = pd.DataFrame(dict(score=[1., 2., 3.], score_low=[.5, 1.4, 2.9], score_high=[1.5, 2.6, 3.1]), index=list('abc'))
    ranked = rank_with_ties(t)
    assert ranked.index.tolist() == list('cba') and ranked['rank'].tolist() == [1, 2, 2] and ranked['ties'].tolist() == ['', 'a', 'b']


def test_leaderboard(corpus, judge, ngram):
    unigram = NGram(ngram.vocab, ngram.encoding, ngram.keys[:1], ngram.counts[:1])
    make = lambda: leaderboard({'four': ngram, 'one': unigram}, judge, corpus, n=16, prompt_tokens=16, progress=False)
    table = make()
    assert set(table.index) == {'four', 'one'} and (table['n'] == 16).all()
    assert table.loc['four', 'bits_per_note'] < table.loc['one', 'bits_per_note']
    assert table.loc['one', 'parameters'] == len(ngram.vocab) and (table['tokens_per_second'] > 0).all()
    assert {'floor', 'ceiling'} <= set(table.attrs) and table['judge_hash'].nunique() == 1
    assert table.loc['four', 'copied_share'] >= table.loc['one', 'copied_share'] and table['real_copied_share'].nunique() == 1
    pd.testing.assert_frame_equal(table.drop(columns='tokens_per_second'), make().drop(columns='tokens_per_second'))
    with pytest.raises(ValueError, match='no generators'): leaderboard({}, judge, corpus)


def test_a_wrong_column_or_count_is_refused_before_the_work(corpus, judge, ngram, pieces):
    for by in ('kernel_distance', 'frechet_distance', 'nothing'):
        with pytest.raises(ValueError, match=f'not by {by!r}'): leaderboard({'a': ngram}, judge, corpus, n=4, by=by, progress=False)
    with pytest.raises(ValueError, match='3 groups for 12 pieces'): judge_clips(pieces, judge, groups=['a', 'b', 'c'])
    with pytest.raises(ValueError, match='13 composers for 12 pieces'): judge_clips(pieces, judge, composers=['alto']*13)
