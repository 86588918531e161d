"The figures of musiclm.metrics against closed forms, scikit-learn and slow implementations."
import json
from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from scipy.special import softmax
from sklearn import metrics as skm

from musiclm import metrics as m


@pytest.fixture
def probs():
    return np.random.default_rng(0).dirichlet(np.full(4, .4), size=200)


@pytest.fixture
def labels(probs):
    return (probs.cumsum(1) < np.random.default_rng(1).random((len(probs), 1))).sum(1)


def slow_log_is(p, correct=True):
    mean, n = p.mean(0), len(p)
    log = np.mean([sum(q*np.log(q/r) for q, r in zip(row, mean) if q > 0) for row in p])
    return log + sum(p[:, k].var(ddof=1)/mean[k] for k in range(p.shape[1]))/(2*n) if correct else log


@pytest.mark.parametrize('correct', [True, False])
def test_inception_score_is_the_definition(probs, correct):
    s = m.inception_score(probs, correct_bias=correct)
    assert s.log == pytest.approx(slow_log_is(probs, correct), abs=1e-12)
    assert s.value == pytest.approx(np.exp(s.log)) and s.n == 200
    kl = (probs*np.log(probs/probs.mean(0))).sum(1)
    assert s.se == pytest.approx(kl.std(ddof=1)/200**.5)
    assert 1 <= s.low < s.value < s.high <= 4


def test_float32_and_zeros_are_fine():
    p = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    s = m.inception_score(p, groups=np.arange(30)//3)
    assert s.value == pytest.approx(3) and s.high <= 3 + 1e-9 and np.isfinite(s.se)


def test_groups_change_the_interval_not_the_value(probs):
    alone, doubled = m.inception_score(probs), m.inception_score(np.repeat(probs, 3, 0), groups=np.repeat(np.arange(200), 3))
    assert m.inception_score(probs, groups=np.arange(200)).value == pytest.approx(alone.value)
    assert doubled.se == pytest.approx(alone.se, rel=.15)
    assert m.inception_score(np.repeat(probs, 3, 0)).se == pytest.approx(alone.se/3**.5, rel=.02)


def test_same_seed_same_interval_and_names_do_not_matter(probs):
    g = np.arange(200)//5
    a, b = m.inception_score(probs, groups=g, seed=3), m.inception_score(probs, groups=[f'op. {i}' for i in g], seed=3)
    assert a == b
    assert a != m.inception_score(probs, groups=g, seed=4)


def test_bias_is_removed():
    rng = np.random.default_rng(0)
    many = rng.dirichlet(np.full(6, .5), size=100_000)
    truth = slow_log_is(many, False)
    plain, fixed = (np.mean([m.inception_score(many[rng.integers(len(many), size=16)], correct_bias=c).log for _ in range(500)])
                    for c in (False, True))
    assert plain < truth - .04 and abs(fixed - truth) < .015


@pytest.mark.parametrize('works, each, sharp', [(4, 4, 1.), (16, 1, 6.)]) # clusters scatter the mean more, strata less
def test_bias_is_removed_where_clips_come_in_works_and_works_evenly_of_composers(works, each, sharp):
    k, rng = 4, np.random.default_rng(0)
    def draw(works, each):
        z = sharp*np.repeat(np.eye(k), works*each, 0) + np.repeat(rng.normal(size=(k*works, k)), each, 0)*(1 + (sharp > 1))
        return softmax(z + rng.normal(size=z.shape)*(1 + (sharp > 1)), 1)
    truth = m.inception_score(draw(20_000, 1)).log
    work, composer, found = np.repeat(np.arange(k*works), each), np.repeat(np.arange(k), works*each), []
    for _ in range(400):
        p = draw(works, each)
        scores = m.inception_score(p, groups=work, strata=composer, n_boot=2), m.inception_score(p)
        found.append([o.log - truth for o in scores])
    error, plain = np.mean(found, 0)
    assert abs(error) < 3*np.std(found, 0)[0]/20 and abs(error) < abs(plain)/2


@pytest.mark.parametrize('bad,word', [
    ([[np.nan, 1], [.5, .5]], 'NaN'), ([[-.5, 1.5], [.5, .5]], 'negative'), ([[.7, .7], [.5, .5]], 'sums to 1.4'),
    ([.5, .5], 'dimension'), (np.full((3, 4), .25), '3 clips for 4'), (np.ones((3, 1)), 'at least 2'), (np.zeros((0, 3)), '0 clips')])
def test_bad_probabilities_are_one_clear_line(bad, word):
    with pytest.raises(ValueError, match=word) as e: m.inception_score(bad)
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('groups,word', [([1]*200, 'one group'), ([1, 2], 'one group a clip'), ([None]*200, 'missing')])
def test_bad_groups(probs, groups, word):
    with pytest.raises(ValueError, match=word): m.inception_score(probs, groups=groups)


def test_score_prints_and_is_frozen():
    s = m.Score(1.82, np.log(1.82), .014, 1.77, 1.87, 256)
    assert str(s) == '1.82 ± 0.05 (n=256)' and 'nats' in repr(s) and 'musical Inception score' in repr(s)
    assert json.loads(json.dumps(asdict(s)))['n'] == 256
    assert list(asdict(s))[:6] == ['value', 'log', 'se', 'low', 'high', 'n']
    with pytest.raises(FrozenInstanceError): s.value = 3


def test_conditional_score(probs, labels):
    s = m.conditional_inception_score(probs, labels)
    assert s.log == pytest.approx(np.log(4) - skm.log_loss(labels, probs, labels=range(4)))
    with pytest.raises(ValueError, match='classes from 0 to 3'): m.conditional_inception_score(probs, labels + 1)
    with pytest.raises(ValueError, match='one label a clip'): m.conditional_inception_score(probs, labels[:5])
    wrong = m.conditional_inception_score(np.eye(4)[labels], (labels + 1) % 4)
    assert np.isfinite(wrong.log) and wrong.value < 1e-10


def test_normalised_score_agrees_with_simulation():
    rng = np.random.default_rng(0)
    make = lambda log, se: m.Score(np.exp(log), log, se, np.exp(log - 2*se), np.exp(log + 2*se), 256)
    e = m.normalised_score(make(.7, .03), make(.1, .02), make(.9, .04))
    s, f, c = (rng.normal(a, b, 200_000) for a, b in ((.7, .03), (.1, .02), (.9, .04)))
    assert e.value == pytest.approx(.75) and e.se == pytest.approx(((s - f)/(c - f)).std(), rel=.03)
    assert str(e) == '0.75 ± 0.10 (n=256; floor 0, held-out music 1)'
    top = make(.9, .04)
    assert m.normalised_score(top, make(.1, .02), top).se == 0


def test_bootstrap_interval_against_a_loop():
    rng = np.random.default_rng(0)
    v, g = rng.normal(size=60) + np.repeat(rng.normal(size=12), 5), np.repeat(np.arange(12), 5)
    weights = m.bootstrap_weights(12, 400, seed=5)
    loop = [np.concatenate([v[g == i] for i in range(12) for _ in range(round(w[i]*11/12))]).mean() for w in weights]
    e = m.bootstrap_interval(v, g, n_boot=400, seed=5)
    assert e.value == pytest.approx(v.mean()) and e.se == pytest.approx(np.std(loop))
    assert e.low < e.value < e.high


def test_intervals_hold_the_truth_where_works_are_few():
    rng, strata, held = np.random.default_rng(3), np.repeat(np.arange(3), 4), 0
    for seed in range(400):
        v = np.repeat(rng.normal(size=12), 4) + rng.normal(size=48)
        e = m.bootstrap_interval(v, np.repeat(np.arange(12), 4), n_boot=200, seed=seed, strata=np.repeat(strata, 4))
        held += e.low <= 0 <= e.high
    assert .93 <= held/400 <= .985 # .95 but for chance; without Student's factor some .90


def test_temperature_is_the_minimum_and_recovers(labels, probs):
    z = 2.5*np.log(probs)
    t = m.fit_temperature(z, labels, smooth=0)
    assert m.fit_temperature(z, labels) == pytest.approx(t, rel=.05)
    loss = lambda x: skm.log_loss(labels, softmax(z/x, axis=1), labels=range(4))
    assert loss(t) <= min(loss(t*1.002), loss(t/1.002)) and t == pytest.approx(2.5, rel=.25)
    with pytest.raises(ValueError, match='NaN'): m.fit_temperature(z*np.nan, labels)


@pytest.mark.parametrize('k', [2, 4])
def test_a_judge_without_errors_is_not_infinitely_sure(k):
    y = np.arange(200) % k
    p = softmax(np.eye(k)[0]*30/m.fit_temperature(np.eye(k)[y]*30, y))
    assert p[1:].sum() == pytest.approx((k - 1)/k/201, rel=.01)


def test_classification_figures_equal_sklearn(probs, labels):
    guess, g = probs.argmax(1), np.arange(200)//4
    assert m.log_loss(probs, labels, g).value == pytest.approx(skm.log_loss(labels, probs, labels=range(4)))
    assert m.accuracy(probs, labels, g).value == pytest.approx(skm.accuracy_score(labels, guess))
    assert m.macro_f1(probs, labels, g).value == pytest.approx(skm.f1_score(labels, guess, average='macro'))
    some = np.minimum(labels, 1)  # two classes never occur as labels
    assert m.macro_f1(probs, some).value == pytest.approx(skm.f1_score(some, guess, average='macro'))


def test_resampled_figures_equal_sklearn_with_weights(probs, labels):
    w = m.bootstrap_weights(200, 5, seed=0)
    score, yes = np.round(probs[:, 0], 1), labels == 0
    ours = m._weighted_auc(score, yes, w)
    assert ours == pytest.approx([skm.roc_auc_score(yes, score, sample_weight=o) for o in w])
    confusion = [skm.confusion_matrix(labels, probs.argmax(1), labels=range(4), sample_weight=o).ravel()/o.sum() for o in w]
    f1 = [skm.f1_score(labels, probs.argmax(1), average='macro', sample_weight=o) for o in w]
    assert m._macro_f1(np.array(confusion)) == pytest.approx(f1)


def test_auc(labels):
    yes = labels == 0
    assert m.auc(yes, yes).value == 1 and m.auc(~yes, yes).value == 0 and m.auc(np.ones(200), yes).value == .5
    assert m.auc(yes, yes).high <= 1
    with pytest.raises(ValueError, match='class is missing'): m.auc([1., 2.], [0, 0])
    with pytest.raises(ValueError, match='NaN'): m.auc([1., np.nan], [0, 1])


def test_calibration_error_against_a_loop(probs, labels):
    top, right, total = probs.max(1), probs.argmax(1) == labels, 0
    for i in range(15):
        inside = (top > i/15) & (top <= (i + 1)/15)
        if inside.any(): total += inside.mean()*abs(right[inside].mean() - top[inside].mean())
    assert m.expected_calibration_error(probs, labels).value == pytest.approx(total)


def test_kernel_distance_against_loops():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(7, 3)) + 1
    k = lambda a, b: (a @ b/3 + 1)**3
    pairs = lambda o: np.mean([k(a, b) for i, a in enumerate(o) for j, b in enumerate(o) if i != j])
    value = pairs(x) + pairs(y) - 2*np.mean([k(a, b) for a in x for b in y])
    assert m.kernel_distance(x, y).value == pytest.approx(value)


def test_kernel_distance_error_is_that_of_repetition():
    rng = np.random.default_rng(0)
    runs = [m.kernel_distance(rng.normal(size=(100, 4)), rng.normal(size=(120, 4)) + .4) for _ in range(200)]
    assert np.mean([e.se for e in runs]) == pytest.approx(np.std([e.value for e in runs]), rel=.2)


def test_frechet_distance_against_sqrtm():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(60, 4)) + .3
    cx, cy = np.cov(x.T), np.cov(y.T)
    value = ((x.mean(0) - y.mean(0))**2).sum() + np.trace(cx + cy - 2*sqrtm(cx @ cy).real)
    assert m.frechet_distance(x, y) == pytest.approx(value)
    assert m.frechet_distance(x[:3], y[:3]) >= 0  # fewer clips than features


def test_precision_recall_density_coverage_against_loops():
    rng = np.random.default_rng(0)
    fake, real, k = rng.normal(size=(30, 2)), rng.normal(size=(40, 2)) + .7, 3
    near = lambda o: [sorted(np.linalg.norm(a - b) for b in o)[k] for a in o]
    hit = lambda a, o, r: [np.linalg.norm(a - b) < s for b, s in zip(o, r)]
    out = m.precision_recall_density_coverage(fake, real, k)
    assert out['precision'] == pytest.approx(np.mean([any(hit(f, real, near(real))) for f in fake]))
    assert out['recall'] == pytest.approx(np.mean([any(hit(r, fake, near(fake))) for r in real]))
    assert out['density'] == pytest.approx(np.sum([hit(f, real, near(real)) for f in fake])/k/30)
    assert out['coverage'] == pytest.approx(np.mean([any(np.linalg.norm(f - r) < s for f in fake) for r, s in zip(real, near(real))]))
    with pytest.raises(ValueError, match='at least 4'): m.precision_recall_density_coverage(fake[:3], real, k)


def test_unique_ratio_knows_types_apart_only_by_value():
    assert m.unique_ratio([np.array([1, 2], np.uint16), [1, 2], (3,)]) == pytest.approx(2/3)
    with pytest.raises(ValueError): m.unique_ratio([])


def table(rows, spb=12):
    t = pd.DataFrame(rows, columns=['onset', 'duration', 'pitch', 'velocity', 'part'])
    t.attrs['steps_per_beat'] = spb
    return t


def test_descriptors_closed_form():
    d = m.descriptors(table([(0, 4, 60, 64, 0), (0, 8, 48, 64, 1), (4, 4, 61, 64, 0), (16, 4, 60, 64, 0)], spb=4))
    assert d['polyphony'] == pytest.approx((2*8 + 4)/12) and d['empty_beat_rate'] == pytest.approx(2/5)
    assert d['note_density'] == pytest.approx(4/5) and d['mean_interval'] == pytest.approx(2)
    assert d['mean_duration'] == pytest.approx(5/4) and d['first_part_share'] == .75
    assert d['pitch_class_entropy'] == pytest.approx(-.75*np.log2(.75) - .25*np.log2(.25))
    assert d['scale_consistency'] == 1 and d['pitch_range'] == 13 and np.isnan(d['groove'])  # B and C, say, in one scale


def test_descriptors_do_not_depend_on_where_a_piece_starts_or_on_key():
    rng = np.random.default_rng(0)
    rows = np.c_[np.sort(rng.integers(200, size=80)), rng.integers(1, 20, 80), rng.integers(40, 80, 80), np.full(80, 64), rng.integers(2, size=80)]
    a, b = m.descriptors(table(rows)), m.descriptors(table(rows + [1200, 0, 5, 0, 0]))
    assert b.pop('mean_pitch') == pytest.approx(a.pop('mean_pitch') + 5)
    assert a == pytest.approx(b)
    assert list(m.describe([table(rows)])) == m.DESCRIPTORS


@pytest.mark.parametrize('rows', [[], [(0, 1, 60, 64, 0)], [(5, 0, 60, 64, 0)]])
def test_tiny_tables_are_described(rows):
    assert m.descriptors(table(rows))['n_notes'] == len(rows)


def test_overlap_area():
    rng = np.random.default_rng(0)
    a = rng.normal(size=4000)
    assert m.overlap_area(a, a + 1) == pytest.approx(2*0.3085, abs=.05)  # two normals one sd apart: 2 Φ(−1/2)
    assert m.overlap_area([3., 3.], [3., 3.]) == 1 and m.overlap_area(np.full(999, 3.), np.full(999, 4.)) < .01
    assert np.isnan(m.overlap_area([np.nan], [1.]))


def test_class_divergence(probs):
    assert m.class_divergence(probs, probs) == pytest.approx(0, abs=1e-12)
    assert m.class_divergence(np.eye(4), np.tile([.7, .1, .1, .1], (5, 1))) == pytest.approx(.25*sum(np.log(.25/q) for q in (.7, .1, .1, .1)))


def test_descriptors_agree_with_muspy():
    muspy = pytest.importorskip('muspy')
    rng = np.random.default_rng(0)
    rows = [(t, int(rng.integers(1, 20)), p, 64, 0) for t in range(0, 192, 6) for p in rng.choice(np.arange(50, 80), 2, replace=False)]
    music = muspy.Music(resolution=12, tracks=[muspy.Track(notes=[muspy.Note(t, p, d, 64) for t, d, p, *_ in rows])])
    d = m.descriptors(table(rows))
    assert d['pitch_class_entropy'] == pytest.approx(muspy.pitch_class_entropy(music))
    assert d['scale_consistency'] == pytest.approx(muspy.scale_consistency(music))
    assert (d['pitch_range'], d['n_pitches']) == (muspy.pitch_range(music), muspy.n_pitches_used(music))


def test_groove_compares_neighbouring_bars():
    rows = [(t, 1, 60, 64, 0) for t in (0, 4, 8, 12)] + [(16, 16, 60, 64, 0)] # four beats struck, then one
    assert m.descriptors(table(rows, 4))['groove'] == pytest.approx(13/16)


def test_neighbours_agree_with_prdc():
    prdc = pytest.importorskip('prdc')
    rng = np.random.default_rng(0)
    fake, real = rng.normal(size=(60, 5)), rng.normal(size=(80, 5)) + .5
    assert m.precision_recall_density_coverage(fake, real, 5) == pytest.approx(prdc.compute_prdc(real, fake, nearest_k=5))


def test_compression_ratio_counts_bytes():
    import zlib
    clips = np.random.default_rng(0).integers(0, 400, (3, 200)).astype(np.uint16)
    clips[1] = 7
    ratio = m.compression_ratio(clips)
    assert ratio.tolist() == [400/len(zlib.compress(c.tobytes(), 9)) for c in clips]
    assert ratio[1] > 20 > 2 > ratio[0] and m.compression_ratio(clips.astype(np.int64).tolist()).tolist() == ratio.tolist()


def test_bars_are_compared_note_by_note():
    rng = np.random.default_rng(0)
    rows = [(int(t), 3, int(p), 64, int(v)) for t, p, v in np.c_[np.sort(rng.integers(0, 96, 60)), rng.integers(60, 63, 60), rng.integers(2, size=60)]]
    rows[0] = (0, *rows[0][1:])
    bars = [{(t % 8, p, v) for t, _, p, _, v in rows if t//8 == b} for b in range(12)]
    dice = [[2*len(a & b)/max(len(a) + len(b), 1) for b in bars] for a in bars]
    assert m.bar_similarity(table(rows, 2)) == pytest.approx(np.array(dice))
    found = m.structure_indicators(table(rows, 2), dict(one=1, three=3, six=6, seven=7))
    like = lambda w, i, j: np.mean([dice[i + t][j + t] for t in range(w)])
    for name, w in dict(one=1, three=3, six=6).items():
        nearest = [[like(w, i, j) for j in range(13 - w) if abs(i - j) >= w] for i in range(13 - w)]
        assert found[name] == pytest.approx(np.mean([max(o) for o in nearest if o]))
    assert np.isnan(found['seven'])


def test_structure_does_not_depend_on_key_or_start_and_loops_have_most():
    rng = np.random.default_rng(1)
    rows = np.c_[np.sort(rng.integers(0, 48*12, 150)), np.full(150, 6), rng.integers(40, 80, 150), np.full(150, 64), rng.integers(2, size=150)]
    a, b = (m.structure_indicators(table(r)) for r in (rows, rows + [96, 0, 7, 0, 0]))
    loop = m.structure_indicators(table([(48*i + t, 6, 60 + t, 64, 0) for i in range(12) for t in (0, 12, 30)]))
    assert a == b and loop == dict(short=1, middle=1, long=1) and all(a[k] < .5 for k in a)
    far = m.descriptor_distances(m.describe_structure([table(rows)]*2), m.describe_structure([table(rows)]))
    assert far['wasserstein'].tolist() == [0, 0, 0]
    assert m.describe_structure([table([])]).isna().all(axis=None) and list(m.describe_structure([])) == list(m.STRUCTURE)
