"""Which sampling rule? How often to draw, from how many, at which temperature: where the score and the critic put the optimum.

    python -m experiments.sampling --models out/models        (five minutes of one core; goes on where it was interrupted)

One generator goes on from openings of test works by every rule of a grid, with the same prompts and the same random numbers. Each set of clips is
judged by the composer classifier (the Inception score, plain and conditional, 0 for noise and 1 for what the composers wrote), by the critic (share of
clips that it takes for real), by recall, and by copying: the share of clips with a longer copy of a training work than 95% of real clips have.
"""
import json
from itertools import product

from experiments.equal import OPEN, estimate, kept, parser_of, placed, scores
from benchmarks.machine import machine

from musiclm.compare import copying_figures, distance_figures, judge_clips
from musiclm.composer import judge_hash
from musiclm.copying import CopyIndex
from musiclm.corpus import Corpus
from musiclm.corruptions import real_clips
from musiclm.critic import generated_clips, critic_scores
from musiclm.metrics import bootstrap_interval
from musiclm.models import load_model
from musiclm.ngram import NGram
from musiclm.notes import atomic_write
from musiclm.charts import plain

GRID = dict(random_freq=(.25, .5, .75, 1.), top_k=(5, 20, None), temperature=(.7, .85, 1., 1.15))
LENGTH, PROMPT = 256, 64


def fooled(critic, clips, got) -> dict: # Share of clips above a half, and mean probability, with intervals
    "What a critic takes for real."
    p = critic_scores(critic, clips)
    mean = lambda v: estimate(bootstrap_interval(v, got.groups, strata=got.labels, bounds=(0, 1)))
    return dict(fooled=mean(p > .5), realness=mean(p))


class Bench:
    "Models, real clips and noise."
    def __init__(self, args):
        self.args, self.corpus = args, Corpus.load(args.models/'store')
        self.judge, self.critic, self.generator = (load_model(args.models/o) for o in ('composer', 'critic', args.generator))
        self.index = CopyIndex.of(self.corpus)
        clips, info = real_clips(self.corpus, 'test', args.n_real, LENGTH, PROMPT, seed=99)
        self.real = self.judged(clips, info)
        unigram = NGram.of(self.corpus, order=1, transpositions=(0,))
        noise = self.judged(*generated_clips(unigram, self.corpus, 'test', args.n_real, LENGTH, PROMPT, 3, **OPEN))
        self.bounds = [scores(o.probs, o.labels, o.groups) for o in (noise, self.real)]
    def judged(self, clips, info): return judge_clips(clips, self.judge, info['work'], info['composer'])
    def measure(self, clips, info) -> dict:
        got = self.judged(clips, info)
        score = placed(scores(got.probs, got.labels, got.groups), *self.bounds)
        far = distance_figures(got, self.real)
        copies = copying_figures(got, self.real, self.index, self.corpus.encoder)
        keep = ('kernel_distance', 'recall', 'precision', 'coverage', 'unique', 'compression_ratio', 'structure_distance', 'descriptor_distance')
        return dict(score=score['normalised'], conditional=score['conditional_normalised'], no_composer=got.none.mean(),
                    **fooled(self.critic, clips, got), **{k: far[k] for k in keep}, copied=copies['copying_pieces'], copied_share=copies['copied_share'])
    def cell(self, rule:dict) -> dict:
        return self.measure(*generated_clips(self.generator, self.corpus, 'test', self.args.n, LENGTH, PROMPT, 1, **rule))


def main():
    parser = parser_of('sampling', __doc__, n=192)
    parser.add_argument('--generator', default='lstm-small', help='one of the models')
    parser.add_argument('--n-real', type=int, default=256, help='real clips at most')
    args = parser.parse_args()
    bench, rows = Bench(args), []
    for values in product(*GRID.values()):
        rule = dict(zip(GRID, values))
        rows.append(dict(rule, **kept(args.keep/f'{" ".join(map(str, values))}.json', lambda: bench.cell(rule))))
        print(rule, {k: round(rows[-1][k]['value'], 3) for k in ('score', 'conditional', 'realness')}, flush=True)
    real = kept(args.keep/'real.json', lambda: bench.measure(*real_clips(bench.corpus, 'valid', args.n, LENGTH, PROMPT, seed=5)))
    result = dict(machine=machine('torch'), generator=args.generator, judge=judge_hash(bench.judge), critic=judge_hash(bench.critic), n=args.n, real=real,
                  works=int(len(set(bench.real.groups))), rows=rows)
    atomic_write(args.out/'sampling.json', (json.dumps(plain(result), indent=1) + '\n').encode())


if __name__ == '__main__': main()
