"""Rank the generators that the project trains, and write data/results/leaderboard.*.

    python data/make_models.py --out out/models                 (the models; two to three hours of one core)
    python data/make_leaderboard.py --models out/models         (a quarter of an hour of one core; goes on where it was interrupted)

N-grams of four orders, AWD-LSTM and Transformer, small and base, and checkpoints of them, each drawn from at temperature 1; the last
epochs also by the rule of the original work (every second token, drawn from the likeliest five). All under judge `composer` and critic
`critic`, on the same openings of test works.
"""
import argparse
from pathlib import Path

import torch
from make_models import RULES, open_corpus, open_generator

from musiclm.compare import leaderboard
from musiclm.models import load_model
from musiclm.notes import atomic_write
from musiclm.report import write_leaderboard
from musiclm.charts import write_json

FINAL = ('2-gram', '4-gram', '6-gram', '8-gram', 'lstm-small', 'lstm-base', 'transformer-small', 'transformer-base')
CHECKPOINTS = ('lstm-small@2', 'lstm-small@8', 'lstm-base@3', 'transformer-small@3')
RESULTS = Path(__file__).parent/'results'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='of data/make_models.py')
    parser.add_argument('--n', type=int, default=256, help='pieces a row')
    parser.add_argument('--out', type=Path, default=RESULTS)
    parser.add_argument('--without', nargs='*', default=[], help='generators to leave out')
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpus = open_corpus(args.models)
    judge, critic = load_model(args.models/'composer'), load_model(args.models/'critic')
    generators = {name: open_generator(name, corpus, args.models) for name in (*FINAL, *CHECKPOINTS) if name not in args.without}
    settings = {name: {k: RULES[k] for k in ('temperature 1', *['original']*(name in FINAL))} for name in generators}
    table = leaderboard(generators, judge, critic, corpus, n=args.n, settings=settings, cache=args.models/'measured')
    about = {k: table.attrs[k] for k in ('floor', 'ceiling', 'human', 'judge_hash', 'critic_hash', 'corpus_hash')}
    write_json(dict(command='python data/make_leaderboard.py --models out/models', n=args.n, **about,
                    rows=table.reset_index(names='row').to_dict('records')), args.out/'leaderboard.json')
    atomic_write(args.out/'leaderboard.csv', table.to_csv().encode())
    write_leaderboard(table, corpus.encoder, args.out/'leaderboard.html', max_bytes=1.2e6, beats=16)
    print(table[['rank', 'ties', 'normalised', 'conditional_normalised', 'kernel_distance', 'recall', 'bits_per_note', 'fooling', 'copied_95']].round(3).to_string())


if __name__ == '__main__': main()
