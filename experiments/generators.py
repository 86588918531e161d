"""How low the loss of each architecture comes on the built-in corpus, epoch by epoch, beside n-grams of every order.

    python -m experiments.generators --models out/curves          (an hour on two cores; goes on where it was interrupted)

Every run trains on the training works in random keys by the recipe of its size, and is measured on the test works, which no
one has seen; n-grams count the same works in twelve keys, and their order is the best on validation works. The first run
has the time that the demo gives its generator.
"""
import argparse
import json
import time
from pathlib import Path

from fastai.callback.core import Callback
from fastai.torch_core import set_seed
from benchmarks.machine import machine

from musiclm.corpus import Corpus
from musiclm.build import music21_corpus
from musiclm.data import lm_dataloaders
from musiclm.generator import Checkpoints, generator_learner, default_hparams
from musiclm.compare import evaluate_lm
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram
from musiclm.notes import atomic_write

HERE = Path(__file__).parent
RUNS = {'lstm-demo': ('awd_lstm', 'small', 4, {}), 'transformer': ('transformer', 'small', 10, {}), 'lstm': ('awd_lstm', 'small', 12, {}),
        'lstm-wide': ('awd_lstm', 'small', 16, dict(emb_sz=320, n_hid=640, n_layers=2, hidden_p=.1, input_p=.1, output_p=.1, weight_p=.1))}


class Clock(Callback):
    "Seconds that the epochs take."
    def before_fit(self): self.seconds = []
    def before_epoch(self): self.begin = time.perf_counter()
    def after_epoch(self): self.seconds.append(time.perf_counter() - self.begin)


def train(name:str, corpus, folder:Path, seed:int) -> dict: # History and figures
    "Train one run, or read what it left."
    arch, size, epochs, options = RUNS[name]
    place, clock = folder/name, Clock()
    if not (place/'model.json').is_file():
        set_seed(seed, reproducible=True)
        usual = default_hparams(arch, size)
        learn = generator_learner(lm_dataloaders(corpus, usual['bs'], usual['seq_len'], seed=seed), arch, size, options=options)
        with learn.no_bar(): learn.fit_one_cycle(epochs, cbs=[Checkpoints(folder/f'{name}-training'), clock])
        names = learn.recorder.metric_names[1:-1]
        history = [dict(zip(names, map(float, row))) for row in learn.recorder.values]
        save_model(learn, place, data=str(corpus), history=history, seconds=clock.seconds, seed=seed, **usual)
    model = load_model(place)
    found = evaluate_lm(model, corpus)
    return dict(arch=arch, size=size, options=options, epochs=epochs, parameters=sum(p.numel() for p in model.parameters()),
                history=model.card['history'], seconds=model.card['seconds'], **{k: vars(found[k]) for k in ('nats_per_token', 'bits_per_note')})


def ngrams(corpus, highest:int) -> dict:
    "Nats a token by order, and which order is the best on validation works."
    pieces = {s: [corpus.tokens(i) for i in corpus.indices(s)] for s in ('train', 'valid')}
    model = NGram.fit(pieces['train'], corpus.vocab, corpus.encoder.config, order=highest)
    best, found = model.best_order(pieces['valid']), {}
    for model.order in range(1, highest + 1): found[model.order] = evaluate_lm(model, corpus)['nats_per_token'].value
    return dict(best=best, nats_per_token=found)


def as_markdown(result:dict) -> str:
    "A table for people."
    about, grams = ', '.join(f'{k} {v}' for k, v in result['machine'].items()), result['ngrams']
    best = grams['nats_per_token'][str(grams['best'])]
    lines = ['# Curves', '', f'Made by `python -m experiments.generators`; {about}; seed {result["seed"]}.', '', result['corpus'] + '.', '',
             '| run | parameters | epochs | minutes | nats per token of the test works | bits per note | below the best n-gram |', '|' + '---|'*7]
    for name, r in result['runs'].items():
        n, b = r['nats_per_token'], r['bits_per_note']
        lines.append(f'| {name}: {r["arch"]} {r["size"]} | {r["parameters"]:,} | {r["epochs"]} | {sum(r["seconds"])/60:.1f} | '
                     f'{n["value"]:.3f} ({n["low"]:.3f} to {n["high"]:.3f}) | {b["value"]:.2f} ({b["low"]:.2f} to {b["high"]:.2f}) | {best - n["value"]:.3f} |')
    lines += ['', f'n-grams by order: ' + ', '.join(f'{k}: {v:.3f}' for k, v in grams['nats_per_token'].items())
              + f'; order {grams["best"]} is the best on validation works.', '', 'Validation loss by epoch:', '']
    lines += [f'- {name}: ' + ', '.join(f'{h["valid_loss"]:.3f}' for h in r['history']) for name, r in result['runs'].items()]
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', type=Path, required=True, help='where models and checkpoints are kept')
    parser.add_argument('--runs', nargs='*', default=list(RUNS), choices=RUNS)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=HERE/'results')
    args = parser.parse_args()
    store = args.models/'store'
    if not store.is_dir(): music21_corpus().save(store)
    corpus = Corpus.load(store)
    result = dict(machine=machine('torch', 'fastai'), corpus=str(corpus), seed=args.seed,
                  runs={name: train(name, corpus, args.models, args.seed) for name in args.runs}, ngrams=ngrams(corpus, 8))
    result = json.loads(json.dumps(result))
    atomic_write(args.out/'generators.json', (json.dumps(result, indent=1) + '\n').encode())
    atomic_write(args.out/'generators.md', as_markdown(result).encode())
    print(as_markdown(result))


if __name__ == '__main__': main()
