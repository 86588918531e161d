"""Train the models that musiclm ships, and those of the leaderboard, from the free part of the built-in corpus.

    python data/make_models.py --out out/models            (two to three hours of one core; goes on where it was interrupted)

The corpus: chorales by Bach, madrigals by Monteverdi and quartets by Beethoven, as music21 brings them, without what reserves
rights to derived works. Generators learn from its training works. `reference` hears one half of them, and the critic, which
listens with it, compares clips of the other half with what generators wrote. The judges begin with random weights. What is shipped
is rounded to bfloat16, and the figures of its card are measured after that.
"""
import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fastai.callback.core import Callback
from fastai.torch_core import set_seed

from musiclm.callbacks import KeepCopies
from musiclm.composer import (baseline_probabilities, calibrate, calibrate_judge, composer_clips, composer_dataloaders,
                              evaluate_composer, composer_learner, predict)
from musiclm.corpus import Corpus
from musiclm.build import music21_corpus
from musiclm.critic import critic_clips, evaluate_critic, critic_learner, fit_critic, load_clips, save_clips
from musiclm.data import classifier_dataloaders, lm_dataloaders
from musiclm.generator import Checkpoints, generator_learner, default_hparams
from musiclm.compare import evaluate_lm
from musiclm.models import load_model, save_model
from musiclm.ngram import NGram

GENERATORS = { # name: architecture, size, epochs, training works, epochs after which a copy is kept
    'lstm-small': ('awd_lstm', 'small', 24, 'all', (2, 8)),
    'transformer-small': ('transformer', 'small', 12, 'all', (3,)),
    'lstm-base': ('awd_lstm', 'base', 10, 'all', (3,)),
    'transformer-base': ('transformer', 'base', 3, 'all', ()),
    'reference': ('awd_lstm', 'small', 12, 'half', ()),
}
JUDGES = { # name: how it is built, epochs, seed
    'composer': (dict(arch='roll_cnn', size='small', lr=6e-3), 12, 1),
    'second-judge': (dict(arch='awd_lstm', size='tiny', lr=1e-2), 10, 2),
}
OPEN = dict(random_freq=1., top_k=None)
RULES = {'original': dict(random_freq=.5, top_k=5), 'temperature 1': OPEN, 'temperature 0.9': dict(OPEN, temperature=.9),
         'nucleus 0.9': dict(OPEN, top_p=.9)}
CRITIC = dict(
    generators=('8-gram', 'lstm-small@2', 'lstm-small@8', 'lstm-small', 'lstm-base@3', 'lstm-base', 'transformer-small'),
    held_out=('transformer-small', 'nucleus 0.9'), n=dict(train=2400, valid=700, test=1000), epochs=10, seed=1)
LENGTH, PROMPT = 256, 64 # tokens of clips, and of what they continue


class CoreSeconds(Callback):
    "The processor's time that a training takes, however busy the machine is; kept beside its checkpoints."
    order = -90
    def __init__(self, path): self.path = Path(path)
    def before_fit(self):
        self.before = json.loads(self.path.read_text()) if self.path.is_file() else 0.
        self.begin = time.process_time()
    def seconds(self): return self.before + time.process_time() - self.begin
    def after_epoch(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.seconds()))
        print(f'{self.path.stem}: epoch {self.epoch + 1}, {self.seconds():.0f} s', *map(str, self.learn.recorder.log[1:]), flush=True)


def open_corpus(out:Path) -> Corpus:
    "The free part of the built-in corpus."
    if not (out/'store').is_dir(): music21_corpus(free=True).save(out/'store')
    return Corpus.load(out/'store')


def train_generator(name:str, corpus:Corpus, out:Path, seed:int=0):
    "Train one of `GENERATORS`."
    arch, size, epochs, works, kept = GENERATORS[name]
    set_seed(seed, reproducible=True)
    usual = default_hparams(arch, size)
    dls = lm_dataloaders(corpus.split_train_halves() if works == 'half' else corpus, usual['bs'], usual['seq_len'], seed=seed)
    learn = generator_learner(dls, arch, size)
    clock = CoreSeconds(out/f'.{name}.seconds.json')
    def save(epoch):
        card = dict(data=str(corpus), works=works, epochs=epoch, of=epochs, core_seconds=clock.seconds(), seed=seed, **usual)
        save_model(learn, out/(name if epoch == epochs else f'{name}@{epoch}'), **card)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, cbs=[Checkpoints(out/f'.{name}.training'), clock, KeepCopies((*kept, epochs), save)])


def train_judge(name:str, corpus:Corpus, out:Path, n:int=2400):
    "Train one of `JUDGES`."
    build, epochs, seed = JUDGES[name]
    set_seed(seed, reproducible=True)
    clips, info = composer_clips(corpus, n, LENGTH, seed=seed)
    learn = composer_learner(composer_dataloaders(clips, info, corpus.encoder, seed=seed), **build)
    begin = time.process_time()
    with learn.no_bar(): learn.fit_one_cycle(epochs)
    calibrate_judge(learn, clips, info)
    save_model(learn, out/name, data=str(corpus), epochs=epochs, core_seconds=time.process_time() - begin, seed=seed)


def open_generator(name:str, corpus:Corpus, out:Path):
    "One of `GENERATORS`, or an n-gram model of the training works in twelve keys, as in '8-gram'."
    return NGram.of(corpus, int(name.removesuffix('-gram'))) if name.endswith('-gram') else load_model(out/name)


def critic_set(corpus:Corpus, out:Path) -> tuple: # Clips and their table
    "Real clips of the works that `reference` did not hear, and a twin of each by a generator."
    if not (out/'clips'/'clips.npy').is_file():
        generators = {g: open_generator(g, corpus, out) for g in CRITIC['generators']}
        made = critic_clips(corpus.split_train_halves(), generators, RULES, CRITIC['n'], LENGTH, PROMPT, 100*CRITIC['seed'],
                            held_out=CRITIC['held_out'], splits=dict(train='other'))
        save_clips(out/'clips', *made)
    return load_clips(out/'clips')


def train_critic(corpus:Corpus, out:Path):
    "Train the critic."
    clips, info = critic_set(corpus, out)
    set_seed(CRITIC['seed'], reproducible=True)
    use, valid = (info['split'] != 'test').to_numpy(), (info['split'] == 'valid').to_numpy()
    dls = classifier_dataloaders(clips[use], info['label'][use], valid[use], corpus.encoder, ['fake', 'real'], seed=CRITIC['seed'])
    learn = critic_learner(dls, arch='reader', p=.3, reference=load_model(out/'reference'))
    begin = time.process_time()
    with learn.no_bar(): fit_critic(learn, CRITIC['epochs'])
    calibrate(learn, clips[valid], info['label'][valid])
    save_model(learn, out/'critic', data=str(corpus), epochs=CRITIC['epochs'], core_seconds=time.process_time() - begin,
               generators=CRITIC['generators'], rules=RULES, held_out=CRITIC['held_out'], seed=CRITIC['seed'])


def figures_of(name:str, corpus:Corpus, out:Path, model) -> dict: # `Estimate`s as text
    "What is measured of a model on the test works, beside its baselines."
    if name in GENERATORS:
        found = evaluate_lm(model, corpus)
        return {k: str(found[k]) for k in ('nats_per_token', 'bits_per_note')} | dict(test_works=found['n_works'])
    if name in JUDGES:
        clips, info = composer_clips(corpus, 2400, LENGTH, n_test=None, seed=JUDGES[name][2])
        test = (info['split'] == 'test').to_numpy()
        answers = {'this model': predict(model, clips[test]).given,
                   'logistic regression on histograms': baseline_probabilities(clips, info, corpus.encoder, model.labels)}
        found = {k: evaluate_composer(p, info[test], model.labels) for k, p in answers.items()}
        return {k: {f: str(v[f]) for f in ('log_loss', 'macro_f1', 'piece_accuracy')} for k, v in found.items()}
    found = evaluate_critic(model, *critic_set(corpus, out), corpus.encoder)
    kinds = {k: f'{r["auc"]}, {r["best_baseline"]} {r["baseline"]}' for k, r in found['by_kind'].items()}
    return dict(auc=str(found['auc']), baselines={k: str(v) for k, v in found['baselines'].items()}, by_kind=kinds)


RIGHTS = ('Trained on scores that come with the package music21 and whose files reserve no rights to derived works: chorales by Bach '
          '(mostly typed by Margaret Greentree, by permission), madrigals by Monteverdi and quartets by Beethoven (most files say '
          'nothing of rights). No score is passed on; who publishes what the model writes should mind how much of it is copied.')
SHIPPED = ('lstm-small', 'lstm-base', 'transformer-small', 'composer', 'critic')


def ship(name:str, corpus:Corpus, out:Path, place:Path):
    "Round a model, measure it as it is then, and put it where the package takes it from."
    with TemporaryDirectory() as spare:
        trained = load_model(out/name)
        model = load_model(save_model(trained, Path(spare)/name, dtype='bf16', **trained.card))
        card = {'name': f'musiclm {name}', **model.card, 'figures': figures_of(name, corpus, out, model), 'licence': 'apache-2.0',
                'licence_notes': RIGHTS, 'split': 'Works of one composition stand in one split: training, validation or test.',
                'command': 'python data/make_models.py --out out/models --ship data/pretrained'}
        save_model(model, place/name, dtype='bf16', **card)
    print(name, json.dumps(card['figures'], indent=1), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='where they are kept')
    parser.add_argument('--only', nargs='*', default=[*GENERATORS, *JUDGES, 'critic'])
    parser.add_argument('--ship', type=Path, help='put the models of the package there, rounded and measured: data/pretrained')
    args = parser.parse_args()
    torch.set_num_threads(1)
    corpus = open_corpus(args.out)
    for name in args.only:
        if (args.out/name/'model.json').is_file(): continue
        if name in GENERATORS: train_generator(name, corpus, args.out)
        elif name in JUDGES: train_judge(name, corpus, args.out)
        else: train_critic(corpus, args.out)
    if args.ship:
        for name in SHIPPED: ship(name, corpus, args.out, args.ship)
        corpus.manifest[['piece', 'composer', 'work', 'split', 'n_tokens']].to_csv(args.ship/'pieces.csv', index=False)


if __name__ == '__main__': main()
